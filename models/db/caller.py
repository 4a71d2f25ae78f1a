"""Tell the database for whom a transaction of the front works, so that only this caller's rows can be seen.

The caller is a person's login, an API token, or nobody. PostgreSQL's row-level security compares rows with it
(`models.db.row_security`). The database forgets the caller at the end of the transaction, so a pooled connection keeps
none.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

NOBODY_SIGNED_IN = ""
"""The caller of public pages and of endpoints for operators: no row that belongs to an account is seen."""
IS_TOLD = "caller_is_told"
"""The key in `Session.info` of a bool: whether the database is told for whom the session's transactions work."""
_TELL = sa.text("SELECT tell_caller(:caller)")
_SET = sa.text("SELECT set_config(:name, :value, true)")


class Named(StrEnum):
    """The kinds of values by which a transaction can see further rows beside its caller's, as public pages need it.

    `EMAIL`: the person with this address, and their logins. `PERSON`: the person with this id, and their logins.
    `CUSTOMER_NUMBER`: name, number, members and link code of the account. `REQUEST`: a request by id, with its two
    accounts and all that belongs to them. `INVITATION`: an invitation by id, with its account. Each value is the last
    part of a PostgreSQL setting's name, such as `standorte.email`.
    """

    EMAIL = "email"
    PERSON = "person"
    CUSTOMER_NUMBER = "customer_number"
    REQUEST = "request"
    INVITATION = "invitation"


def login_caller(secret_hash: bytes) -> str:
    """Return the caller's name for the database: a person, by the hash of the secret of the login in use."""
    return f"login {secret_hash.hex()}"


def token_caller(token_hash: bytes) -> str:
    """Return the caller's name for the database: the holder of the API token with this hash."""
    return f"token {token_hash.hex()}"


def tell_call(place: int) -> str:
    """Return the SQL call that tells the database for whom its transaction works: the value of the parameter `$place`.

    That is a text made by `login_caller` or `token_caller`, or empty for nobody. It is a parameter because the text of
    a statement is seen by every session of the role, in `pg_stat_activity`.
    """
    return f"tell_caller(${place})"


def act_for(session: Session, caller: str) -> None:
    """Tell the database that the session's transaction works from now on for `caller`, no longer for an earlier one.

    `caller` is a text made by `login_caller` or `token_caller`, or empty for nobody.
    """
    session.execute(_TELL, {"caller": caller})


def name_to_database(session: Session, named: Named, *values: object) -> None:
    """Let the transaction see, besides the rows of its caller, those that `values` identify, such as customer numbers.

    `named` is the kind of the values. Each value adds its rows: an e-mail address is named in all its spellings, as it
    is not known which one is stored. Earlier values of this kind are replaced; no values take them back. Ends with the
    transaction. Does nothing in programs other than the front, which see all rows.
    """
    if session.info.get(IS_TOLD):
        session.execute(_SET, {"name": f"standorte.{named}", "value": "\n".join(str(value) for value in values)})
