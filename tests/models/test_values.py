"""Tests of German place names, customer numbers, and number blocks in readable notation."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values import (
    CUSTOMER_NUMBER,
    address_key,
    as_locale,
    block_numbers,
    display_block,
    end_of_day,
    has_house_number,
    name_fault,
    national_to_e164,
    random_customer_number,
    same_place,
    typed_customer_number,
)

WORD = st.text("abcdefghijklmnopqrstuvwxyzäöüß", min_size=1, max_size=12)
SEPARATOR = st.sampled_from([" ", "-", "/", ". ", " (", ", "])
PLACE = st.lists(st.tuples(WORD, SEPARATOR), min_size=1, max_size=5).map(
    lambda parts: "".join(word + separator for word, separator in parts)
)


@pytest.mark.parametrize(
    ("city", "area"),
    [
        ("Berlin", "Berlin"),
        ("BERLIN", "Berlin"),
        ("Berlin-Mitte", "Berlin"),
        ("Frankfurt", "Frankfurt am Main"),
        ("Frankfurt (Main)", "Frankfurt am Main"),
        ("Frankfurt a. M.", "Frankfurt am Main"),
        ("Frankfurt/M", "Frankfurt am Main"),
        ("Frankfurt/O.", "Frankfurt (Oder)"),
        ("Freiburg i. Br.", "Freiburg im Breisgau"),
        ("Freiburg i.Br.", "Freiburg im Breisgau"),
        ("Halle (Saale)", "Halle Saale"),
        ("Halle (Westf.)", "Halle Westfalen"),
        ("Hannoversch Münden", "Hann. Münden"),
        ("Köln", "Koeln"),
        ("Lauf a.d. Pegnitz", "Lauf an der Pegnitz"),
        ("Mu\u0308nchen", "München"),  # decomposed, as macOS writes it
        ("Neustadt/Weinstr.", "Neustadt an der Weinstraße"),
        ("Rothenburg o.d.T.", "Rothenburg ob der Tauber"),
        ("Sankt Wendel", "St Wendel"),
        ("St. Wendel", "St Wendel"),
        ("Weissenburg i. Bay.", "Weißenburg in Bayern"),
    ],
)
def test_usual_spellings_of_one_place_agree(city: str, area: str) -> None:
    assert same_place(city, area)
    assert same_place(area, city)


@pytest.mark.parametrize(
    ("city", "area"),
    [
        ("", "Berlin"),
        ("10179", "Berlin"),
        ("am", "Frankfurt am Main"),
        ("B.", "Berlin"),
        ("Berlinchen", "Berlin"),
        ("Bad Ems", "Bad Emstal"),
        ("Bernau bei Berlin", "Berlin"),
        ("Bielefeld", "Berlin"),
        ("Frankfurt (Oder)", "Frankfurt am Main"),
        ("Frankfurt/O.", "Frankfurt am Main"),
        ("Landau a.d. Isar", "Landau in der Pfalz"),
        ("Münster", "München"),
    ],
)
def test_another_place_is_another_place(city: str, area: str) -> None:
    assert not same_place(city, area)
    assert not same_place(area, city)


@given(PLACE, PLACE)
def test_which_of_two_places_comes_first_does_not_matter(one: str, other: str) -> None:
    assert same_place(one, other) == same_place(other, one)


@given(WORD.filter(lambda word: len(word) > 4), PLACE)
def test_a_place_is_itself_however_its_umlauts_are_typed(first: str, rest: str) -> None:
    name = f"{first} {rest}"
    without = name
    for umlaut, typed in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        without = without.replace(umlaut, typed)
    for spelling in (name, name.upper(), name.title(), without, unicodedata.normalize("NFD", name)):
        assert same_place(spelling, name)


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


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        # In winter and in summer, before and after midnight in Berlin, and on the day of 23 hours.
        ("2026-01-10T12:00", "2026-01-10T23:00"),
        ("2026-01-10T23:00", "2026-01-11T23:00"),
        ("2026-07-10T21:59", "2026-07-10T22:00"),
        ("2026-03-28T23:30", "2026-03-29T22:00"),
    ],
)
def test_a_deadline_said_as_a_day_ends_with_that_day_in_berlin(moment: str, end: str) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert end_of_day(at) == datetime.fromisoformat(end).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "www.evil.example/login", "klick auf http://evil.example", "HTTPS://EVIL.EXAMPLE", "hxxps://evil.example",
        "Gewinn (evil.example/login)", "evil.example?x=1", "evil.example:8080", "dr.evil.example/x", "1http://evil.example",
        "www . evil . example", "192.0.2.1/login", "Hanna <hanna@evil.example>", "mailto:hanna@evil.example", "a@b.de",
        "-//evil.example/x", "=?utf-8?q?www=2Eevil=2Eexample?=", "Anna =?UTF-8*de?B?d3d3?=",
    ],
)  # fmt: skip
def test_a_name_with_a_web_or_email_address_is_refused(text: str) -> None:
    fault = name_fault(text)
    assert fault is not None and fault.code == "web_address"


@pytest.mark.parametrize(
    "text",
    [
        "Beispiel24.de GmbH", "Booking.com (Deutschland) GmbH", "Praxis Dr.Meier/Schulz", "Dr.med.Meier/Schulz GbR",
        "Café @ Home", "Team@Work GmbH", "Müller & Co. KG", "St. Georg", "Filiale 2.1", "WWW-Service", "a/b", "Nr. 5/7",
        "Haus 1.OG/links", "R. u. S./Söhne", "Am Markt 12 1/2",
    ],
)  # fmt: skip
def test_usual_names_are_names(text: str) -> None:
    assert name_fault(text) is None


def test_long_texts_are_looked_through_in_no_time() -> None:
    began = perf_counter()
    for part in ("a", "a.", "-", "www ", "@a", "a@", "1.", "dr.", "=?", "=?a"):
        name_fault(part * 100_000)
    assert perf_counter() - began < 5


def test_streets_in_other_scripts_are_different_addresses() -> None:
    streets = ["北京路 5", "上海路 5", "Жуковская 5", "Пушкинская 5", "شارع برلين 5", "רחוב 5", "5"]
    assert len({address_key(street, "10179", "Berlin") for street in streets}) == len(streets)
    assert address_key("Жуковская  5", "10179", "Berlin") == address_key("жуковская-5", "10179", "Berlin")
    assert address_key("Rue José 5", "10179", "Berlin") == "ruejos510179berlin"
