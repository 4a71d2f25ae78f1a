"""Tests of uploaded tables: found anywhere on a sheet and read completely, or refused with the place of the error."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from xlsxwriter import Workbook

from tasks.files.uploaded_tables import Headings, Place, Row, UnusableTable, open_table

KEYS = {"Name": "name", "Straße": "street", "Ort": "city", "Notiz": "note"}
HEADINGS = Headings(KEYS.get, ("name", "street", "city"))
HEAD = ["Name", "Straße", "Ort"]
TABLE = [HEAD, ["A", "Brückenstr. 1", "Berlin"], ["B", "Brückenstr. 2", "Köln"]]
READ = [("A", "Brückenstr. 1", "Berlin"), ("B", "Brückenstr. 2", "Köln")]


def read(content: bytes) -> tuple[Place, list[Row]]:
    with open_table(io.BytesIO(content), HEADINGS, 1_000) as table:
        return table.place, list(table.rows)


def texts(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [tuple(row.cells[key] for key in HEADINGS.required) for row in rows]


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    return "\r\n".join(";".join(row) for row in rows).encode()


def as_book(sheets: Mapping[str, Sequence[Sequence[str]]], *, hidden: Sequence[str] = (), **merged: str) -> bytes:
    """Return an XLSX workbook with these sheets, given as rows of cells by name.

    `hidden` are the names of the hidden sheets. `merged` has, by the name of a sheet, a range whose cells are merged,
    such as A1:B2.
    """
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for line, row in enumerate(rows):
                sheet.write_row(line, 0, row)
            if name in merged:
                first = merged[name].partition(":")[0]
                line, column = int(first[1:]) - 1, ord(first[0]) - ord("A")
                sheet.merge_range(merged[name], rows[line][column])
            if name in hidden:
                sheet.hide()
        next(sheet for sheet in book.worksheets() if sheet.name not in hidden).activate()
    return out.getvalue()


FOUND: dict[str, tuple[bytes, Place, list[int]]] = {
    "plain": (as_book({"Tabelle1": TABLE}), Place(1, "Tabelle1"), [2, 3]),
    "a title above the headings": (
        as_book({"T": [["Unsere neuen Filialen 2027"], [], *TABLE]}), Place(3, "T"), [4, 5]
    ),
    "a title of the words of a heading": (as_book({"T": [["Ort", "Name"], *TABLE]}), Place(2, "T"), [3, 4]),
    "a merged title": (as_book({"T": [["Filialen", "", ""], *TABLE]}, T="A1:C1"), Place(2, "T"), [3, 4]),
    "the second sheet": (
        as_book({"Anleitung": [["So füllen Sie die Liste aus"]], "Liste": TABLE}), Place(1, "Liste"), [2, 3]
    ),
    "an empty template before": (as_book({"Leer": [HEAD], "Liste": TABLE}), Place(1, "Liste"), [2, 3]),
    "a hidden first sheet": (
        as_book({"Alt": [HEAD, ["X", "Y", "Z"]], "Neu": TABLE}, hidden=["Alt"]), Place(1, "Neu"), [2, 3]
    ),
    "two tables": (as_book({"Nord": TABLE, "Süd": TABLE}), Place(1, "Nord", ("Süd",)), [2, 3]),
    "headings of two rows": (
        as_book({"T": [["Name", "Adresse", ""], ["", "Straße", "Ort"], *TABLE[1:]]}, T="A1:A2"), Place(2, "T"), [3, 4]
    ),
    "headings merged downwards": (
        as_book({"T": [[*HEAD, "Notiz"], ["", *HEAD[1:], ""], *TABLE[1:]]}, T="A1:A2"), Place(1, "T"), [3, 4]
    ),
    "headings that are repeated": (as_book({"T": [*TABLE[:2], HEAD, TABLE[2]]}), Place(1, "T"), [2, 4]),
    "CSV with a title": (
        as_csv([["Unsere Filialen", "", ""], ["", "", ""], *TABLE]),
        Place(3, None, encoding="utf-8", delimiter=";"),
        [4, 5],
    ),
    "CSV with repeated headings": (
        as_csv([*TABLE[:2], HEAD, TABLE[2]]), Place(1, None, encoding="utf-8", delimiter=";"), [2, 4]
    ),
    "CSV with a heading of two lines": (
        b'Name;"Stra\xc3\x9fe";"Notiz\r\n(intern)";Ort\r\nA;Br\xc3\xbcckenstr. 1;;Berlin\r\n'
        b"B;Br\xc3\xbcckenstr. 2;;K\xc3\xb6ln\r\n",
        Place(1, None, encoding="utf-8", delimiter=";"),
        [3, 4],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "place", "lines"), FOUND.values(), ids=FOUND)
def test_the_table_is_found_and_its_place_is_named(content: bytes, place: Place, lines: list[int]) -> None:
    found, rows = read(content)
    assert (found, texts(rows), [row.line for row in rows]) == (place, READ, lines)


def test_hidden_rows_are_read_and_counted() -> None:
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet("T")
        for line, row in enumerate([["Alt"], *TABLE, [], ["C", "3", "Bonn"]]):
            sheet.write_row(line, 0, row)
            if line in (0, 2, 4):
                sheet.set_row(line, None, None, {"hidden": True})
    place, rows = read(out.getvalue())
    assert (place.line, place.hidden_rows, [row.line for row in rows]) == (2, 1, [3, 4, 6])


def test_merged_cells_hold_for_each_of_their_rows() -> None:
    rows = [HEAD, ["A", "Brückenstr. 1", "Berlin"], ["B", "Brückenstr. 2", ""], ["C", "Brückenstr. 3", ""]]
    _, found = read(as_book({"T": rows}, T="C2:C1000"))
    assert [row.cells["city"] for row in found] == ["Berlin"] * 3


REFUSED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a hidden sheet only": (
        as_book({"Neu": [["x"]], "Alt": TABLE}, hidden=["Alt"]), {"code": "hidden_sheet", "line": 1, "sheet": "Alt"}
    ),
    "a column is missing": (
        as_book({"Notizen": [["x"]], "T": [["Filialen"], HEAD[:2], ["A", "B"]]}),
        {"code": "no_columns", "columns": ("city",), "line": 2, "sheet": "T"},
    ),
    "a column of CSV is missing": (
        as_csv([["Filialen"], HEAD[:2], ["A", "B"]]), {"code": "no_columns", "columns": ("city",), "line": 2}
    ),
    "a column twice": (as_book({"T": [["x"], [*HEAD, "Ort"]]}), {"code": "columns_twice", "line": 2, "sheet": "T"}),
    "a column of CSV twice": (as_csv([["x"], [*HEAD, "Ort"]]), {"code": "columns_twice", "line": 2}),
    "nothing": (as_book({"T": [], "U": []}), {"code": "empty"}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named_with_its_place(content: bytes, said: dict[str, Any]) -> None:
    with pytest.raises(UnusableTable) as caught:
        read(content)
    assert {name: getattr(caught.value, name) for name in said} == said


def test_rows_of_csv_that_cannot_be_split_are_named() -> None:
    rows = [
        HEAD,
        ["A", '"offen', "Berlin"],
        ["B", "1", "Köln"],
        ["C", "2"],
        ["D", "3", "Berlin", "x"],
        ["E", "4", "Z", ""],
    ]
    _, found = read(as_csv(rows))
    assert [(row.line, row.fault) for row in found] == [
        (2, "broken_quotes"), (3, None), (4, "too_few_columns"), (5, "too_many_columns"), (6, None),
    ]  # fmt: skip
