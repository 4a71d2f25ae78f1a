"""Tests of reading bulk files: which rows are read, and that hostile files cost little memory and time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date

import pytest

from models.states import Kind
from tasks.files.uploaded_tables import UnusableTable
from tests.web.portal.bulk.uploading import HEAD, as_csv, row
from tests.workbooks import NAMESPACE, SHEET, as_xlsx, with_parts, with_sheet
from web.portal.bulk.files import read_file

CELL = '<c r="%s" t="inlineStr"><is><t>%s</t></is></c>'
MOST_SECONDS = 8
"""The most seconds of processor time for one file; the child process that reads workbooks may take 5 of them."""


def sheet_row(line: int, values: list[str]) -> str:
    """Return the XML of a row of an XLSX sheet with these cells; `line` is the row's number, from 1 on.

    Each text stands in its cell, not in the workbook's table of shared texts.
    """
    cells = "".join(CELL % (f"{chr(ord('A') + column)}{line}", value) for column, value in enumerate(values))
    return f'<row r="{line}">{cells}</row>'


TABLE = sheet_row(1, HEAD) + "".join(sheet_row(line, row(line)) for line in range(2, 5))


def lying(content: bytes, size: int) -> bytes:
    """Return the XLSX workbook with a false unpacked size of its sheet: `size` bytes.

    The size is changed in the ZIP directory and in the file's local header.
    """
    changed = bytearray(content)
    name = SHEET.encode()
    local, listed = changed.index(name) - 30, changed.rindex(name) - 46
    for place in (local + 22, listed + 24):
        changed[place : place + 4] = size.to_bytes(4, "little")
    return bytes(changed)


def repeated(length: int, rows: int) -> bytes:
    """Return an XLSX workbook with `rows` rows of 60 cells that all have the same text of `length` characters.

    The file contains the text only once, as a shared text.
    """
    return with_sheet(("<row>" + '<c t="s"><v>0</v></c>' * 60 + "</row>") * rows, f"<si><t>{'x' * length}</t></si>")


def read_rows(content: bytes) -> list[tuple[int, Mapping[str, str]]]:
    return read_file(content, Kind.ORDER).rows


def names(rows: list[tuple[int, Mapping[str, str]]]) -> list[tuple[int, str]]:
    return [(line, cells["name"]) for line, cells in rows]


@pytest.fixture(autouse=True)
def _quickly() -> Iterator[None]:
    """Fail each test that takes more than `MOST_SECONDS` of processor time, including its child processes."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    before = used()
    yield
    assert used() - before < MOST_SECONDS


HOSTILE: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "a row number out of range": (lambda: with_sheet(TABLE + '<row r="4000000000"><c><v>1</v></c></row>'), {"far_row"}),
    "content in the last row": (lambda: with_sheet(TABLE + sheet_row(1_048_576, ["x"])), {"far_row"}),
    "content behind many far rows": (
        lambda: with_sheet(TABLE + "".join(sheet_row(line, ["x"]) for line in range(60_000, 62_000))),
        {"far_row"},
    ),
    # XML that only the memory limit stops.
    "the two corners of a sheet": (
        lambda: with_sheet(f"{TABLE}<row r='1048576'><c r = 'XFD1048576'><v>1</v></c></row>"),
        {"too_much"},
    ),
    "a text of 32,000 characters in many cells": (lambda: repeated(32_000, rows=9_000), {"too_much"}),
    "a text of 900 characters in many cells": (lambda: repeated(900, rows=5_000), {"too_much"}),
    "millions of empty rows": (lambda: with_sheet("<row/>" * 4_000_000), {"empty", "too_much"}),
    "a zip bomb": (lambda: with_sheet("<row/>" * 12_000_000), {"too_much"}),
    "a zip bomb that declares little": (lambda: lying(with_sheet("<row/>" * 12_000_000), 1_000), {"no_table"}),
    "a zip bomb in another part": (
        lambda: with_parts(as_xlsx([HEAD, row(1)]), {"xl/media/image1.png": b"\0" * 100_000_000}),
        {"too_much"},
    ),
    "five million semicolons": (lambda: b";" * 5_000_000, {"line_too_long"}),
    "a header of many names": (lambda: b"a;" * 32_000 + b"\n" + b";" * 60_000, {"no_columns"}),
    "rows of semicolons": (lambda: (b";" * 60_000 + b"\n") * 80, {"empty"}),
    "lines of nothing": (lambda: as_csv([HEAD]) + b"\n" * 4_900_000, {"empty"}),
    "lines of control characters": (lambda: as_csv([HEAD]) + b"\x01\n" * 2_400_000, {"empty"}),
    "cells of blanks": (lambda: b" ;" * 30 + b"\n" + (b" ;" * 60 + b"\n") * 40_000, {"empty"}),
    "quotes that nobody closes": (lambda: as_csv([HEAD]) + b'"' + b"x\n" * 2_000_000, {"broken_quotes"}),
}


@pytest.mark.parametrize(("content", "codes"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_ends_quickly_and_its_fault_has_a_name(content: Callable[[], bytes], codes: set[str]) -> None:
    with pytest.raises(UnusableTable) as caught:
        read_rows(content())
    assert caught.value.code in codes


@pytest.mark.parametrize("last", [60_000, 1_048_576, 4_000_000_000])
def test_the_row_that_is_too_far_below_is_named(last: int) -> None:
    with pytest.raises(UnusableTable) as caught:
        read_rows(with_sheet(TABLE + sheet_row(last, [" "]) + sheet_row(last + 1, ["x"])))
    assert (caught.value.code, caught.value.line) == ("far_row", last + 1)


@pytest.mark.parametrize("dimension", ["", "A1", "A1:L2", "A1:XFD1048576"])
def test_a_declared_dimension_is_not_trusted(dimension: str) -> None:
    rows = read_rows(with_sheet(TABLE, dimension=dimension))
    assert names(rows) == [(2, "Filiale 2"), (3, "Filiale 3"), (4, "Filiale 4")]


@pytest.mark.parametrize(
    "stray",
    [
        sheet_row(1_048_576, [" "]),
        '<row r="1048576"><c r="A1048576" t="s"><v>0</v></c></row>',
        # Formatted but empty cells.
        "".join(f'<row r="{line}"><c r="A{line}" s="1"/></row>' for line in range(40_000, 90_000)),
        '<row r="9"><c r="XFD9"><v>1</v></c></row>',
    ],
)
def test_stray_cells_around_the_table_do_no_harm(stray: str) -> None:
    rows = read_rows(with_sheet(TABLE + stray, "<si><t> </t></si>"))
    assert names(rows)[:3] == [(2, "Filiale 2"), (3, "Filiale 3"), (4, "Filiale 4")]


def test_lines_are_those_of_the_sheet() -> None:
    head, first, second = sheet_row(3, HEAD), sheet_row(6, row(6)), sheet_row(20_000, row(7))
    assert names(read_rows(with_sheet(head + first + second))) == [(6, "Filiale 6"), (20_000, "Filiale 7")]


def test_values_come_as_a_person_would_write_them() -> None:
    [(_line, cells)] = read_rows(as_xlsx([HEAD, [date(2026, 3, 2), 5, 1067, 12.5, *row(1)[4:9], 30]]))
    assert [cells[name] for name in ("name", "street", "postal_code", "city", "area_code")] == [
        "02.03.2026", "5", "1067", "12.5", "30",
    ]  # fmt: skip


def test_an_error_value_stays_to_be_seen() -> None:
    error = '<row r="2"><c r="A2"><v>1</v></c><c r="G2" t="e"><v>#REF!</v></c></row>'
    [(_line, cells)] = read_rows(with_sheet(sheet_row(1, HEAD) + error))
    assert (cells["name"], cells["phone"]) == ("1", "#REF!")


def test_a_sheet_with_prefixed_names_is_read() -> None:
    data = TABLE.replace("<", "<x:").replace("<x:/", "</x:")
    sheet = f'<x:worksheet xmlns:x="{NAMESPACE}"><x:sheetData>{data}</x:sheetData></x:worksheet>'
    rows = read_rows(with_parts(as_xlsx([["x"]]), {SHEET: sheet.encode()}))
    assert len(rows) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("count", [1, 3, 500])
def test_the_encoding_is_recognised(encoding: str, count: int) -> None:
    texts = {"Ort": "Köln", "Name des Standorts": "Café „Zoé“ – François", "Ansprechperson": "Jörg Weiß"}
    rows = read_rows(as_csv([HEAD, *[row(1, **texts)] * count], encoding=encoding))
    assert len(rows) == count
    assert {(cells["city"], cells["name"], cells["contact_name"]) for _line, cells in rows} == {tuple(texts.values())}


@pytest.mark.parametrize(("encoding", "broken"), [("utf-8", b"\xf6"), ("cp1252", b"\x81")])
def test_a_byte_that_the_encoding_does_not_have_spoils_its_own_cell_only(encoding: str, broken: bytes) -> None:
    content = as_csv([HEAD, row(1, Ort="K?ln"), row(2)], encoding=encoding).replace(b"?", broken)
    (_, first), (_, second) = read_rows(content)
    assert first["city"] == "K\ufffdln" and first["street"] == second["street"] == "Brückenstr. 5"


def test_a_delimiter_that_the_file_declares_counts() -> None:
    rows = read_rows(b"\r\nsep=|\r\n" + as_csv([HEAD, row(1)], delimiter="|", encoding="utf-8"))
    assert names(rows) == [(4, "Filiale 1")]
