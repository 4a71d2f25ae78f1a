"""The pages for many orders or link requests in one file: upload, correct wrong cells, send, follow the progress."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from flask import (
    Blueprint,
    Response,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_babel import gettext as _
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import ensure_may_be_main
from models.bulk.bulk import (
    MOST_ROWS,
    Bulk,
    BulkRow,
    RowFate,
    bulks_of,
    fingerprint_of,
    keep_file,
    mend,
    outdated_rows,
    own_bulk,
    rows_of,
    same_file,
)
from models.bulk.preview import content_of, count_left_out, count_rows, products_in
from models.bulk.progress import progress_of, stuck_rows
from models.contracts.catalogue import orderable_products
from models.contracts.costs import Amount, Costs
from models.errors import Forbidden, RuleBroken
from models.orders.orders import basket_of
from models.people.rights import Action, may
from models.states import Kind, Reason, Status
from tasks.files import spreadsheets
from tasks.files.csv_lines import LONGEST_LINE
from tasks.files.tables import UnusableTable
from tasks.files.workbook_program import LAST_LINE, UNPACKED
from tasks.wording.fields import field_error
from tasks.wording.labels import status_text
from tasks.wording.reasons import reason_text
from web.portal.bulk.columns import COLUMNS, Cells, Checker, Column, cell_error_text, decrypted_cells
from web.portal.bulk.files import LARGEST, read_file
from web.portal.page.live_updates import LiveParts, render_live_parts
from web.portal.page.locale import locale, moment
from web.portal.page.selected_account import selected_account
from web.portal.page.session import principal
from web.resources import resources
from web.uploads import shown_name

log = structlog.get_logger()

bulks = Blueprint("bulks", __name__, url_prefix="/standortverwaltung/sammelauftrag")

AT_ONCE = 100
"""Maximum number of rows on one page of the preview."""
STUCK = 20
"""Maximum number of rows needing attention that the progress page shows; often all of them have one reason."""
_LAST_LINE = 2**31 - 1
_KINDS = (Kind.ORDER, Kind.LINK)
_ACTIONS = {Kind.ORDER: Action.ORDER, Kind.LINK: Action.LINK}


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the file as the preview shows it: its line number, its cells, and the error texts of its wrong cells.

    `cells` and `wrong` are by column key.
    """

    line: int
    cells: Mapping[str, str]
    wrong: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Preview:
    """An uploaded file whose rows are not sent as requests yet, as its preview page shows it.

    `account` is the main account for which it is. `rows`, `wrong_rows` and `wrong_cells` are numbers over the whole
    file. `before` is the number of valid rows that were ordered before from another file, `twice` the number of those
    that repeat an earlier row of this file; neither are sent. `shown` are the rows of this page: only rows with errors
    if there are any. `content` is a digest of all valid rows. `costs` is the price of all rows to be sent, None for
    link requests and while rows are wrong. `after` is the line number after which the next page begins, 0 if there is
    none.
    """

    bulk: Bulk
    account: Account
    columns: Sequence[Column]
    rows: int
    wrong_rows: int
    wrong_cells: int
    before: int
    twice: int
    shown: Sequence[ShownRow]
    content: bytes
    costs: Costs | None
    after: int

    @property
    def ordered(self) -> int:
        """Return the number of rows that will be sent as requests: valid, not ordered before, and not repeated."""
        return self.rows - self.wrong_rows - self.before - self.twice

    @property
    def fingerprint(self) -> str:
        """Return a hash of the rows to be sent and their prices; changes if a row or the sum of the prices does."""
        sums = (self.costs.monthly.net, self.costs.one_off.net) if self.costs is not None else ()
        facts = (self.bulk.id, self.content, self.before, self.twice, sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


@bulks.get("")
@login_required
def start() -> str:
    """Show the page with the upload form, the templates to download, and the files that the account uploaded before."""
    return _start(None, "", None)


@bulks.post("")
@login_required
def upload() -> AnyResponse | tuple[str, int]:
    """Save the uploaded file with the result of checking its rows, then redirect to the file's page.

    A file whose content the account uploaded before is not saved; the redirect leads to the page of the first upload.
    Shows the upload page again with an error (status 422) if no kind or no account of the user's is chosen, or if the
    file cannot be read.
    """
    kind, number = request.form.get("kind", ""), _chosen_number()
    if kind not in _KINDS:
        return _start("", _("Choose what the file is for."), number), 422
    if number is None:
        wrong = _("Choose for which account the file is: this one is not among yours. Nothing was kept.")
        return _start(kind, wrong, None), 422
    name, content = _sent_file()
    try:
        file = read_file(content, Kind(kind))
    except UnusableTable as error:
        return _start(kind, _why_not(error, Kind(kind)), number), 422
    fingerprint = fingerprint_of(resources().vault, Kind(kind), [cells for _line, cells in file.rows])
    now = resources().clock()
    with resources().database.transaction() as session:
        account = _account(session, number, Kind(kind))
        found = same_file(session, account, fingerprint)
        if found is None:
            checker = Checker(session, resources().vault, account, Kind(kind), locale())
            rows = checker.check(file.rows)
            place = asdict(file.place)
            found = keep_file(session, principal(), account, Kind(kind), name, fingerprint, rows, now, place)
            log.info("bulk.uploaded", bulk=str(found.id), kind=kind, rows=len(rows))
        elif found.sent_at is not None:
            flash(_("This file was sent already on %(moment)s. Nothing was ordered again; this is what became of it.",
                    moment=moment(found.sent_at)))  # fmt: skip
        else:
            flash(_("This file was uploaded before and is not sent yet. You can go on where you were."))
    return redirect(url_for("bulks.show", id=found.id), 303)


@bulks.get("/vorlage-<any(order, link):kind>.<any(csv, xlsx):form>")
@login_required
def template(kind: str, form: str) -> Response:
    """Download a template to fill in: the headings and one example row, as CSV or XLSX.

    `kind` is "order" or "link", `form` is "csv" or "xlsx".
    """
    columns = COLUMNS[Kind(kind)]
    rows: list[list[spreadsheets.Cell]] = [
        [column.title(locale()) for column in columns],
        [column.example for column in columns],
    ]
    name = f"{_('Template')}-{_kind_word(Kind(kind))}.{form}"
    if form == "csv":
        content, media_type = b"".join(spreadsheets.csv_of(rows)), "text/csv"
    else:
        with spreadsheets.xlsx_of(rows, _("Template")) as file:
            content, media_type = file.read(), spreadsheets.XLSX
    return Response(content, mimetype=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@bulks.get("/<uuid:id>")
@login_required
def show(id: uuid.UUID) -> str:
    """Show the page of an uploaded file: its errors and what it orders; once sent, the progress of its requests."""
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal())
        preview = _preview(session, found, _after()) if found.sent_at is None else None
        facts = _facts(session, found)
    if preview is not None:
        return render_template("bulk/preview.html", preview=preview, bulk=found, language=locale())
    return render_template("bulk/progress.html", bulk=found, live=_live(facts))


@bulks.post("/<uuid:id>")
@login_required
def save(id: uuid.UUID) -> AnyResponse:
    """Save the corrected cells of a file, valid or not, check their rows again, and redirect to the file's page.

    Rows that the user chose to leave out are deleted. A file that was sent is not changed.
    """
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            _mend(session, found)
            wrong = count_rows(session, found)[2]
            flash(_("Saved. Some cells are still wrong.") if wrong else _("Saved. Every cell is right now."))
    return redirect(url_for("bulks.show", id=id), 303)


@bulks.post("/<uuid:id>/senden")
@login_required
def send(id: uuid.UUID) -> AnyResponse:
    """Schedule the rows of the file to be turned into requests now, and redirect to the file's page.

    Nothing is sent if a cell is wrong, if no row is left to send, or if the rows or prices have changed since the page
    was shown. Safe to run twice: the second call changes nothing.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            ensure_may_be_main(session.get_one(Account, found.main_id))
            preview = _preview(session, found, 0)
            if preview.wrong_cells or not preview.ordered:
                return redirect(url_for("bulks.show", id=id), 303)
            if request.form.get("shown") != preview.fingerprint:
                flash(_("The order or a price has changed since this page was shown. Please check it once more."))
                return redirect(url_for("bulks.show", id=id), 303)
            found.user_id = principal().user_id
            # In this transaction the price list is read once: these are the prices that the page has shown.
            found.send(now, [product.price_line for product in orderable_products(session)])
            log.info("bulk.sent", bulk=str(id), kind=found.kind, rows=preview.ordered)
    return redirect(url_for("bulks.show", id=id), 303)


@bulks.post("/<uuid:id>/loeschen")
@login_required
def delete(id: uuid.UUID) -> AnyResponse:
    """Delete an uploaded file that was not sent, and redirect to the upload page. A sent file stays."""
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            session.delete(found)
            flash(_("The file is deleted. Nothing was ordered."))
    return redirect(url_for("bulks.start"), 303)


@bulks.get("/<uuid:id>/stand")
@login_required
def live(id: uuid.UUID) -> AnyResponse:
    """Return the parts of the progress page that change, as HTML; 304 if the browser has their current version."""
    with resources().database.transaction() as session:
        facts = _facts(session, own_bulk(session, id, principal()))
    return _live(facts).response()


@bulks.errorhandler(RuleBroken)
def refuse(error: RuleBroken) -> tuple[str, int]:
    """Show a page (status 403) that says why the account cannot have sub-accounts: it is closed or a sub-account."""
    return render_template("orders/refused.html", reason=error.reason, Reason=Reason), 403


@bulks.errorhandler(Forbidden)
def forbid(_error: Forbidden) -> tuple[str, int]:
    """Show a page (status 403) that says that the user may not order sub-accounts or request links for the account."""
    return render_template("orders/refused.html", reason=None, Reason=Reason), 403


def _chosen_number() -> str | None:
    """Return the customer number in the submitted form; None if the user cannot select an account of that number."""
    number = request.form.get("account", "")
    with resources().database.transaction() as session:
        return number if any(choice.customer_number == number for choice in selected_account(session).choices) else None


def _account(session: Session, number: str | None, kind: Kind | None = None) -> Account:
    """Return the account with this customer number, or the selected account if `number` is None.

    Raises `Forbidden` if the user cannot select that account or may not create requests of this kind for it (of any
    kind if `kind` is None); `RuleBroken` if the account is closed or a sub-account.
    """
    found = selected_account(session)
    account = found.account
    if number is not None:
        account = next((choice for choice in found.choices if choice.customer_number == number), None)
    kinds = _KINDS if kind is None else (kind,)
    if account is None or not any(may(principal(), _ACTIONS[kind], account) for kind in kinds):
        raise Forbidden
    ensure_may_be_main(account)
    return account


def _after() -> int:
    return min(max(request.args.get("nach", 0, type=int), 0), _LAST_LINE)


def _sent_file() -> tuple[str, bytes]:
    file = request.files.get("file")
    if file is None:
        return "", b""
    with closing(file):
        return shown_name(file, "?"), file.read(LARGEST + 1)


def _start(kind: str | None, wrong: str, number: str | None) -> str:
    with resources().database.transaction() as session:
        account = _account(session, number)
        before = bulks_of(session, account)
    return render_template(
        "bulk/start.html",
        account=account,
        before=before,
        kinds={found: _kind_word(found) for found in _KINDS if may(principal(), _ACTIONS[found], account)},
        columns=COLUMNS,
        chosen=kind,
        wrong=wrong,
        most=MOST_ROWS,
        megabytes=LARGEST // 1_000_000,
    )


def _preview(session: Session, bulk: Bulk, after: int) -> Preview:
    _recheck(session, bulk)
    rows, wrong_rows, wrong_cells = count_rows(session, bulk)
    listed = rows_of(session, bulk, wrong=wrong_rows > 0, after=after, most=AT_ONCE)
    return Preview(
        bulk,
        session.get_one(Account, bulk.main_id),
        COLUMNS[bulk.kind],
        rows,
        wrong_rows,
        wrong_cells,
        *count_left_out(session, bulk),
        [_shown_row(row) for row in listed],
        content_of(session, bulk),
        _costs(session, bulk) if bulk.kind is Kind.ORDER and not wrong_rows else None,
        listed[-1].line if len(listed) == AT_ONCE else 0,
    )


def _shown_row(row: BulkRow) -> ShownRow:
    wrong = {column: cell_error_text(column, error) for column, error in (row.errors or {}).items()}
    return ShownRow(row.line, decrypted_cells(resources().vault, row.cells), wrong)


def _costs(session: Session, bulk: Bulk) -> Costs:
    monthly = one_off = 0
    for facts, count in products_in(session, bulk):
        basket = basket_of(session, facts["product_key"], facts["block_size"], facts["option_keys"])
        monthly += count * sum(product.monthly_cents for product in basket.products)
        one_off += count * sum(product.one_off_cents for product in basket.products)
    return Costs(Amount(monthly), Amount(one_off))


def _recheck(session: Session, bulk: Bulk) -> None:
    """Check those rows of an order file anew that were right when they were checked and are not any more."""
    if bulk.kind is not Kind.ORDER or not (rows := outdated_rows(session, bulk)):
        return
    session.refresh(bulk, with_for_update=True)
    if bulk.sent_at is None:
        checker = Checker(session, resources().vault, session.get_one(Account, bulk.main_id), bulk.kind, bulk.locale)
        mend(session, bulk, checker.check([(row.line, row.cells) for row in rows]), ())


def _mend(session: Session, bulk: Bulk) -> None:
    typed: dict[int, dict[str, str]] = {}
    for name, value in request.form.items():
        if place := re.fullmatch(r"cell-(\d{1,6})-([a-z_]+)", name):
            typed.setdefault(int(place[1]), {})[place[2]] = " ".join(value.split())
    left_out = [int(line) for line in request.form.getlist("without") if line.isdecimal() and len(line) < 7]
    fresh: list[tuple[int, Cells]] = []
    for row in rows_of(session, bulk, lines=[line for line in typed if line not in left_out]):
        mended = {key: value for key, value in typed[row.line].items() if key in (row.errors or {})}
        fresh.append((row.line, decrypted_cells(resources().vault, row.cells) | mended))
    account = session.get_one(Account, bulk.main_id)
    checker = Checker(session, resources().vault, account, bulk.kind, bulk.locale)
    mend(session, bulk, checker.check(fresh), left_out)


def _facts(session: Session, bulk: Bulk) -> dict[str, Any]:
    """Return the variables of the templates that show the progress of a sent bulk file."""
    progress = progress_of(session, bulk)
    return {
        "bulk": bulk,
        "progress": progress,
        # Read from the requests, because staff may have retried one after the bulk ended.
        "is_over": progress.ended == progress.rows,
        "statuses": [(status_text(status, locale()), count) for status, count in _in_order(progress.by_status)],
        "stuck": [(row, _what_now(row, found)) for row, found in stuck_rows(session, bulk, STUCK)],
        "most": STUCK,
    }


def _live(facts: Mapping[str, Any]) -> LiveParts:
    return render_live_parts("bulk", ("state", "rows"), facts, ended=facts["is_over"])


def _in_order(by_status: Mapping[Status, int]) -> list[tuple[Status, int]]:
    return sorted(by_status.items(), key=lambda item: list(Status).index(item[0]))


def _what_now(row: BulkRow, found: Any) -> str:
    said: str
    if row.fate is RowFate.REFUSED:
        assert row.refusal is not None
        said = _refusals().get(row.refusal) or (
            reason_text(Reason(row.refusal), locale()) if row.refusal in set(Reason) else row.refusal
        )
    elif row.fate is RowFate.REPEATED:
        said = _("Ordered before with the same content; not ordered again.")
    else:
        said = status_text(found.status, locale())
        if found.reason is not None:
            said = f"{said}: {reason_text(found.reason, locale())}"
    return said


def _refusals() -> Mapping[str, str]:
    return {
        "forbidden": _("The person who sent the file may not do that any more."),
        "already_requested": _("A request for this customer number is running already."),
        "asked_too_often": _("The administrators have been asked often enough for now."),
        "too_many_wrong_codes": _("Too many link codes of your account were wrong today. Try this row again tomorrow."),
        "own_account": field_error(locale(), "customer_number", "own_account"),
        "unknown_product": _("This product is not offered any more."),
        "unknown_block_size": _("This product is not offered any more."),
        "missing": _("An option of this row lacks its details. Please order it anew, with them."),
        "unknown_option": _("One of these options cannot be ordered any more. Please choose again."),
        "house_number_missing": field_error(locale(), "location.street", "house_number_missing"),
        "unknown_postal_code": field_error(locale(), "location.postal_code", "unknown_postal_code"),
        "unknown_postal_code_of": field_error(locale(), "location.postal_code", "unknown_postal_code"),
        "postal_code_elsewhere": _("The postal code belongs to another city."),
    }


def _why_not(error: UnusableTable, kind: Kind) -> str:
    titles = [column.title(locale()) for column in COLUMNS[kind] if column.key in error.columns]
    reasons = {
        "empty": _("The file has no rows. The first row has the headings, every other row is one sub-account."),
        "too_large": _("The file is larger than %(megabytes)s MB.", megabytes=LARGEST // 1_000_000),
        "too_many_rows": _("The file has more than %(most)s rows. Please divide it.", most=MOST_ROWS),
        "no_columns": _("These columns are missing: %(columns)s. Take the template.", columns=", ".join(titles)),
        "columns_twice": _("A column is there twice."),
        "no_table": _("This is no table that we can read. Please save it as CSV or XLSX."),
        "line_too_long": _(
            "Line %(line)s of the file is longer than %(most)s characters. A table has a line for every row.",
            line=error.line,
            most=LONGEST_LINE,
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
            "Row %(line)s of the sheet has content, far below the table; we read %(most)s rows. Please delete"
            " everything below the table, or copy the table into a new file.",
            line=error.line,
            most=LAST_LINE,
        ),
        "too_much": _(
            "The workbook is too large to be read: unpacked it has more than %(megabytes)s MB, or cells far away from"
            " the table. Please copy the table into a new file, or save it as CSV.",
            megabytes=UNPACKED // 1_000_000,
        ),
    }
    return str(reasons[error.code])


def _kind_word(kind: Kind) -> str:
    return str(_("Bulk order") if kind is Kind.ORDER else _("Bulk link"))
