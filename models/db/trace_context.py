"""The trace to which the present work belongs, in the form in which rows keep it for the work that follows.

A trace tells how one order travelled through all programs (`tasks.tracing`). Its context is a text of the W3C standard
Trace Context, called `traceparent`: the ids of the trace and of the piece of work that caused what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """Return the trace context of the present work, for a new row; None if it is not traced."""
    return _current.get()


@contextmanager
def traced_as(traceparent: str) -> Iterator[None]:
    """Make `traceparent` the trace context of this thread's work until the end of the block."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)
