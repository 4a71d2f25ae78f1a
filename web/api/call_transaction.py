"""The transaction of an API call: it begins when the caller is looked up, and goes on in the endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from flask import g
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from web.resources import resources


@contextmanager
def begin_call_transaction() -> Iterator[Session]:
    """Begin the transaction of the current call; after the block it stays open, for `call_transaction` to go on with.

    Rolled back if the block raises an exception.
    """
    with ExitStack() as opened:
        session = opened.enter_context(resources().database.transaction())
        yield session
        g.call_transaction = session, opened.pop_all()


def end_call_transaction() -> None:
    """Commit what `begin_call_transaction` has left open."""
    _, opened = g.pop("call_transaction")
    opened.close()


def abandon_call_transaction() -> None:
    """Roll back what `begin_call_transaction` has left open, if no `call_transaction` has gone on with it."""
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
    """Open a session in a transaction; commit at the end of the block, roll back if an exception is raised.

    The first time in a call it goes on with the transaction that found the caller, so that most calls are one
    transaction; if that has ended, it begins another one.
    """
    session, opened = g.pop("call_transaction", (None, None))
    if session is None:
        with resources().database.transaction() as session:
            yield session
    else:
        with opened:
            yield session
