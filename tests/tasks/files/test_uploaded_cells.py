"""Tests of how the cells of an uploaded table become text, and of cells that are refused in any column."""

from __future__ import annotations

import pytest

from tasks.files.uploaded_cells import cell_fault, cell_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  Hanna\u00a0 Palmer\t", "Hanna Palmer"),
        ("Hanna\r\nPalmer", "Hanna Palmer"),
        ("10179\u200b", "10179"),
        ("\ufeffBer\u200blin\u00ad", "Berlin"),
        ("\u202aBr\u0075\u0308ckenstr. 5\u202c", "Brückenstr. 5"),
        ("\x01\x02 ", ""),
        ("a\x00b", "a\ufffdb"),
        ("'=1+1", "=1+1"),
        ("'t Hart", "'t Hart"),
        (1067, "1067"),
        (10.0, "10"),
        (12.5, "12.5"),
        (493090182012.0, "493090182012"),
    ],
)
def test_a_cell_is_read_as_a_person_would_write_it(value: object, text: str) -> None:
    assert cell_text(value) == text


@pytest.mark.parametrize(
    "text",
    ["#N/A", "#NV", "#REF!", "#BEZUG!", "#NAME?", "#VALUE!", "#WERT!", "#DIV/0!", "#NUM!", "#ZAHL!", "#NULL!",
     "#SPILL!", "#ÜBERLAUF!", "#NOM?", "#N/D", "#n/a", "Err:508", "########"],
)  # fmt: skip
def test_error_values_of_spreadsheets(text: str) -> None:
    assert cell_fault(text) == "error_value"


@pytest.mark.parametrize("text", ["4.93E+11", "4,93E+11", "4.93e+11", "4E+20", "1.2E-5"])
def test_numbers_that_were_shortened(text: str) -> None:
    assert cell_fault(text) == "shortened_number"


@pytest.mark.parametrize("text", ["Br\ufffdckenstr. 5", "Br?ckenstr. 5", "Gro?e Str. 1"])
def test_characters_that_were_lost(text: str) -> None:
    assert cell_fault(text) == "unreadable_character"


@pytest.mark.parametrize(
    "text",
    ["", "Filiale 1", "#1", "Filiale #2!", "12E", "12E5", "Erich", "Wer? Wir!", "12 - 14", "ABCDE FGHJK",
     "+49 30 901820", "E+F GmbH", "Was ist das?"],
)  # fmt: skip
def test_what_people_really_write(text: str) -> None:
    assert cell_fault(text) is None


@pytest.mark.parametrize("text", ["#Hashtag!", "2E-1", "3E1", "E+11", "Halle 4E+1", "#1!"])
def test_names_that_look_like_faults_are_none(text: str) -> None:
    assert cell_fault(cell_text(text)) is None


def test_a_cell_of_blanks_is_read_in_one_go() -> None:
    assert cell_text("ä" + " " * 60_000 + "x\x00") == "ä x"
