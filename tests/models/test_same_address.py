"""Tests of comparing postal addresses: spellings of one address are equal, two addresses are not.

Also of recognising whether a street has a house number.
"""

from __future__ import annotations

import pytest

from models.same_address import address_key, has_house_number


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Brückenstraße 5", "Brueckenstr. 5", True),
        ("Brückenstr. 5 a", "brückenstr 5A", True),
        ("Karl-Marx-Str. 5", "Karl Marx Straße 5", True),
        ("Am Markt 12-14", "Am Markt 12 – 14", True),
        ("Am Markt 1/2", "Am Markt 1 / 2", True),
        ("Am Markt 12", "Am Markt 1/2", False),
        ("Am Markt 12", "Am Markt 1-2", False),
        ("Am Markt 1/2", "Am Markt 1-2", False),
        ("Am Markt 12-14", "Am Markt 1214", False),
        ("Am Markt 12-14", "Am Markt 121-4", False),
        ("Am Markt 1", "Am Markt 1a", False),
        ("Q 7, 24", "Q 72, 4", False),
    ],
)
def test_two_spellings_of_an_address_agree_and_two_addresses_do_not(one: str, other: str, alike: bool) -> None:
    assert (address_key(one, "10115", "Berlin") == address_key(other, "10115", "Berlin")) is alike


def test_an_address_with_one_number_keeps_the_key_that_its_proof_has() -> None:
    assert address_key("Karl-Marx-Straße 5 a", "10115", "Berlin") == "karlmarxstr5a10115berlin"


@pytest.mark.parametrize(
    ("street", "has_one"),
    [
        ("Brückenstr. 5", True), ("Brückenstr.5", True), ("Am Markt 1/2", True), ("Am Markt 12-14 b", True),
        ("Q 7, 24", True), ("C4, 12", True), ("Brückenstr. 5, 2. OG", True), ("Straße des 17. Juni 135", True),
        ("Am Hafen ohne Hausnummer", True), ("Am Hafen, o. Nr.", True), ("Am Hafen (ohne Nr.)", True),
        ("Harbour Road, no house number", True),
        ("Brückenstr.", False), ("Straße des 17. Juni", False), ("Platz des 4.Juli", False), ("Am Hafen", False),
        ("Nordstr.", False),
    ],
)  # fmt: skip
def test_a_street_has_a_house_number_or_says_that_there_is_none(street: str, has_one: bool) -> None:
    assert has_house_number(street) is has_one


def test_streets_in_other_scripts_are_different_addresses() -> None:
    streets = ["北京路 5", "上海路 5", "Жуковская 5", "Пушкинская 5", "شارع برلين 5", "רחוב 5", "5"]
    assert len({address_key(street, "10179", "Berlin") for street in streets}) == len(streets)
    assert address_key("Жуковская  5", "10179", "Berlin") == address_key("жуковская-5", "10179", "Berlin")
    assert address_key("Rue José 5", "10179", "Berlin") == "ruejos510179berlin"
