"""Tests of which characters can be printed with the installed typefaces.

Also of the invisible characters in names that join the letters beside them: they are kept only where they do that.
"""

from __future__ import annotations

import unicodedata

import pytest

from models.invisible_characters import typed_text
from models.name_rules import name_fault
from models.printable_text import in_print, unprintable
from models.typefaces import MOST_MARKS, WEIGHTS, clusters, is_plain, lacking, typeface_of, typefaces
from tests.world_names import WORLD_NAMES


@pytest.mark.parametrize("kind", WORLD_NAMES)
def test_a_name_in_any_living_script_is_accepted_as_typed(kind: str) -> None:
    name = WORLD_NAMES[kind]
    assert typed_text(name) == name and name_fault(name) is None and in_print(name) == name


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("Büro \U00012000\U00012001", "\U00012000 (U+12000)"),
        ("a\ue000", "U+E000"),
        ("Br\ufffdckenstr.", "\ufffd (U+FFFD)"),
        ("a\u0378", "U+0378"),
        ("a\x07b", "U+0007"),
        ("ä\x07b", "U+0007"),
        ("a\u2028b", "U+2028"),
        ("a\u200bä", "U+200B"),
        ("Z" + "\u0301" * (MOST_MARKS + 2), "Z" + "\u0301" * (MOST_MARKS + 2)),
    ],
)
def test_what_no_typeface_has_is_named(text: str, character: str) -> None:
    found = unprintable(text)
    assert found.split(" ")[0] == unicodedata.normalize("NFC", character).split(" ")[0]
    fault = name_fault(text)
    assert fault is not None and fault.code == "unprintable" and fault.character == found
    assert lacking(in_print(text)) in ("", "\u200b", "\x07")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Ki\u200bm\ufeff Bei\u00adspiel\u2060\u200d", "Kim Beispiel"),
        ("a\u200cb\u200dc", "abc"),
        ("a\ufe0f", "a"),
        ("\u200d👩\u200d", "👩"),
        ("👩\u200d\u200d👩", "👩👩"),
        ("ر\u200cا", "را"),
        ("می\u200c خواهم", "می خواهم"),
        ("\x01\u200d\x01ä", "\x01\x01ä"),
        ("👍\ufe0e", "👍"),
        ("🏴\U000e0067", "🏴"),
        ("\u202eKim\u2069 ä", "Kim ä"),
        ("🙂\u200d↔️", "🙂\u200d↔️"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_a_joiner_stays_only_where_it_joins(typed: str, stored: str) -> None:
    assert typed_text(typed) == stored


def test_many_invisible_characters_cost_no_more_than_their_number() -> None:
    assert typed_text("ä" + "\u200d\ufe0f\u200c" * 100_000) == "ä"


def test_all_weights_of_the_first_typeface_have_the_same_characters() -> None:
    first = typefaces()[0]
    regular, semibold = (set(first.face(weight).unicodes) for weight in WEIGHTS)
    assert regular == semibold and len(regular) > 600


@pytest.mark.parametrize("text", ["Müller & Söhne", "Łódź", "Щербаков Ґ", "Đặng Thị", "50 €/m²", "„Café“ – d’Or №1"])
def test_names_of_europe_need_no_shaping(text: str) -> None:
    assert is_plain(text) and {typeface_of(cluster) for cluster in clusters(text)} == {typefaces()[0]}


def test_an_emoji_is_printed_as_one() -> None:
    assert [face.name for sign in ("❤️", "1️⃣", "👩\u200d⚕️", "🇩🇪") if (face := typeface_of(sign))] == ["NotoEmoji"] * 4


def test_chinese_characters_have_the_forms_of_the_language_around_them() -> None:
    found = {form: typeface_of("直", form) for form in ("jp", "kr", "sc")}
    assert len({face.index for face in found.values() if face}) == 3
