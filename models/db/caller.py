"""For whom a transaction works, as the database is told: row-level security shows the front's role their rows only.

The settings end with the transaction, so a pooled connection keeps none. `models.db.row_security` has the policies.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from models.db.connections import TimedConnection

NOBODY_SIGNED_IN = ""
"""The caller of public pages and of endpoints for operators: no row that belongs to an account is seen."""
IS_TOLD = "caller_is_told"
"""The key of `Session.info` for whether the database is told for whom transactions work."""
_TELL = sa.text("SELECT tell_caller(:caller)")
_TELL_AT_ONCE = sql.SQL("SELECT tell_caller({})")
_SET = sa.text("SELECT set_config(:name, :value, true)")


class Named(StrEnum):
    """What a transaction may name to see more than its caller's rows; the value is the setting's last word.

    `EMAIL`: the person with this address, and their logins. `PERSON`: likewise by id, for the link to a new password.
    `CUSTOMER_NUMBER`: name, number, members and link code of the account. `REQUEST`: a request with its two accounts
    and all that belongs to them. `INVITATION`: an invitation with its account.
    """

    EMAIL = "email"
    PERSON = "person"
    CUSTOMER_NUMBER = "customer_number"
    REQUEST = "request"
    INVITATION = "invitation"


def login_caller(secret_hash: bytes) -> str:
    """Return the caller who is signed in with the login whose secret has this hash."""
    return f"login {secret_hash.hex()}"


def token_caller(token_hash: bytes) -> str:
    """Return the caller who uses the API token with this hash."""
    return f"token {token_hash.hex()}"


def begin_for(connection: TimedConnection, caller: str) -> None:
    """Begin a transaction that works for the caller (`login_caller`, `token_caller`), in one round trip."""
    connection.begin(_TELL_AT_ONCE.format(caller))


def act_for(session: Session, caller: str) -> None:
    """Tell the database for whom the session's transaction works from now on, instead of the one it began for."""
    session.execute(_TELL, {"caller": caller})


def name_to_database(session: Session, named: Named, *values: object) -> None:
    """Let the transaction see the rows that `named` and `values` name, beside those of its caller.

    Several values name several rows, such as the person with any of these spellings of an address; no value names none.
    Replaces the values given for the same `named` before. Does nothing in programs other than the front, which see all
    rows.
    """
    if session.info.get(IS_TOLD):
        session.execute(_SET, {"name": f"standorte.{named}", "value": "\n".join(str(value) for value in values)})
