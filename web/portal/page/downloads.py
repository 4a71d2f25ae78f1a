"""HTTP responses that a browser saves as a file instead of showing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO

from flask import Response, send_file

from tasks.files import exported_tables
from web.export_turns import within_time
from web.resources import resources

_PIECE = 65_536


def attachment(name: str) -> dict[str, str]:
    """Return the HTTP header that makes a browser save the response under the file name `name`.

    The name must not contain quotation marks.
    """
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def table_file(rows: Iterable[list[exported_tables.Cell]], form: str, name: str, title: str) -> Response:
    """Return a response that downloads a table as CSV or Excel file.

    The first of `rows` has the headings. `form` is "csv" or "xlsx". `name` is the file's name without its extension,
    `title` the name of the sheet in the Excel file.
    """
    if form == "csv":
        file = exported_tables.csv_of(rows)
        answer = Response(_pieces(file), mimetype="text/csv", headers=attachment(f"{name}.csv"))
        answer.call_on_close(file.close)
        return answer
    file = exported_tables.xlsx_of(rows, title)
    return send_file(file, mimetype=exported_tables.XLSX, as_attachment=True, download_name=f"{name}.xlsx")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def export_file(
    rows: Iterable[list[exported_tables.Cell]], form: str, name: str, title: str, account_id: int
) -> Response:
    """Return a response that downloads a long table, exported for the account `account_id`, as CSV or Excel file.

    The first of `rows` has the headings. `form` is "csv" or "xlsx". `name` is the file's name without its extension,
    `title` the name of the sheet in the Excel file. All rows are read before this returns. Raises `ExportRefused` if
    another export for the account is running, if too many exports are running in this process, or if reading the rows
    takes longer than 20 seconds.
    """
    with resources().exports.turn(account_id):
        return table_file(within_time(rows), form, name, title)
