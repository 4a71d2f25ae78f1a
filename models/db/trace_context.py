"""The trace context of the current work, a text that new rows store so that later work joins the same trace.

A trace records how one order travelled through all programs (`tasks.tracing`). The text is a `traceparent` of the W3C
standard Trace Context: the ids of the trace and of the piece of work that caused the later work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_traceparent() -> str | None:
    """Return the trace context of the current work, to be stored in a new row; None if the work is not traced."""
    return _current.get()


@contextmanager
def traced_as(traceparent: str) -> Iterator[None]:
    """Make `traceparent` the trace context of this thread's work until the end of the `with` block; yield nothing."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)
