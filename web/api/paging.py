"""The cursors of the API's lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.db.paging import BadCursor
from models.errors import InvalidField


@contextmanager
def known_cursor() -> Iterator[None]:
    """Raise `InvalidField` (422) in place of a `BadCursor` within the block: the text is no cursor of this list."""
    try:
        yield
    except BadCursor as error:
        raise InvalidField("cursor", "cursor") from error
