"""Tests of cursors: texts that say where the next page of a list begins.

Reading a cursor returns the values that were written into it. Any other text is refused.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from models.db.paging import BadCursor, Place, read_cursor, write_cursor
from tests.factories import NOW

ID = UUID("0195a9f0-0000-7000-8000-000000000001")


def encoded(text: str) -> str:
    """Return a cursor (base64 for URLs) with the content `text`, which need not be valid."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "places",
    [("1234567", 0), ("Köln / 'Süd'", 2**63 - 1), (NOW, ID), (datetime(2026, 3, 2, 8, 0, 0, 123456, UTC), 17), (ID,)],
)
def test_what_was_written_is_read_again(places: tuple[Place, ...]) -> None:
    cursor = write_cursor(*places)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert read_cursor(cursor, *map(type, places)) == places


@pytest.mark.parametrize(
    ("cursor", "kinds"),
    [
        ("", (str, int)),
        ("x", (str, int)),
        ("9" * 5000, (str, int)),
        ("٣", (str, int)),
        (encoded("[" * 20_000), (str, int)),
        (encoded("{}"), ()),
        (encoded('"ab"'), (str, str)),
        (write_cursor("a", 1), (str,)),
        (write_cursor("a", 1), (str, int, int)),
        (write_cursor("a", 1), (int, str)),
        (encoded('["\\ud800", 1]'), (str, int)),
        (encoded('["a\\u0000", 1]'), (str, int)),
        (encoded('["a", true]'), (str, int)),
        (encoded('["a", 1.0]'), (str, int)),
        (write_cursor("a", -1), (str, int)),
        (write_cursor("a", 2**63), (str, int)),
        (write_cursor("yesterday", ID), (datetime, UUID)),
        (write_cursor("2026-03-02T08:00:00", ID), (datetime, UUID)),
        (write_cursor(NOW, "1"), (datetime, UUID)),
    ],
)
def test_every_other_text_is_refused(cursor: str, kinds: tuple[type[Any], ...]) -> None:
    with pytest.raises(BadCursor):
        read_cursor(cursor, *kinds)
