"""The phone numbers to which a call forwarding applies: one number or a range of an account's numbers.

Two ranges of one account are equal or disjoint, or one contains the other. They never overlap partly; a trigger of the
database enforces this, too. So among all ranges that contain a given number, one is the smallest.
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
"""The width that counts for a forwarding of all numbers of an account: greater than that of any range."""


def width(numbers: Numbers | None) -> int:
    """Return how many numbers the range has.

    None stands for all numbers of an account, and counts as larger than any range.
    """
    return WIDEST if numbers is None else numbers[1] - numbers[0] + 1


def has_number(numbers: Numbers | None, number: int | None) -> bool:
    """Return whether a forwarding for the range `numbers` applies to `number`.

    `numbers` is None for a forwarding of all the account's numbers. `number` is None for a number that is in no range;
    only a forwarding of all numbers applies to it.
    """
    return numbers is None or (number is not None and numbers[0] <= number <= numbers[1])


def typed_numbers(first: str, last: str) -> Numbers:
    """Return the range from `first` to `last` as typed by a person; if `last` is empty, the one number `first`.

    The numbers may be in any usual spelling. `last` may also be only the last digits: "030 2312551-0" to "9" ends with
    030 2312551-9. Raises `InvalidField` for `numbers` with the code `not_a_phone_number`, or `backwards` if the last
    number is before the first one.
    """
    begin = _number(first)
    end = begin if not last.strip() else _number(last) if _is_whole(last) else _with_last_digits(begin, last)
    if end < begin:
        raise InvalidField("numbers", "backwards")
    return begin, end


def ensure_owned(session: Session, account: Account, numbers: Numbers) -> None:
    """Raise `InvalidField` unless each number of the range `numbers` is in one of the account's number blocks.

    The field is `numbers`, the code `not_own`.
    """
    first, last = numbers
    shared = sa.func.least(NumberBlock.last_number, last) - sa.func.greatest(NumberBlock.first_number, first) + 1
    query = sa.select(sa.func.sum(shared)).where(
        NumberBlock.account_id == account.id, NumberBlock.first_number <= last, NumberBlock.last_number >= first
    )
    if session.scalar(query) != width(numbers):
        raise InvalidField("numbers", "not_own")


def ensure_nested(numbers: Numbers, others: Iterable[Numbers]) -> None:
    """Raise `InvalidField` if the range `numbers` overlaps one of the ranges `others` only partly.

    The field is `numbers`, the code `crosses`, with the other range. Ranges that are disjoint, or of which one contains
    the other, are allowed.
    """
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
