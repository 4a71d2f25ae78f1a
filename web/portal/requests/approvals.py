"""The pages on which a second person of the company approves or refuses orders and changes that wait for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import HiddenField, RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk
from models.errors import Forbidden, NotAwaited
from models.people.users import User
from models.requests.approvals import (
    FILE_CHUNK,
    FileToApprove,
    approvals_to_decide,
    decide_approval,
    decide_orders,
    files_to_approve,
    is_awaited,
    may_approve,
    monthly_rise,
    orders_to_decide,
)
from models.requests.request_rights import concerns
from models.requests.requests import Request
from models.states import Kind
from tasks.wording.file_kinds import file_text
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip
from web.resources import resources

approvals = Blueprint("approvals", __name__)

MOST_OF_NOTE = 500
LONGEST = 20.0
"""Seconds after which no further orders of a file are decided on, so that no request occupies a thread for longer."""
KINDS: Mapping[Kind, object] = {
    Kind.ORDER: _("New location"),
    Kind.CHANGE: _("Change of the contract"),
    Kind.NUMBERS: _("Additional phone numbers"),
}
"""The displayed name of each kind of request that can wait for an approval."""


class ApprovalForm(FlaskForm):  # type: ignore[misc]
    """The form in which the second person approves or refuses. Nothing is preselected."""

    decision = RadioField(
        _("Your decision"),
        choices=[SelectChoice("approve", _("I approve it")), SelectChoice("refuse", _("I refuse it"))],
        validators=[DataRequired(_("Choose whether you approve or refuse."))],
    )
    note = StringField(
        _("Reason for a refusal (optional)"),
        filters=[strip],
        validators=[Length(max=MOST_OF_NOTE, message=_("At most %(max)s characters, please.", max=MOST_OF_NOTE))],
    )


class FileApprovalForm(ApprovalForm):
    """The form in which the second person decides on the orders of a file; `seen`: how many the page has said wait."""

    seen = HiddenField()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for an approval, its account and requester, and by how many cents a month it costs more."""

    request: Request
    account: Account | None
    requester: User | None
    cents: int

    @property
    def kind(self) -> object:
        """Return the displayed name of the request's kind."""
        return KINDS[self.request.kind]


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """An uploaded file, and how many of its requests wait for an approval, until when at the earliest."""

    bulk: Bulk
    sender: User | None
    found: FileToApprove

    @property
    def kind(self) -> str:
        """Return the displayed name of the file's kind."""
        return file_text(self.bulk.kind, locale())


@approvals.get("/freigaben")
@login_required
def listed() -> str:
    """List the requests, and the files of orders, that wait for an approval which the user may give."""
    now = resources().clock()
    with resources().database.transaction() as session:
        waiting = [_waiting(session, found) for found in approvals_to_decide(session, principal(), now)]
        files = [_waiting_file(session, found) for found in files_to_approve(session, principal(), now)]
    return render_template("requests/approvals.html", waiting=waiting, files=files)


@approvals.route("/freigaben/<uuid:id>", methods=["GET", "POST"])
@login_required
def decide(id: UUID) -> Response | tuple[str, int]:
    """Show the request `id` with the form to approve or refuse it; on POST save the decision.

    A POST redirects to the request's page, with a message that says what was decided, or that it waits no more. Abort
    with 404 unless the user may approve the request. A request that does not wait for it (any more) redirects to its
    page.
    """
    form, now = ApprovalForm(), resources().clock()
    with resources().database.transaction() as session:
        found = session.get(Request, id)
        if found is None or not concerns(session, principal(), found):
            abort(404)
        if found.approval_until is None or not may_approve(session, principal(), found):
            abort(404)
        waiting = _waiting(session, found)
    back = redirect(url_for("portal.show_request", id=id), 303)
    if not is_awaited(found, now):
        return back
    if form.validate_on_submit():
        try:
            with resources().database.transaction() as session:
                decide_approval(
                    session,
                    principal(),
                    session.get_one(Request, id),
                    approved=form.decision.data == "approve",
                    note=form.note.data or None,
                    now=resources().clock(),
                )
        except (NotAwaited, Forbidden):
            flash(gettext("The request does not wait for that any more."), "warning")
        else:
            flash(_said(form))
        return back
    page = render_template("requests/approval.html", form=form, waiting=waiting)
    return page, 422 if form.errors else 200


@approvals.route("/freigaben/datei/<uuid:id>", methods=["GET", "POST"])
@login_required
def decide_file_orders(id: UUID) -> Response | tuple[str, int]:
    """Show the file `id` with the form to approve or refuse all of its orders that wait for it; on POST decide on them.

    A POST redirects to the list of approvals with a message, or to this page if there was no time for all orders. If
    more or fewer orders wait than the page has said, which the form sends back, nothing is decided, and the page says
    so (status 409). Abort with 404 unless orders of the file wait for an approval that the user may give.
    """
    form, now = FileApprovalForm(), resources().clock()
    with resources().database.transaction() as session:
        files = files_to_approve(session, principal(), now)
        waiting = next((_waiting_file(session, found) for found in files if found.bulk_id == id), None)
        if waiting is None:
            abort(404)
        ids = orders_to_decide(session, principal(), id, now)
    has_changed = form.is_submitted() and form.seen.data != str(len(ids))
    form.seen.data = str(len(ids))
    if not has_changed and form.validate_on_submit():
        approved, note = form.decision.data == "approve", form.note.data or None
        decided, rest, ends = 0, ids, time.monotonic() + LONGEST
        # In several transactions, so that none is long.
        while rest and (rest is ids or time.monotonic() < ends):
            some, rest = rest[:FILE_CHUNK], rest[FILE_CHUNK:]
            with resources().database.transaction() as session:
                at = resources().clock()
                decided += decide_orders(session, principal(), some, approved=approved, note=note, now=at)
        if decided:
            flash(_said(form))
        if late := len(ids) - len(rest) - decided:
            # Somebody else was faster.
            flash(
                ngettext(
                    "%(num)s request did not wait for that any more.",
                    "%(num)s requests did not wait for that any more.",
                    late,
                ),
                "warning",
            )
        if rest:
            flash(
                ngettext(
                    "%(num)s request of the file still waits: please send your decision for it, too.",
                    "%(num)s requests of the file still wait: please send your decision for them, too.",
                    len(rest),
                ),
                "warning",
            )
            return redirect(url_for("approvals.decide_file_orders", id=id), 303)
        return redirect(url_for("approvals.listed"), 303)
    page = render_template("requests/approval_of_file.html", form=form, waiting=waiting, has_changed=has_changed)
    return page, 409 if has_changed else 422 if form.errors else 200


def _said(form: ApprovalForm) -> str:
    if form.decision.data == "approve":
        return str(gettext("Approved. We go on with it."))
    return str(gettext("Refused. The person who has asked for it gets an e-mail."))


def _waiting(session: Session, found: Request) -> Waiting:
    requester = session.get(User, found.requested_by) if found.requested_by is not None else None
    account = session.get(Account, found.account_id) if found.account_id is not None else None
    return Waiting(found, account, requester, monthly_rise(found))


def _waiting_file(session: Session, found: FileToApprove) -> WaitingFile:
    bulk = session.get_one(Bulk, found.bulk_id)
    return WaitingFile(bulk, session.get(User, bulk.user_id), found)
