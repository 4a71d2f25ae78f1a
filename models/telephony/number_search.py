"""Finding a number by any part of it, in any usual spelling, without a row for each number of a block.

A block of 1, 10 or 100 numbers is aligned, so its numbers are its stem (the first number without its last 0, 1 or 2
digits) followed by every possible tail. A part lies in one of them if the stem contains it, or if the stem ends with
the beginning of it and what is left over is no longer than the tail. So a few patterns on the stem find all, and a
trigram index on the stem answers each of them. What a number begins with is a few ranges of numbers instead, and the
index that keeps blocks from overlapping answers for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from models.telephony.numbers import BLOCK_SIZES, NumberBlock

LONGEST_NUMBER = 15
"""Digits of the longest number there can be (E.164)."""
STEM: sa.ColumnElement[str] = sa.cast(NumberBlock.first_number // NumberBlock.size, sa.Text)


@dataclass(frozen=True, slots=True)
class Part:
    """Digits of a number as E.164 has them, from its beginning on or anywhere."""

    digits: str
    from_start: bool


def parts_of(typed: str) -> list[Part]:
    """What can be meant; any of them is right. Without digits everything is.

    "+49 30" and "0049 30" are how a number begins. So is "030", unless the zero is one inside a number.
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
    """Whether so little was typed that many numbers have it, whosever they are."""
    return any(not part.from_start and len(part.digits) <= 3 for part in parts_of(typed))


def found_by(typed: str) -> sa.ColumnElement[bool]:
    """The blocks that have such a number.

    What is looked for stands in the statement's text, digits and nothing else, so that the planner always sees how
    much it will find. Of a statement that it has prepared it knows nothing, and would read all of the index.
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
    numbers = sa.func.int8range(NumberBlock.first_number, NumberBlock.first_number + NumberBlock.size)
    return numbers.bool_op("&&")(sa.literal_column(f"'{{{', '.join(ranges)}}}'::int8multirange"))


def _contains(digits: str) -> sa.ColumnElement[bool]:
    return sa.or_(*(sa.and_(NumberBlock.size >= size, _stem_is_like(pattern)) for size, pattern in _patterns(digits)))


def _stem_is_like(pattern: str) -> sa.ColumnElement[bool]:
    return STEM.like(sa.bindparam(None, pattern, sa.Text, literal_execute=True))


def _patterns(digits: str) -> Iterator[tuple[int, str]]:
    """Patterns for the stem, each with the smallest block to which it applies."""
    yield 1, f"%{digits}%"
    for size in BLOCK_SIZES[1:]:
        # So many digits of the part are in the tail, where every digit is.
        yield size, "%" + digits[: -(len(str(size)) - 1)]
