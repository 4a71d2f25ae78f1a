"""HTTP responses that a browser saves as a file instead of showing them."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, send_file, stream_with_context

from tasks.files import exported_tables


def attachment(name: str) -> dict[str, str]:
    """Return the HTTP header that makes a browser save the response under the file name `name`.

    The name must not contain quotation marks.
    """
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def table_file(rows: Iterable[list[exported_tables.Cell]], form: str, name: str, title: str) -> Response:
    """Return a response that downloads a table as CSV or Excel file.

    The first of `rows` has the headings. For CSV the rows are read while the response is being sent. `form` is "csv" or
    "xlsx". `name` is the file's name without its extension, `title` the name of the sheet in the Excel file.
    """
    if form == "csv":
        content = stream_with_context(exported_tables.csv_of(rows))
        return Response(content, mimetype="text/csv", headers=attachment(f"{name}.csv"))
    file = exported_tables.xlsx_of(rows, title)
    return send_file(file, mimetype=exported_tables.XLSX, as_attachment=True, download_name=f"{name}.xlsx")
