"""Places in lists that are read page by page."""

from __future__ import annotations


class BadCursor(ValueError):
    """A place in the list that we have not given out."""
