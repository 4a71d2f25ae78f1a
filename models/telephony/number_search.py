"""A search for phone numbers by any part of them, in any usual spelling, in a table with one row for each block.

The stem of a block is the digits with which all its numbers begin: the first number without its last 0, 1 or 2 digits.
These last digits are the tail, and take every value. So there are two cases in which a block has a number with the
searched digits. Either its stem contains them, or its stem ends with all of them except the last one (in a block of 10)
or the last two (in a block of 100). These conditions are LIKE patterns for the stem, which has a trigram index. Digits
at the beginning of a number are searched as ranges of numbers instead, with the index of the exclusion constraint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from models.telephony.numbers import BLOCK_SIZES, NumberBlock

LONGEST_NUMBER = 15
"""The number of digits of the longest possible phone number (E.164)."""
STEM: sa.ColumnElement[str] = sa.cast(NumberBlock.first_number // NumberBlock.size, sa.Text)


@dataclass(frozen=True, slots=True)
class Part:
    """Digits to find in a number in E.164: at its beginning if `from_start`, otherwise anywhere in the number."""

    digits: str
    from_start: bool


def parts_of(typed: str) -> list[Part]:
    """Return the alternatives for which a typed search stands: a number matches if it contains at least one of them.

    Digits after "+" must be at the beginning of the number. Digits that begin with 0 ("0049 30", "030") yield two
    parts: an international one for the beginning, and the digits as typed for anywhere. Other digits may be anywhere.
    If no digit was typed, the one part has no digits, and every number contains it.
    """
    plain = re.sub(r"\(\s*0\s*\)", "", typed).strip(" (")
    digits = re.sub(r"[^0-9]", "", plain)
    if plain.startswith("+"):
        return [Part(digits, from_start=True)]
    if digits.startswith("00"):
        return [Part(digits[2:], from_start=True), Part(digits, from_start=False)]
    if digits.startswith("0"):
        return [Part("49" + digits[1:], from_start=True), Part(digits, from_start=False)]
    return [Part(digits, from_start=False)]


def is_everywhere(typed: str) -> bool:
    """Return whether the typed text has at most three digits that may be anywhere in a number, so that many match."""
    return any(not part.from_start and len(part.digits) <= 3 for part in parts_of(typed))


def found_by(typed: str) -> sa.ColumnElement[bool]:
    """Return an SQL condition for the number blocks with a number that contains the typed digits.

    Digits after "+" must be at the beginning of the number; other digits may be anywhere, and "030" also finds numbers
    that begin with 4930. A text without digits finds every block. The digits are part of the statement's text, not
    parameters. So the planner can estimate the number of hits, and does not read the whole index.
    """
    return sa.or_(*(_begins(part.digits) if part.from_start else _contains(part.digits) for part in parts_of(typed)))


def _begins(digits: str) -> sa.ColumnElement[bool]:
    if not digits:
        return sa.true()
    begin, more = int(digits), LONGEST_NUMBER - len(digits)
    # No country code begins with a zero, and as a number "0…" would be the beginning of all.
    if more < 0 or digits.startswith("0"):
        return sa.false()
    ranges = (f"[{begin * 10**place}, {(begin + 1) * 10**place})" for place in range(more + 1))
    return NumberBlock.range_sql().bool_op("&&")(sa.literal_column(f"'{{{', '.join(ranges)}}}'::int8multirange"))


def _contains(digits: str) -> sa.ColumnElement[bool]:
    return sa.or_(*(sa.and_(NumberBlock.size >= size, _stem_is_like(pattern)) for size, pattern in _patterns(digits)))


def _stem_is_like(pattern: str) -> sa.ColumnElement[bool]:
    return STEM.like(sa.bindparam(None, pattern, sa.Text, literal_execute=True))


def _patterns(digits: str) -> Iterator[tuple[int, str]]:
    """Yield pairs of a block size and a LIKE pattern for the stems of blocks of at least this size.

    The stem of a block is the digits with which all its numbers begin. If a pattern matches, a number of the block
    contains the digits.
    """
    yield 1, f"%{digits}%"
    for size in BLOCK_SIZES[1:]:
        # So many digits of the part are in the tail, where every digit is.
        yield size, "%" + digits[: -(len(str(size)) - 1)]
