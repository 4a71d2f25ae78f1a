"""The cursors of the API's lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.db.paging import BadCursor
from models.errors import InvalidField


@contextmanager
def known_cursor() -> Iterator[None]:
    """Raise `InvalidField` (422) for a cursor that no list of ours has returned."""
    try:
        yield
    except BadCursor as error:
        raise InvalidField("cursor", "cursor") from error
