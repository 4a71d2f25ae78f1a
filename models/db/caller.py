"""Functions that tell the database on whose behalf a transaction of the web process runs: the caller.

The caller is a person, identified by their login or an API token, or nobody. PostgreSQL's row-level security then shows
only this caller's rows (`models.db.row_security`). The database forgets the caller at the end of the transaction, so a
pooled connection does not keep the caller.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

NOBODY_SIGNED_IN = ""
"""The caller of public pages and of operators' endpoints. This caller sees no row that belongs to an account."""
IS_TOLD = "caller_is_told"
"""The key of a bool in `Session.info`: whether the database is told the caller of the session's transactions."""
_TELL = sa.text("SELECT tell_caller(:caller)")
_SET = sa.text("SELECT set_config(:name, :value, true)")


class Named(StrEnum):
    """The kinds of values by which a transaction can see more rows than its caller's own, as public pages need it.

    `EMAIL`: the person with this address, and their logins. `PERSON`: the person with this id, and their logins.
    `CUSTOMER_NUMBER`: the account with this number, with its members and link code. `REQUEST`: the request with this
    id, its two accounts and all that belongs to them. `INVITATION`: the invitation with this id, and its account. Each
    enumeration value is the last part of a PostgreSQL setting's name, such as `standorte.email`.
    """

    EMAIL = "email"
    PERSON = "person"
    CUSTOMER_NUMBER = "customer_number"
    REQUEST = "request"
    INVITATION = "invitation"


def login_caller(secret_hash: bytes) -> str:
    """Return the text that tells the database which person is the caller, by the hash of their login's secret."""
    return f"login {secret_hash.hex()}"


def token_caller(token_hash: bytes) -> str:
    """Return the text that tells the database that the holder of an API token is the caller, by the token's hash."""
    return f"token {token_hash.hex()}"


def tell_call(place: int) -> str:
    """Return SQL, a function call, by which the database learns on whose behalf the transaction runs.

    The call has a parameter with the number `place`: `$1` for 1. Its value is a text made by `login_caller` or
    `token_caller`, or empty for nobody. A parameter is used because a statement's text is visible to every session of
    the same database role in `pg_stat_activity`.
    """
    return f"tell_caller(${place})"


def act_for(session: Session, caller: str) -> None:
    """Tell the database that the session's transaction now runs on behalf of `caller`, instead of an earlier caller.

    Row-level security then shows and accepts only rows of this caller until the transaction ends. `caller` is a text
    made by `login_caller` or `token_caller`, or empty for nobody.
    """
    session.execute(_TELL, {"caller": caller})


def name_to_database(session: Session, named: Named, *values: object) -> None:
    """Make further rows visible to the transaction, besides its caller's: those that `values` identify.

    `named` is the kind of the values, such as customer numbers. For an e-mail address pass all its spellings, because
    it is not known which one is stored. The values replace earlier ones of this kind and apply until the transaction
    ends; a call without values removes them. Does nothing in programs other than the web process, which see all rows
    anyway.
    """
    if session.info.get(IS_TOLD):
        session.execute(_SET, {"name": f"standorte.{named}", "value": "\n".join(str(value) for value in values)})
