"""Tests of typed phone numbers: every spelling is stored in one form, and none is mistaken for another number."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.phone_numbers import (
    BadPhoneNumber,
    e164,
    parse_phone_number,
    typed_contact_number,
    typed_mobile_number,
    typed_phone_number,
)

SPELLINGS = {
    "030 901820": "+4930901820",
    "+49 30 901820": "+4930901820",
    "0049 (0)30 / 90-18-20": "+4930901820",
    "+49 (0)30 901820": "+4930901820",
    "+49030901820": "+4930901820",
    "0049030901820": "+4930901820",
    "030/901820": "+4930901820",
    "030–90\u00a018\u202f20": "+4930901820",
    "\u202d030\u200b901820\u202c": "+4930901820",
    "０３０ 901820": "+4930901820",
    "（030）901820": "+4930901820",
    "Tel.: 030 901820": "+4930901820",
    "tel:+4930901820": "+4930901820",
    "030 901820-12": "+493090182012",
    "+43 1 5321234": "+4315321234",
    "+39 06 1234567": "+39061234567",
    "0800 1234567": "+498001234567",
    # As spreadsheets leave it.
    "30901820": "+4930901820",
    # Without its area code the number still has a possible length.
    "901820": "+49901820",
}


def refusal(read: Callable[[str], object], typed: str) -> str:
    with pytest.raises(BadPhoneNumber) as caught:
        read(typed)
    return caught.value.code


@pytest.mark.parametrize(("typed", "expected"), SPELLINGS.items())
def test_usual_spellings(typed: str, expected: str) -> None:
    for read in (typed_phone_number, typed_contact_number):
        assert read(typed) == expected
        assert read(expected) == expected


@pytest.mark.parametrize(
    "typed",
    ["", " ", "Kim", "+", "0", "+999 12345", "1", "030 " + "1" * 20, "030 " + "1" * 300, "*31#030901820",
     "+49 0049 30 901820", "030 901820 #12"],
)  # fmt: skip
def test_what_is_no_phone_number(typed: str) -> None:
    assert refusal(typed_phone_number, typed) == refusal(typed_contact_number, typed) == "not_a_phone_number"


@pytest.mark.parametrize(
    "typed",
    ["030 901820 App. 12", "030 901820 Apparat 12", "030 901820 DW 12", "030 901820 ext. 12", "030 901820x12",
     "+4930901820;ext=12", "030 901820 Zentrale", "0800 FLOWERS", "030 901820, 030 901821", "030 901820 oder 21",
     "0521 99998 / 12", "0521 123456/7", "030/901820/21", "030 901820\n030 901821"],
)  # fmt: skip
def test_letters_and_second_numbers_are_never_read_as_digits(typed: str) -> None:
    for read in (typed_phone_number, typed_contact_number, typed_mobile_number):
        assert refusal(read, typed) == "not_as_dialled"


@pytest.mark.parametrize(
    "typed",
    ["110", "112", "+49112", "0049 110", "030 110", "0521/112", "115", "030 115", "116117", "+49 116 117", "11833",
     "0900 1234567", "0137 1234567", "0180 5123456", "0180 2", "0190 123456", "0700 12345678", "01013 030901820",
     "+43 112", "+1 911", "+44 999", "+1 900 234 5678"],
)  # fmt: skip
def test_nobody_is_reached_at_emergency_and_service_numbers(typed: str) -> None:
    assert refusal(typed_contact_number, typed) == "service_number"


def test_a_number_that_does_not_exist_can_be_read() -> None:
    assert e164(parse_phone_number("0900 1")) == "+499001"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("0151 23456789", "+4915123456789"),
        ("+49 (0)171 1234567", "+491711234567"),
        ("0171/1234567", "+491711234567"),
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
    if expected is None:
        assert refusal(typed_mobile_number, typed) == "not_a_phone_number"
    else:
        assert typed_mobile_number(typed) == expected


@pytest.mark.parametrize("typed", ["040 116117", "0221 11833", "033056 110", "+49 30 112", "030 115"])
def test_a_service_number_after_an_area_code_is_nobody_s(typed: str) -> None:
    with pytest.raises(BadPhoneNumber):
        typed_contact_number(typed)


def test_a_very_long_text_is_no_number() -> None:
    with pytest.raises(BadPhoneNumber, match="not_a_phone_number"):
        typed_contact_number("tel" + " " * 200_000 + "x")
