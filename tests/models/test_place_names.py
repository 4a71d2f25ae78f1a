"""Tests of German place names: usual spellings of one place are equal, and names of two places are not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.place_names import same_place

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
