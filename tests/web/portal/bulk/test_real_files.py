"""Tests of bulk files as spreadsheet programs and people write them.

Umlauts in old encodings, removed leading zeros and invisible characters are corrected. Error values and unusable phone
numbers are marked as invalid cells.
"""

from __future__ import annotations

import io

import pytest
import sqlalchemy as sa
from xlsxwriter import Workbook

from models.bulk.bulk import BulkRow
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.bulk.test_files import sheet_row
from tests.web.portal.bulk.uploading import HEAD, as_csv, opened, post, row, upload
from tests.workbooks import as_xlsx, with_sheet

STREET, PHONE = "Straße und Hausnummer", "Telefon"


def cells(front: Front) -> list[dict[str, str]]:
    """Return the stored cells of each uploaded row, by column name, in the order of the file."""
    with front.database.transaction() as session:
        return [found.cells for found in session.scalars(sa.select(BulkRow).order_by(BulkRow.line))]


def test_error_values_are_bad_cells_in_a_workbook_and_in_csv(signed: Front) -> None:
    error = '<row r="2">' + "".join(
        f'<c r="{column}2" t="e"><v>{value}</v></c>'
        for column, value in (("A", "#N/A"), ("B", "#REF!"), ("E", "#NAME?"))
    )
    others = {"C": "10179", "D": "Berlin", "F": "h@x.de", "H": "trunk-10", "I": "4", "J": "030", "K": "10"}
    error += "".join(f'<c r="{place}2" t="inlineStr"><is><t>{value}</t></is></c>' for place, value in others.items())
    page = signed.client.get(opened(signed, with_sheet(sheet_row(1, HEAD) + error + "</row>"), name="A.xlsx")).text
    assert "3 Felder stimmen nicht" in page and page.count("Das ist ein Fehlerwert der Tabelle") == 3
    wrong = row(1, **{"Name des Standorts": "#NV", STREET: "#BEZUG!", PHONE: "4,93E+11", "Ansprechperson": "J?rg"})
    address = opened(signed, as_csv([HEAD, wrong]))
    page = signed.client.get(address).text
    assert "4 Felder stimmen nicht" in page and page.count("Das ist ein Fehlerwert der Tabelle") == 2
    assert "Die Tabelle hat diese Nummer gekürzt" in page and "Ein Zeichen darin war nicht lesbar." in page
    assert_valid(page)
    typed = {"name": "Mitte", "street": "Brückenstr. 5", "phone": "030 901820", "contact_name": "Jörg"}
    post(signed, address, **{f"cell-2-{name}": value for name, value in typed.items()})
    assert "1 Zeile, und jedes Feld stimmt." in signed.client.get(address).text


@pytest.mark.parametrize("encoding", ["cp850", "mac_roman"])
def test_umlauts_of_old_encodings_are_read_as_umlauts(signed: Front, encoding: str) -> None:
    english = [
        "Location name", "Street and house number", "Postal code", "City", "Contact", "E-mail", "Phone", "Product",
        "Channels", "Area code", "Phone numbers", "Options",
    ]  # fmt: skip
    page = signed.client.get(opened(signed, as_csv([english, row(1), row(2)], encoding=encoding))).text
    assert "2 Zeilen, und jedes Feld stimmt." in page
    assert {found["street"] for found in cells(signed)} == {"Brückenstr. 5"}


def test_invisible_characters_are_taken_off(signed: Front) -> None:
    rows = [
        row(1, Postleitzahl="10179\u200b"),
        row(2, **{"E-Mail": "hanna@example.com\u200b"}),
        row(3, Ort="Ber\u200blin", Vorwahl="\u202a030\u202c"),
        row(4, Ansprechperson="Hanna\u00a0Pal\u00admer"),
    ]
    assert "4 Zeilen, und jedes Feld stimmt." in signed.client.get(opened(signed, as_csv([HEAD, *rows]))).text
    stored = cells(signed)
    assert [stored[0]["postal_code"], stored[1]["email"], stored[2]["city"], stored[2]["area_code"]] == [
        "10179", "hanna@example.com", "Berlin", "030",
    ]  # fmt: skip
    assert stored[3]["contact_name"] == "Hanna Palmer"


DRESDEN = {"Postleitzahl": "1067", "Ort": "Dresden", "Vorwahl": "351"}
LEIPZIG = {"Postleitzahl": "4109", "Ort": "Leipzig", "Vorwahl": "341"}


@pytest.mark.parametrize(
    "content",
    [
        as_csv([HEAD, row(1, **DRESDEN), row(2, **LEIPZIG)], encoding="cp1252"),
        as_xlsx([HEAD, *([*line[:2], int(line[2]), *line[3:9], int(line[9]), 10] for line in
                         (row(1, **DRESDEN), row(2, **LEIPZIG)))]),
    ],
    ids=["csv", "xlsx"],
)  # fmt: skip
def test_leading_zeros_that_a_spreadsheet_took_off_are_put_back(signed: Front, content: bytes) -> None:
    assert "2 Zeilen, und jedes Feld stimmt." in signed.client.get(opened(signed, content)).text
    assert [(found["postal_code"], found["area_code"]) for found in cells(signed)] == [
        ("01067", "0351"), ("04109", "0341"),
    ]  # fmt: skip


def test_a_postal_code_that_lacks_another_digit_is_asked_for(signed: Front) -> None:
    page = signed.client.get(opened(signed, as_csv([HEAD, row(1, Postleitzahl="1017")]))).text
    assert "Eine deutsche Postleitzahl hat fünf Ziffern." in page and 'value="1017"' in page


def test_phone_numbers_and_addresses_that_reach_nobody_are_bad_cells(signed: Front) -> None:
    head, mail = [*HEAD, "Benutzer am Standort"], "E-Mail"
    rows = [
        [*row(1, **{PHONE: "030 901820 App. 12", mail: "jörg@example.com"}), ""],
        [*row(2, **{PHONE: "110"}), "Jörg <jörg@example.com>"],
        [*row(3, **{PHONE: "0049 (0)30/90 18 20", mail: "o'brien+berlin@müller.de"}), ""],
    ]
    page = signed.client.get(opened(signed, as_csv([head, *rows]))).text
    assert "4 Felder stimmen nicht" in page and page.count("vor dem @ kennen Mailserver nicht") == 2
    assert "eine einzige Rufnummer" in page and "Notruf- und Servicenummern" in page
    assert_valid(page)


def test_the_page_says_from_where_the_rows_were_read(signed: Front) -> None:
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        book.add_worksheet("Anleitung").write(0, 0, "So füllen Sie die Liste aus")
        for name in ("Filialen Nord", "Filialen Süd"):
            sheet = book.add_worksheet(name)
            for line, values in enumerate([["Unsere neuen Filialen"], HEAD, row(1)], 2):
                sheet.write_row(line, 0, values)
            sheet.set_row(4, None, None, {"hidden": True})
    page = signed.client.get(opened(signed, out.getvalue(), name="Filialen.xlsx")).text
    assert "1 Zeile, und jedes Feld stimmt." in page and "„Filialen Nord“ mit den Überschriften in Zeile 4" in page
    assert "Nicht gelesen: die Tabellenblätter Filialen Süd." in page
    assert "1 Zeile ist im Tabellenblatt ausgeblendet" in page
    assert_valid(page)
    page = signed.client.get(opened(signed, as_csv([["Unsere Filialen"], HEAD, row(2)]))).text
    assert "Gelesen mit den Überschriften in Zeile 2." in page


def test_what_cannot_be_read_names_its_place(signed: Front) -> None:
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        book.add_worksheet("Leer").write(0, 0, "x")
        hidden = book.add_worksheet("Alt")
        hidden.write_row(0, 0, HEAD)
        hidden.write_row(1, 0, row(1))
        hidden.hide()
    for content, said in (
        (out.getvalue(), "auf dem ausgeblendeten Tabellenblatt „Alt“"),
        (as_csv([HEAD, row(1)]) + b'"offen;x\r\n', "In Zeile 3 der Datei ist ein Anführungszeichen nicht geschlossen"),
        (as_csv([HEAD, [*row(1), "zu viel"]]), "Zeile 2 der Datei hat mehr Felder, als es Überschriften gibt."),
    ):
        answer = upload(signed, content)
        assert answer.status_code == 422 and said in answer.text, said
        assert_valid(answer.text)
