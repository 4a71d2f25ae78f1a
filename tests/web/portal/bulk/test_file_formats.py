"""Tests of the formats of bulk files: those that spreadsheets write are read, and broken ones are refused."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.bulk.uploading import HEAD, as_csv, opened, post, row, upload
from tests.workbooks import SHEET, as_xlsx, with_parts, with_sheet


def broken(part: str, content: bytes | None) -> bytes:
    """Return an XLSX workbook with one order, in which one file of its ZIP archive is replaced or left out.

    `part` is that file's name, `content` its new content (None: the file is left out).
    """
    return with_parts(as_xlsx([HEAD, row(1)]), {part: content})


def damaged(part: str, *, at: int, flag: bool = False) -> bytes:
    """Return an XLSX workbook with one order, in which one file of its ZIP archive, named `part`, is damaged.

    Four bytes of that file's packed content, from the offset `at` on, are overwritten. With `flag` the content is left
    as it is, and the file is marked as encrypted instead.
    """
    content = bytearray(as_xlsx([HEAD, row(1)]))
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        found = book.getinfo(part)
    if flag:
        head = content.rindex(b"PK\x01\x02", 0, content.rindex(part.encode()))
        content[head + 8] |= 1
    else:
        begins = found.header_offset + 30 + len(part) + at
        content[begins : begins + 4] = b"\xff" * 4
    return bytes(content)


def test_a_character_that_could_not_be_read_is_asked_for(signed: Front) -> None:
    lines = as_csv([HEAD, row(1), row(2, Ort="Br?hl", Ansprechperson="J?rg")], encoding="utf-8").replace(b"?", b"\xfc")
    address = opened(signed, lines)
    page = signed.client.get(address).text
    assert "2 Felder stimmen nicht" in page and page.count("Ein Zeichen darin war nicht lesbar.") == 2
    assert_valid(page)
    post(signed, address, **{"cell-3-city": "Berlin", "cell-3-contact_name": "Jörg"})
    assert "2 Zeilen, und jedes Feld stimmt." in signed.client.get(address).text


@pytest.mark.parametrize(
    "content",
    [
        as_csv([HEAD, row(1)], encoding="cp1252"),
        as_csv([HEAD, row(1)], encoding="utf-16"),
        as_csv([HEAD, row(1)], delimiter="\t"),
        b"sep=,\r\n" + as_csv([HEAD, row(1)], delimiter=",", encoding="utf-8"),
        as_xlsx([HEAD, row(1)]),
        # Spreadsheets store the area code as a number, without its leading zero.
        as_xlsx([HEAD, [*row(1)[:8], 4, 30, 10.0, None]]),
    ],
)
def test_files_as_they_really_come(signed: Front, content: bytes) -> None:
    page = signed.client.get(opened(signed, content)).text
    assert "1 Zeile, und jedes Feld stimmt." in page
    assert "Brückenstr. 5" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Die Datei hat keine Zeilen."),
        (as_csv([HEAD]), "Die Datei hat keine Zeilen."),
        (as_csv([HEAD[1:], row(1)[1:]]), "Diese Spalten fehlen: Name des Standorts."),
        (as_csv([[*HEAD, "Ort"], [*row(1), "Berlin"]]), "Eine Spalte ist doppelt vorhanden."),
        (b"PK\x03\x04 no workbook", "keine Tabelle"),
        (broken(SHEET, None), "keine Tabelle"),
        (broken(SHEET, b"<worksheet><sheetData><row"), "keine Tabelle"),
        (broken(SHEET, b""), "keine Tabelle"),
        (broken("xl/workbook.xml", b"<workbook"), "keine Tabelle"),
        (broken("xl/workbook.xml", None), "keine Tabelle"),
        (damaged(SHEET, at=0), "keine Tabelle"),
        (damaged(SHEET, at=60), "keine Tabelle"),
        (damaged(SHEET, at=0, flag=True), "keine Tabelle"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "keine Tabelle"),
        (as_csv([HEAD, *([["x"]] * 10_001)]), "mehr als 10.000 Zeilen"),
        (as_csv([HEAD, ["x" * 70_000]]), "Zeile 2 der Datei ist länger als 65.536 Zeichen"),
        (with_sheet('<row r="4000000000"><c><v>1</v></c></row>'), "In Zeile 4000000000 des Tabellenblatts steht etwas"),
        (broken("xl/media/image1.png", b"\0" * 61_000_000), "ausgepackt mehr als 60 MB"),
    ],
)
def test_what_cannot_be_read_says_why(signed: Front, content: bytes, said: str) -> None:
    answer = upload(signed, content)
    assert answer.status_code == 422
    assert said in answer.text
    assert_valid(answer.text)


@pytest.mark.parametrize("letter", ["x", "ü", "中"])
def test_a_long_text_in_every_cell_is_refused_however_small_the_workbook(signed: Front, letter: str) -> None:
    # The workbook has the text once: some kilobytes become many megabytes.
    content = as_xlsx([HEAD, *([letter * 1_000] * len(HEAD) for _ in range(900))])
    assert len(content) < 200_000
    answer = upload(signed, content)
    assert answer.status_code == 422
    assert any(said in answer.text for said in ("mehr als 5.000.000 Zeichen", "Die Arbeitsmappe ist zu groß"))
