"""Tests of recognising the encoding of text files: files of spreadsheet programs are read correctly.

Characters that cannot be read with certainty are marked.
"""

from __future__ import annotations

import io

import pytest

from tasks.files.text_encoding import UNREADABLE, encoding_of, open_text

GERMAN = "Brückenstr. 1;Köln;Jörg Weiß\nGroße Bäckerei;Überlingen;Änne Öchsle\n"
FOREIGN = "Café „Zoé“;D’Or;François Señor – ½ Übergröße, 3 €\n"
POLISH = "Łukasz;Kraków;Żołnierz\n"
ONLY = {"ü": "Brückenstr.", "ö": "Köln", "ä": "Bäcker", "ß": "Große Straße", "Ü": "Über", "Ä": "Ärzte", "Ö": "Öchsle"}


def read(content: bytes) -> str:
    """Return the file's text, decoded in its recognised encoding.

    U+FFFD stands for each character that is doubtful in this encoding.
    """
    encoding = encoding_of(io.BytesIO(content))
    with open_text(io.BytesIO(content), encoding) as text:
        return encoding.trusted(text.read())


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "cp850", "mac_roman"]
)
@pytest.mark.parametrize("count", [1, 3, 5_000])
def test_german_is_read_in_every_encoding_of_spreadsheets(encoding: str, count: int) -> None:
    assert read((GERMAN * count).encode(encoding)) == GERMAN * count


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_western_names_and_usual_symbols_are_read(encoding: str) -> None:
    assert read(FOREIGN.encode(encoding)) == FOREIGN


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "mac_roman"])
@pytest.mark.parametrize("letter", ONLY)
def test_one_letter_alone_is_read_or_marked_and_never_another_one(encoding: str, letter: str) -> None:
    word = ONLY[letter]
    said = read(f"name;street\nFiliale;{word}\n".encode(encoding))
    assert said in (f"name;street\nFiliale;{word}\n", f"name;street\nFiliale;{word.replace(letter, UNREADABLE)}\n")
    if encoding == "cp1252":
        assert word in said


@pytest.mark.parametrize("name", ["Sánchez", "Miloš", "Žižek"])
def test_a_letter_that_another_encoding_reads_as_an_umlaut_is_certain_beside_real_umlauts(name: str) -> None:
    assert read(f"{name};Köln;Müller\n".encode("cp1252")) == f"{name};Köln;Müller\n"
    alone = read(f"{name};Berlin\n".encode("cp1252"))
    assert UNREADABLE in alone or name in alone


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859_2"])
def test_letters_of_an_encoding_that_is_not_known_are_marked(encoding: str) -> None:
    said = read((GERMAN + POLISH).encode(encoding))
    assert GERMAN in said and UNREADABLE in said.removeprefix(GERMAN)


def test_a_broken_byte_spoils_its_own_character_only() -> None:
    assert read(GERMAN.encode().replace("ö".encode(), b"\xf6", 1)) == GERMAN.replace("ö", UNREADABLE, 1)
    assert read(GERMAN.encode("cp1252").replace(b"Jo", b"J\x81")) == GERMAN
    assert read(GERMAN.encode("cp1252").replace(b"Br", b"B\x81r")) == GERMAN.replace("Br", f"B{UNREADABLE}r")


def test_text_that_was_read_wrongly_before_is_turned_back() -> None:
    encoding = encoding_of(io.BytesIO(GERMAN.encode()))
    assert encoding.trusted("BrÃ¼ckenstraÃŸe") == "Brückenstraße"
    assert encoding.trusted("L'HAŸ-LES-ROSES, Brücke") == "L'HAŸ-LES-ROSES, Brücke"
