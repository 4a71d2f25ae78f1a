"""Tests of typed phone numbers: every spelling is stored in one form."""

from __future__ import annotations

import pytest

from models.phone_numbers import e164, parse_phone_number, typed_mobile_number, typed_phone_number


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


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("0151 23456789", "+4915123456789"),
        ("+49 (0)171 1234567", "+491711234567"),
        ("0043 664 1234567", "+436641234567"),
        # North American numbers do not tell mobile from fixed lines.
        ("+1 201 555 0123", "+12015550123"),
        ("030 901820", None),
        ("+43 1 5321234", None),
        ("0151 2345", None),
        ("0900 1234567", None),
        ("0700 12345678", None),
        ("112", None),
        ("Kim", None),
    ],
)
def test_a_mobile_number_may_be_of_any_country(typed: str, expected: str | None) -> None:
    assert typed_mobile_number(typed) == expected
