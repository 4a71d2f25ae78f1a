"""Tests of small values: customer numbers, number blocks as text, and the choice between German and English."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values import (
    CUSTOMER_NUMBER,
    as_locale,
    block_numbers,
    display_block,
    national_to_e164,
    random_customer_number,
    typed_customer_number,
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1234567", "1234567"), (" 123 45\u00a067 ", "1234567"), ("123-4567", "1234567"), ("0234567", None),
        ("123456", None), ("1234567 Meier", None), ("١٢٣٤٥٦٧", None), ("", None), ("\x00", None),
    ],
)  # fmt: skip
def test_a_customer_number_may_be_typed_with_spaces(typed: str, meant: str | None) -> None:
    assert typed_customer_number(typed) == meant


def test_customer_numbers_have_seven_digits_and_no_order() -> None:
    numbers = [random_customer_number() for _ in range(500)]
    assert all(CUSTOMER_NUMBER.fullmatch(number) for number in numbers)
    assert len(set(numbers)) > 490
    assert numbers != sorted(numbers)


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (("030", 49302312551, 1), "030 2312551"),
        (("030", 493023125510, 10), "030 2312551-0 … -9"),
        (("0521", 4952123456700, 100), "0521 234567-00 … -99"),
    ],
)
def test_a_block_is_shown_as_people_write_it(block: tuple[str, int, int], shown: str) -> None:
    assert display_block(*block) == shown


@given(st.sampled_from(["030", "0521", "033338"]), st.integers(1000, 99999), st.sampled_from([1, 10, 100]))
def test_what_is_shown_of_a_block_can_be_dialled(area_code: str, subscriber: int, size: int) -> None:
    first = int(f"{national_to_e164(area_code)}{subscriber}") * size
    numbers = block_numbers(first, size)
    assert [int(number) for number in numbers] == list(range(first, first + size))
    shown, *tail = display_block(area_code, first, size).split(" … -")
    dialled = re.sub(r"[ -]", "", shown)
    assert "+49" + dialled.removeprefix("0") == numbers[0]
    for last in tail:
        assert "+49" + dialled[: -len(last)].removeprefix("0") + last == numbers[-1]


@pytest.mark.parametrize(
    ("language", "locale"), [("en-GB", "en"), ("EN", "en"), ("de-AT", "de"), ("fr", "de"), (None, "de")]
)
def test_english_is_spoken_to_who_asks_for_it(language: str | None, locale: str) -> None:
    assert as_locale(language) == locale
