"""The texts about a bulk file: why a file cannot be used, why rows are left out, and what became of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from flask_babel import gettext as _

from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.bulk.left_out import BY_PERSON, SAME_ACCOUNT, SAME_LINE, RowNote
from models.requests.requests import Request
from models.states import Kind, Reason
from tasks.files.csv_lines import LONGEST_LINE
from tasks.files.uploaded_tables import UnusableTable
from tasks.files.workbook_program import UNPACKED
from tasks.wording.fields import field_error
from tasks.wording.labels import status_text
from tasks.wording.reasons import reason_text
from web.portal.bulk.columns import COLUMNS, cell_error_text
from web.portal.bulk.files import LARGEST, MOST_TEXT, most_rows
from web.portal.page.locale import counted, locale

NONE: Mapping[bytes, tuple[int, Bulk]] = MappingProxyType({})


def unusable_text(error: UnusableTable, kind: Kind) -> str:
    """Return a text that says why an uploaded file cannot be read as a table, and what to do about it.

    `kind` is the kind of the table's rows, such as orders: it decides which columns the table must have.
    """
    titles = [column.title(locale()) for column in COLUMNS[kind] if column.key in error.columns]
    reasons = {
        "empty": _("The file has no rows. The first row has the headings, every other row is one account."),
        "too_large": _("The file is larger than %(megabytes)s MB.", megabytes=LARGEST // 1_000_000),
        "too_many_rows": _("The file has more than %(most)s rows. Please divide it.", most=counted(most_rows(kind))),
        "too_much_text": _(
            "The cells of the file have more than %(most)s characters together. Please divide it.",
            most=counted(MOST_TEXT),
        ),
        "no_columns": _("These columns are missing: %(columns)s. Take the template.", columns=", ".join(titles)),
        "columns_twice": _("A column is there twice."),
        "no_table": _("This is no table that we can read. Please save it as CSV or XLSX."),
        "line_too_long": _(
            "Line %(line)s of the file is longer than %(most)s characters. A table has a line for every row.",
            line=error.line,
            most=counted(LONGEST_LINE),
        ),
        "hidden_sheet": _(
            "The table is on the hidden sheet “%(sheet)s”. Please unhide it, or copy the table into a new file.",
            sheet=error.sheet,
        ),
        "broken_quotes": _(
            "Line %(line)s of the file has a quotation mark that is not closed, or text after a closing one. Please"
            " mend that line, or save the table as XLSX.",
            line=error.line,
        ),
        "too_many_columns": _(
            "Line %(line)s of the file has more cells than there are headings. Please put a cell that contains the"
            " separator in quotation marks, or save the table as XLSX.",
            line=error.line,
        ),
        "far_row": _(
            "Row %(line)s of the sheet has content, far below the table; a file has at most %(most)s rows. Please"
            " delete everything below the table, or copy the table into a new file.",
            line=error.line,
            most=counted(most_rows(kind)),
        ),
        "too_much": _(
            "The workbook is too large to be read: unpacked it has more than %(megabytes)s MB, or cells far away from"
            " the table. Please copy the table into a new file, or save it as CSV.",
            megabytes=UNPACKED // 1_000_000,
        ),
    }
    return str(reasons[error.code])


def row_result_text(row: BulkRow, found: Request | None, repeated: Mapping[bytes, tuple[int, Bulk]] = NONE) -> str:
    """Return the result of a row after its file was sent: the status of its request, or why there is no request.

    `found` is the row's request, None if the row was refused or repeats an earlier row. `repeated` maps the key of a
    repeating row (a hash of its content) to the line number and the bulk file of the earlier row.
    """
    said: str
    if row.fate is RowFate.REFUSED:
        said = _refusal_text(row)
    elif row.fate is RowFate.REPEATED:
        line, bulk = repeated.get(row.key or b"", (0, None))
        if bulk is None:
            said = _("Sent before with the same content; not sent again.")
        elif bulk.id == row.bulk_id:
            said = _("The same as line %(line)s; not sent again.", line=line)
        else:
            said = _("Sent before with the file “%(file)s”; not sent again.", file=bulk.file_name)
    else:
        assert found is not None
        said = status_text(found.status, locale())
        if found.reason is not None:
            said = f"{said}: {reason_text(found.reason, locale())}"
    return said


def note_text(note: RowNote) -> str:
    """Return a text that says why a row of a bulk file will not be sent.

    If the user wants the row sent although a sub-account or an earlier row has its name and address (`note.wanted`),
    the text says which one has them.
    """
    said: str
    if note.chosen:
        said = _("Left out by you")
    elif note.before is not None:
        said = _("Left out: sent before with the file “%(file)s”", file=note.before.file_name)
    elif note.repeats is not None:
        said = _("Left out: the same as line %(line)s", line=note.repeats)
    elif note.account is not None:
        said = _same_account(note.account.customer_number, ordered=note.wanted)
    else:
        said = _same_line(str(note.same_line), ordered=note.wanted)
    return said


def wrong_cells_text(kind: Kind, errors: Mapping[str, Sequence[Any]]) -> str:
    """Return one text with all errors of a row, each after the heading of its column.

    `errors` has `[code, allowed]` by column key: the broken rule, and the valid values or None.
    """
    titles = {column.key: column.title(locale()) for column in COLUMNS[kind]}
    return " ".join(f"{titles[key]}: {cell_error_text(key, error)}" for key, error in errors.items())


def _same_account(number: str, *, ordered: bool) -> str:
    if ordered:
        return str(_("Ordered all the same: same name and address as sub-account %(number)s", number=number))
    return str(_("Left out: same name and address as sub-account %(number)s", number=number))


def _same_line(line: str, *, ordered: bool) -> str:
    if ordered:
        return str(_("Ordered all the same: same name and address as line %(line)s", line=line))
    return str(_("Left out: same name and address as line %(line)s, with other details", line=line))


def _refusal_text(row: BulkRow) -> str:
    assert row.refusal is not None
    if row.refusal == SAME_ACCOUNT:
        return _same_account(row.about or "", ordered=False)
    if row.refusal == SAME_LINE:
        return _same_line(row.about or "", ordered=False)
    if row.refusal in set(Reason):
        return reason_text(Reason(row.refusal), locale())
    return _refusals().get(row.refusal) or str(_("This row breaks a rule by now. Please check it and send it again."))


def _refusals() -> Mapping[str, str]:
    return {
        BY_PERSON: _("Left out on the page before the file was sent"),
        "internal_error": _("This row could not be processed because of a fault of ours. Please send it again."),
        "forbidden": _("The person who sent the file may not do that any more."),
        "not_of_company": _("The account does not belong to your main account any more."),
        "already_requested": _("A request for this customer number is running already."),
        "asked_too_often": _("That was asked for often enough for now. Please try again tomorrow."),
        "too_many_wrong_codes": _("Too many link codes of your account were wrong today. Try this row again tomorrow."),
        "obstacle_has_sub_accounts": _("The account has sub-accounts by now. It ends only when none is left."),
        "obstacle_request_runs": _("The account has orders or link requests that are running."),
        "obstacle_bulk_runs": _("A file of the account is being worked on."),
        "obstacle_billed_together": _("The account pays for others by a collective invoice."),
        "own_account": field_error(locale(), "customer_number", "own_account"),
        "prices_changed": _(
            "The contract or a price has changed since the page was shown, so nothing was done. Please ask for it on"
            " the page of the account."
        ),
        "unknown_product": _("This product is not offered any more."),
        "unknown_block_size": _("This product is not offered any more."),
        "missing": _("An option of this row lacks its details. Please order it anew, with them."),
        "unknown_option": _("One of these options cannot be ordered any more. Please choose again."),
        "house_number_missing": field_error(locale(), "location.street", "house_number_missing"),
        "unknown_postal_code": field_error(locale(), "location.postal_code", "unknown_postal_code"),
        "unknown_postal_code_of": field_error(locale(), "location.postal_code", "unknown_postal_code"),
        "postal_code_elsewhere": _("The postal code belongs to another city."),
    }
