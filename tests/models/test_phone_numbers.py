"""Tests of typed phone numbers: every spelling is stored in one form."""

from __future__ import annotations

import pytest

from models.phone_numbers import e164, parse_phone_number, typed_phone_number


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("030 901820", "+4930901820"),
        ("+49 30 901820", "+4930901820"),
        ("0049 (0)30 / 90-18-20", "+4930901820"),
        ("+49 (0)30 901820", "+4930901820"),
        ("０３０ 901820", "+4930901820"),
        ("+43 1 5321234", "+4315321234"),
        # Without its area code the number still has a possible length.
        ("901820", "+49901820"),
    ],
)
def test_usual_spellings(typed: str, expected: str) -> None:
    assert typed_phone_number(typed) == expected
    assert typed_phone_number(expected) == expected


@pytest.mark.parametrize("typed", ["", " ", "Kim", "+", "0", "+999 12345", "1", "030 " + "1" * 20, "030 " + "1" * 300])
def test_what_is_no_phone_number(typed: str) -> None:
    assert typed_phone_number(typed) is None


def test_a_number_that_does_not_exist_can_be_read() -> None:
    number = parse_phone_number("0900 1")
    assert number is not None and e164(number) == "+499001"
    assert parse_phone_number("Kim") is None
