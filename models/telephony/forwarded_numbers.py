"""The phone numbers that a call forwarding is for: one number or a range of an account's numbers.

Two ranges of one account are equal, apart, or one lies inside the other: they never overlap partly, which a trigger of
the database ensures, too. So of all ranges with a certain number one is the smallest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import InvalidField
from models.phone_numbers import BadPhoneNumber, typed_phone_number
from models.telephony.numbers import NumberBlock

Numbers = tuple[int, int]
"""The first and the last number of a range, both included, in E.164 without the plus sign; equal for one number."""

WIDEST = 10**15
"""The width of a forwarding for all numbers of an account: wider than any range."""


def width(numbers: Numbers | None) -> int:
    """Return how many numbers a range has.

    For None, which stands for all numbers of an account, it is larger than for any range.
    """
    return WIDEST if numbers is None else numbers[1] - numbers[0] + 1


def has_number(numbers: Numbers | None, number: int | None) -> bool:
    """Return whether a forwarding for the range `numbers` (None: for all numbers of the account) includes `number`.

    None as `number` stands for a number that no range includes; only a forwarding for all numbers includes it.
    """
    return numbers is None or (number is not None and numbers[0] <= number <= numbers[1])


def typed_numbers(first: str, last: str) -> Numbers:
    """Return a typed range; an empty `last` means the one number `first`.

    The numbers may be in any usual spelling. `last` may also be the last digits only: "030 2312551-0" to "9" ends with
    030 2312551-9. Raises `InvalidField` for `numbers` with the code `not_a_phone_number`, or `backwards` if the last
    number is before the first one.
    """
    begin = _number(first)
    end = begin if not last.strip() else _number(last) if _is_whole(last) else _with_last_digits(begin, last)
    if end < begin:
        raise InvalidField("numbers", "backwards")
    return begin, end


def ensure_owned(session: Session, account: Account, numbers: Numbers) -> None:
    """Raise `InvalidField` (`numbers`, `not_own`) unless all `numbers`, a range, are in the account's number blocks."""
    first, last = numbers
    shared = sa.func.least(NumberBlock.last_number, last) - sa.func.greatest(NumberBlock.first_number, first) + 1
    query = sa.select(sa.func.sum(shared)).where(
        NumberBlock.account_id == account.id, NumberBlock.first_number <= last, NumberBlock.last_number >= first
    )
    if session.scalar(query) != width(numbers):
        raise InvalidField("numbers", "not_own")


def ensure_nested(numbers: Numbers, others: Iterable[Numbers]) -> None:
    """Raise `InvalidField` (`numbers`, `crosses`, with the other range) if a range overlaps one of `others` partly."""
    first, last = numbers
    for other in others:
        apart = last < other[0] or other[1] < first
        inside = other[0] <= first and last <= other[1]
        around = first <= other[0] and other[1] <= last
        if not (apart or inside or around):
            raise InvalidField("numbers", "crosses", other)


def _number(typed: str) -> int:
    if not _is_whole(typed):
        raise InvalidField("numbers", "not_a_phone_number")
    try:
        return int(typed_phone_number(typed))
    except BadPhoneNumber as error:
        raise InvalidField("numbers", "not_a_phone_number") from error


def _is_whole(typed: str) -> bool:
    return typed.strip(" (").startswith(("+", "0")) and len(re.sub(r"\D", "", typed)) > 4


def _with_last_digits(number: int, typed: str) -> int:
    digits, whole = re.sub(r"[\s/.-]", "", typed), str(number)
    if not re.fullmatch("[0-9]{1,4}", digits):
        raise InvalidField("numbers", "not_a_phone_number")
    return int(whole[: -len(digits)] + digits)
