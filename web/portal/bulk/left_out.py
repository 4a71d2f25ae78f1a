"""A table of the rows of a bulk file that do not become requests, with the reason for each.

The user downloads this table to correct the rows and upload them again.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask_babel import gettext as _
from sqlalchemy.orm import Session

from models.bulk.bulk import Bulk
from models.bulk.left_out import notes_of, orders_repeated, rows_left_out
from tasks.files.exported_tables import Cell
from web.portal.bulk.columns import COLUMNS, decrypted_cells
from web.portal.bulk.texts import note_text, row_result_text, wrong_cells_text
from web.portal.page.locale import locale
from web.resources import resources


def left_out_table(session: Session, bulk: Bulk) -> list[list[Cell]]:
    """Return the rows of a bulk file that do not become requests, as a table whose first row has the headings.

    The columns are those of the file, followed by the line number and the reason. When the corrected table is uploaded,
    these last two columns are ignored.
    """
    columns = COLUMNS[bulk.kind]
    headings: list[Cell] = [*(column.title(locale()) for column in columns), _("Line"), _("Reason")]
    return [headings, *_rows(session, bulk)]


def _rows(session: Session, bulk: Bulk) -> Iterator[list[Cell]]:
    rows = rows_left_out(session, bulk)
    notes = notes_of(session, bulk) if bulk.sent_at is None else {}
    repeated = orders_repeated(session, rows)
    for row in rows:
        why = note_text(notes[row.line]) if row.line in notes else row_result_text(row, None, repeated)
        if row.errors:
            why = f"{why}. {wrong_cells_text(bulk.kind, row.errors)}"
        cells = decrypted_cells(resources().vault, row.cells)
        yield [*(cells.get(column.key, "") for column in COLUMNS[bulk.kind]), str(row.line), why]
