"""The pages for bulk files: upload, correction of wrong cells, sending, and progress."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
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
from models.accounts.company_limits import Limit, limits_of
from models.accounts.hierarchy import ensure_may_be_main
from models.bulk.bulk import ACTIONS, MOST_ON_ACCOUNTS, MOST_ROWS, Bulk, bulks_of, own_bulk
from models.bulk.left_out import orders_repeated, record_left_out
from models.bulk.preview import count_rows
from models.bulk.progress import left_out_rows, progress_of, stuck_rows
from models.bulk.uploads import MOST_UNSENT, fingerprints_of, has_room, keep_file, same_file
from models.contracts.catalogue import orderable_products
from models.errors import Forbidden, LimitReached, RuleBroken
from models.people.rights import may
from models.states import Kind, Reason, Status
from tasks.files import exported_tables
from tasks.files.uploaded_tables import UnusableTable
from tasks.wording.company_limits import limit_text
from tasks.wording.file_kinds import file_text
from tasks.wording.labels import status_text
from web.portal.bulk.columns import COLUMNS
from web.portal.bulk.files import LARGEST, read_file
from web.portal.bulk.left_out import left_out_table
from web.portal.bulk.preview import preview_of, save_choices, save_corrections
from web.portal.bulk.request_texts import button_text, sending_texts, tick_text
from web.portal.bulk.row_checks import Checker
from web.portal.bulk.texts import note_text, row_result_text, unusable_text
from web.portal.page.downloads import table_file
from web.portal.page.live_updates import LiveParts, render_live_parts
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import principal
from web.portal.page.selected_account import selected_account
from web.refused_rights import record_refused_right
from web.resources import resources
from web.uploads import shown_name

log = structlog.get_logger()

bulks = Blueprint("bulks", __name__, url_prefix="/standortverwaltung/sammelauftrag")

STUCK = 20
"""Maximum number of rows needing attention that the progress page shows; often all have the same reason."""
NAMED = 10
"""Maximum number of rows listed in a warning above the table. In the table, each of the rows has a warning, too."""
_LAST_LINE = 2**31 - 1
_KINDS = tuple(COLUMNS)


@bulks.get("")
@login_required
def start() -> str:
    """Show the page with the upload form, the templates to download, and the files that the account uploaded before."""
    return _start(None, "", None)


@bulks.post("")
@login_required
def upload() -> AnyResponse | tuple[str, int]:
    """Check the rows of the uploaded file, save the file with the result, and redirect to the file's page.

    If the account has uploaded a file with the same content before, save nothing and redirect to the page of that file.
    Show the upload page again with an error (status 422) if no kind is chosen, if the user cannot select the chosen
    account, if it has 50 files that are not sent, or if the file cannot be read.
    """
    kind, number = request.form.get("kind", ""), _chosen_number()
    if kind not in _KINDS:
        return _start("", _("Choose what the file is for."), number), 422
    if number is None:
        wrong = _("Choose for which account the file is: this one is not among yours. Nothing was kept.")
        return _start(kind, wrong, None), 422
    with resources().database.transaction() as session:
        is_full = not has_room(session, _account(session, number, Kind(kind)))
    if is_full:
        wrong = _("There are %(most)s files that are not sent. Send or delete one of them first.", most=MOST_UNSENT)
        return _start(kind, wrong, number), 422
    name, content = _sent_file()
    try:
        file = read_file(content, Kind(kind))
    except UnusableTable as error:
        return _start(kind, unusable_text(error, Kind(kind)), number), 422
    fingerprints = fingerprints_of(resources().vault, Kind(kind), [cells for _line, cells in file.rows])
    now = resources().clock()
    with resources().database.transaction() as session:
        account = _account(session, number, Kind(kind))
        found = same_file(session, account, fingerprints)
        if found is None:
            checker = Checker(session, resources().vault, account, Kind(kind), locale(), now)
            rows = checker.check(file.rows)
            place = asdict(file.place)
            found = keep_file(session, principal(), account, Kind(kind), name, fingerprints, rows, now, place)
            log.info("bulk.uploaded", bulk=str(found.id), kind=kind, rows=len(rows))
        else:
            flash(_known_file_text(found, name), "warning")
    return redirect(url_for("bulks.show", id=found.id), 303)


@bulks.get(f"/vorlage-<any({', '.join(_KINDS)}):kind>.<any(csv, xlsx):form>")
@login_required
def template(kind: str, form: str) -> Response:
    """Download a template to fill in: the headings and one example row, as CSV or XLSX.

    `kind` is the kind of the rows' requests, such as "order", `form` is "csv" or "xlsx".
    """
    columns = COLUMNS[Kind(kind)]
    rows: list[list[exported_tables.Cell]] = [
        [column.title(locale()) for column in columns],
        [column.example for column in columns],
    ]
    return table_file(rows, form, f"{_('Template')}-{file_text(Kind(kind), locale())}", _("Template"))


@bulks.get("/<uuid:id>")
@login_required
def show(id: uuid.UUID) -> str:
    """Show the page of an uploaded file.

    Before the file is sent, the page shows its errors and what it would order. Rows that have become invalid since they
    were checked are checked again first, and the result is saved. After the file was sent, the page shows how many of
    its requests are in which status. Answers 404 if there is no such file, or if the user may not create requests of
    its kind for its account.
    """
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal())
        preview = preview_of(session, found, _after()) if found.sent_at is None else None
        facts = _facts(session, found)
    if preview is not None:
        reached = preview.days.reached if preview.days is not None else None
        told = limit_text(reached, locale()) if reached is not None else None
        return render_template(
            "bulk/preview.html",
            preview=preview,
            bulk=found,
            language=locale(),
            most_named=NAMED,
            told=told,
            note_text=note_text,
            kind_word=file_text(found.kind, locale()),
            said=sending_texts(found.kind, preview.changed) if preview.changed is not None else (),
            button=button_text(found.kind, preview.ordered),
            tick=tick_text(found.kind, preview.ordered),
        )
    return render_template(
        "bulk/progress.html", bulk=found, live=_live(facts), kind_word=file_text(found.kind, locale())
    )


@bulks.post("/<uuid:id>")
@login_required
def save(id: uuid.UUID) -> AnyResponse:
    """Save the cells that the user has corrected and which rows to leave out, and redirect to the file's page.

    The changed rows are checked again; cells that are still wrong are saved, too. A file that was sent already is not
    changed. Answers 404 if there is no such file, or if the user may not create requests of its kind for its account.
    """
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            save_corrections(session, found)
            wrong = count_rows(session, found)[2]
            if wrong:
                flash(_("Saved. Some cells are still wrong."), "warning")
            else:
                flash(_("Saved. Every cell of the rows to be sent is right now."))
    return redirect(url_for("bulks.show", id=id), 303)


@bulks.post("/<uuid:id>/senden")
@login_required
def send(id: uuid.UUID) -> AnyResponse:
    """Send the file: schedule its rows to become requests, and redirect to the file's page.

    First save which rows the user leaves out. Nothing is sent if a cell is wrong or no row is left to send. The same
    applies if the rows, the prices or the rows left out have changed since the page was shown, or if the box before
    what cannot be undone is not ticked. The orders get the prices that the page showed. Safe to run twice: the second
    call changes nothing. Answers 404 if there is no such file, or if the user may not create requests of its kind for
    its account.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            ensure_may_be_main(session.get_one(Account, found.main_id))
            save_choices(session, found)
            preview = preview_of(session, found, 0)
            if preview.wrong_cells or not preview.ordered:
                return redirect(url_for("bulks.show", id=id), 303)
            if tick_text(found.kind, preview.ordered) and not request.form.get("meant"):
                flash(_("Nothing is sent yet: please tick the box above the button."), "warning")
                return redirect(url_for("bulks.show", id=id), 303)
            if request.form.get("shown") != preview.fingerprint:
                flash(
                    _("The content or a price has changed since this page was shown. Please check it once more."),
                    "warning",
                )
                return redirect(url_for("bulks.show", id=id), 303)
            found.user_id = principal().user_id
            record_left_out(session, found)
            # In this transaction the price list is read once: these are the prices that the page has shown.
            found.send(now, [product.price_line for product in orderable_products(session, now)])
            log.info("bulk.sent", bulk=str(id), kind=found.kind, rows=preview.ordered)
    return redirect(url_for("bulks.show", id=id), 303)


@bulks.get("/<uuid:id>/ausgelassen.csv")
@login_required
def left_out(id: uuid.UUID) -> Response:
    """Download the rows of the file that do not become requests, with the reasons, as CSV to correct and upload again.

    Answers 404 if there is no such file, or if the user may not create requests of its kind for its account.
    """
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal())
        rows = left_out_table(session, found)
    name = _("Left-out-%(day)s", day=f"{found.created_at:%Y-%m-%d}")
    return table_file(rows, "csv", name, name)


@bulks.post("/<uuid:id>/loeschen")
@login_required
def delete(id: uuid.UUID) -> AnyResponse:
    """Delete an uploaded file that was not sent yet, and redirect to the upload page. A sent file is not deleted.

    Answers 404 if there is no such file, or if the user may not create requests of its kind for its account.
    """
    with resources().database.transaction() as session:
        found = own_bulk(session, id, principal(), lock=True)
        if found.sent_at is None:
            session.delete(found)
            flash(_("The file is deleted. Nothing was sent."))
    return redirect(url_for("bulks.start"), 303)


@bulks.get("/<uuid:id>/stand")
@login_required
def live(id: uuid.UUID) -> AnyResponse:
    """Return the changing parts of the progress page as HTML, for its script; 304 if the browser has them already.

    Answers 404 if there is no such file, or if the user may not create requests of its kind for its account.
    """
    with resources().database.transaction() as session:
        facts = _facts(session, own_bulk(session, id, principal()))
    return _live(facts).response()


@bulks.errorhandler(RuleBroken)
def refuse(error: RuleBroken) -> tuple[str, int]:
    """Show a page (status 403) that says why the account cannot have sub-accounts: it is closed or a sub-account."""
    return render_template("orders/refused.html", reason=error.reason, Reason=Reason), 403


@bulks.errorhandler(Forbidden)
def forbid(_error: Forbidden) -> tuple[str, int]:
    """Show a page (status 403) that says that the user may not send files for the account."""
    record_refused_right()
    return render_template("orders/refused.html", reason=None, Reason=Reason), 403


def _known_file_text(found: Bulk, name: str) -> str:
    """Return the message for a user who has uploaded a file whose content is the same as that of `found`.

    It says whether `found` was sent already. `name` is the name of the new file, which may differ from that of `found`.
    """
    if found.sent_at is None and name == found.file_name:
        return str(_("This file was uploaded before and is not sent yet. You can go on where you were."))
    if found.sent_at is None:
        said = _(
            "“%(name)s” has the same content as the file “%(before)s”, which was uploaded before and is not sent yet. "
            "You can go on there.",
            name=name,
            before=found.file_name,
        )
        return str(said)
    at = moment(found.sent_at)
    if name == found.file_name:
        return str(
            _(
                "This file was sent already on %(moment)s. Nothing was sent again; this is what became of it.",
                moment=at,
            )
        )
    said = _(
        "“%(name)s” has the same content as the file “%(before)s”, which was sent already on %(moment)s. Nothing was "
        "sent again; this is what became of its rows.",
        name=name,
        before=found.file_name,
        moment=at,
    )
    return str(said)


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
    if account is None or not any(may(principal(), ACTIONS[kind], account) for kind in kinds):
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
        kinds={found: file_text(found, locale()) for found in _KINDS if may(principal(), ACTIONS[found], account)},
        columns=COLUMNS,
        chosen=kind,
        wrong=wrong,
        most=MOST_ROWS,
        most_on_accounts=MOST_ON_ACCOUNTS,
        megabytes=LARGEST // 1_000_000,
    )


def _facts(session: Session, bulk: Bulk) -> dict[str, Any]:
    """Return the template variables, by name, of the page that shows the progress of a sent bulk file."""
    progress = progress_of(session, bulk)
    stuck = stuck_rows(session, bulk, STUCK)
    repeated = orders_repeated(session, [row for row, _request in stuck])
    return {
        "bulk": bulk,
        "progress": progress,
        # Read from the requests, because staff may have retried one after the bulk ended.
        "is_over": progress.ended == progress.rows,
        "statuses": [(status_text(status, locale()), count) for status, count in _in_order(progress.by_status)],
        "stuck": [(row, row_result_text(row, found, repeated)) for row, found in stuck],
        "left_out": [(row, row_result_text(row, None)) for row in left_out_rows(session, bulk, STUCK)],
        "is_any_not_ordered": progress.rows > progress.wanted,
        "most": STUCK,
        "waits": _waits(session, bulk),
    }


def _waits(session: Session, bulk: Bulk) -> str | None:
    """Return a text about the limit of the company that delays the file's next rows; None if no limit delays them."""
    if bulk.waits_for is None:
        return None
    allowed = limits_of(session, bulk.main_id, resources().settings.limits).of(bulk.waits_for)
    until = bulk.due_at if bulk.waits_for is not Limit.OPEN_ORDERS else None
    return limit_text(LimitReached(bulk.waits_for, allowed, until), locale())


def _live(facts: Mapping[str, Any]) -> LiveParts:
    return render_live_parts("bulk", ("state", "rows"), facts, ended=facts["is_over"])


def _in_order(by_status: Mapping[Status, int]) -> list[tuple[Status, int]]:
    return sorted(by_status.items(), key=lambda item: list(Status).index(item[0]))
