"""The database transaction of an API call: begun to authenticate the caller, and then used by the endpoint.

So most calls need one transaction only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from flask import g
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from web.resources import resources


@contextmanager
def begin_call_transaction() -> Iterator[Session]:
    """Begin the database transaction of the current call and yield its session; leave the transaction open afterwards.

    The endpoint's first `call_transaction` continues the transaction. If the block raises an exception, the transaction
    is rolled back.
    """
    with ExitStack() as opened:
        session = opened.enter_context(resources().database.transaction())
        yield session
        g.call_transaction = session, opened.pop_all()


def end_call_transaction() -> None:
    """Commit the transaction that `begin_call_transaction` left open. Raises `KeyError` if there is none."""
    _, opened = g.pop("call_transaction")
    opened.close()


def abandon_call_transaction() -> None:
    """Roll back the transaction that `begin_call_transaction` left open; do nothing if there is none.

    There is none once `call_transaction` has taken it over. Errors of a lost database connection are ignored.
    """
    session, opened = g.pop("call_transaction", (None, None))
    # A lost connection changes nothing any more: the call was answered.
    with suppress(DBAPIError):
        if session is not None:
            try:
                session.rollback()
            finally:
                opened.close()


@contextmanager
def call_transaction() -> Iterator[Session]:
    """Yield a session in a transaction; commit at the end of the block, roll back if an exception is raised.

    The first block of a call continues the transaction in which the caller was authenticated, if that is still open.
    Every other block begins a transaction of its own.
    """
    session, opened = g.pop("call_transaction", (None, None))
    if session is None:
        with resources().database.transaction() as session:
            yield session
    else:
        with opened:
            yield session
