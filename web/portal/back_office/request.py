"""The pages of one request in the back office: all its data, and the actions of staff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse
from wtforms import RadioField, SelectField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length, ValidationError

from models.errors import IllegalTransition, LaterChangePlanned, NotAwaited, TooLate
from models.people.audit_log import AuditEvent
from models.people.looks import record_request_look
from models.proofs.certificates import numbers_of
from models.proofs.document_refusals import MOST_NOTE, Refusal, refusal_reasons
from models.requests.requests import Request
from models.staff import request_actions
from models.staff.place_questions import open_question_of
from models.states import ENDED, Kind, Reason, RefusalReason, Status
from models.telephony.numbers import proposed_numbers
from models.telephony.trunks import SipTrunk
from models.views.back_office import Matter, RequestDetails, request_details
from tasks.wording.document_refusals import refusal_text
from tasks.wording.formats import long_date
from tasks.wording.labels import message_text, step_text
from tasks.wording.next_steps import next_actions, shown_status
from tasks.wording.reasons import reason_text
from tasks.wording.timeline import sentence
from web.portal.accounts.audit_log_text import deed_text
from web.portal.back_office import wording
from web.portal.back_office.requests_and_jobs import office
from web.portal.page.downloads import attachment
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import principal
from web.resources import resources

_ENDINGS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}
RELEASE, REFUSE = "release", "refuse"


def _refusal_choices(request: Request) -> list[SelectChoice]:
    reasons = [SelectChoice(str(reason), _refusal_choice(reason)) for reason in refusal_reasons(request)]
    return [SelectChoice("", _("Please choose")), *reasons]


def _refusal_choice(reason: RefusalReason) -> str:
    if reason is RefusalReason.OTHER:
        return str(_("Another reason, in your own words"))
    return refusal_text(reason, "", locale())


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """The form in which staff accept or refuse an uploaded document that is to prove an address or a need for numbers.

    Nothing is preselected. A refusal needs a reason from the list, and a note if the reason is "other". The customer
    reads both.
    """

    decision = RadioField(
        lazy_gettext("Does the document prove it?"),
        choices=[SelectChoice(RELEASE, lazy_gettext("Release")), SelectChoice(REFUSE, lazy_gettext("Refuse"))],
        validators=[DataRequired(lazy_gettext("Choose whether you release or refuse the document."))],
    )
    reason = SelectField(
        lazy_gettext("Why is it refused?"),
        choices=[],
        default="",
    )
    note = TextAreaField(
        lazy_gettext("Note to the customer"),
        validators=[Length(max=MOST_NOTE, message=lazy_gettext("At most %(max)d characters."))],
    )

    def validate_reason(self, field: SelectField) -> None:
        """Raise `ValidationError` if the document is refused without a reason."""
        if self.decision.data == REFUSE and not field.data:
            raise ValidationError(_("Choose why the document is refused. The customer reads it."))

    def validate_note(self, field: TextAreaField) -> None:
        """Raise `ValidationError` if the document is refused for the reason "other" without an explaining note."""
        if self.decision.data == REFUSE and self.reason.data == RefusalReason.OTHER and not (field.data or "").strip():
            raise ValidationError(_("Write why the document is refused. The customer reads it."))

    @property
    def refusal(self) -> Refusal:
        """Return the reason and the note of the refusal. Call only if the form is valid and refuses the document."""
        return Refusal(RefusalReason(self.reason.data), (self.note.data or "").strip())


@office.get("/anfragen/<uuid:id>")
def request_page(id: UUID) -> str:
    """Show the page of a request: all its data, and the actions of staff. Abort with 404 if no request has this id."""
    details = _get_details(id)
    found = details.request
    now = resources().clock()
    question = None
    looked_at = found.is_looked_at(now)
    if found.reason is Reason.AREA_CODE_UNCONFIRMED and not looked_at:
        with resources().database.transaction() as session:
            question = open_question_of(session, session.get_one(Request, id))
    return render_template(
        "back_office/request.html",
        details=details,
        found=found,
        words=wording,
        reason_label=wording.reason_label,
        status=shown_status(found, locale(), now),
        step=step_text(found.step, locale()),
        reason=reason_text(found.reason, locale()) if found.reason is not None else None,
        advice=wording.advice(found, details.matter, now, details.asked),
        turns=next_actions(found, locale(), now, details.asked),
        looked_at=looked_at,
        timeline=[(entry, sentence(entry, locale())) for entry in details.timeline],
        deed_text=deed_text,
        message_text=message_text,
        warns=found.status in (Status.HELD, Status.REJECTED, Status.FAILED),
        ended=found.status in ENDED,
        question=question,
    )


@office.post("/anfragen/<uuid:id>/wiederholen")
def request_retry(id: UUID) -> AnyResponse:
    """Run the current step of a held or failed request again, and redirect to the request's page.

    If the request has another status, or has changed since the page was shown, nothing is done, and a message says why.
    """

    def retry(session: Session, seen: int) -> None:
        request_actions.retry(session, principal(), id, seen, resources().clock())

    return _run_action(id, retry, _("It is tried again now."))


@office.route("/anfragen/<uuid:id>/stornieren", methods=["GET", "POST"])
def request_cancel(id: UUID) -> AnyResponse | str:
    """Ask whether to cancel the request `id`; on POST cancel the request and redirect to its page.

    If the request cannot be cancelled, a GET redirects to its page, and a POST changes nothing and shows a message that
    says why. A POST also changes nothing if the request has changed since the page was shown. Abort with 404 if no
    request has this id.
    """

    def cancel(session: Session, seen: int) -> None:
        request_actions.cancel(session, principal(), id, seen, resources().clock())

    if request.method == "POST":
        return _run_action(id, cancel, _("The request is cancelled."))
    details = _get_details(id)
    if not details.request.can_cancel:
        return _redirect_to_request(id)
    return render_template("back_office/cancel.html", details=details, found=details.request)


@office.route("/anfragen/<uuid:id>/dokument", methods=["GET", "POST"])
def request_document(id: UUID) -> AnyResponse | str | tuple[str, int]:
    """Show the form to accept or refuse the uploaded document; on POST save the decision and redirect.

    The redirect leads to the page of the request `id`, at once if no document waits for a decision. If the request has
    changed since the page was shown, nothing is saved, and a message says why. A POST without a decision shows the form
    again with an error (status 422). Abort with 404 if no request has this id.
    """
    details = _get_details(id)
    form = DecisionForm()
    form.reason.choices = _refusal_choices(details.request)
    if form.validate_on_submit():
        refusal = None if form.decision.data == RELEASE else form.refusal

        def decide(session: Session, seen: int) -> None:
            request_actions.decide_on_document(session, principal(), id, seen, resources().clock(), refusal=refusal)

        is_certificate = details.request.kind is Kind.NUMBERS
        released = (
            _("The document is released, the need is certified.")
            if is_certificate
            else _("The document is released, the address is proved.")
        )
        done = released if refusal is None else _("The document is refused.")
        return _run_action(id, decide, done)
    if details.matter is not Matter.DOCUMENT:
        return _redirect_to_request(id)
    # A form that is shown again because of an error keeps the version that was shown first.
    seen = _submitted_version() or details.version
    certified = _certified(details.request) if details.request.kind is Kind.NUMBERS else None
    page = render_template(
        "back_office/document.html",
        details=details,
        found=details.request,
        form=form,
        seen=seen,
        certified=certified,
    )
    return page, 422 if form.errors else 200


@dataclass(frozen=True, slots=True)
class _Certified:
    """The data of a SIP trunk by which staff decide on a certificate of need.

    `has` is how many numbers the trunk has, `proposed` the greatest number that the carrier proposes for its channels.
    """

    trunk: SipTrunk
    has: int
    proposed: int


def _certified(request: Request) -> _Certified:
    with resources().database.transaction() as session:
        trunk = session.get_one(SipTrunk, request.changed_trunk_id)
        proposed = proposed_numbers(trunk.channels, resources().settings.numbers_per_channel)
        return _Certified(trunk, numbers_of(session, trunk.id), proposed)


@office.get("/anfragen/<uuid:id>/dokument/datei")
def request_file(id: UUID) -> Response:
    """Download the latest document that was uploaded for the request `id`, and record who opened it.

    The browser gets the document as an attachment under a sandbox policy, because customers may upload anything. Abort
    with 404 if the request has no document.
    """
    with resources().database.transaction() as session:
        document = request_actions.open_document(session, principal(), id, resources().clock())
        if document is None:
            abort(404)
        content, kind = document.content, document.media_type
        found = request_actions.find_for_staff(session, principal(), id)
    # Not the uploaded file name, which may have any extension.
    what = "bedarfsnachweis" if found.kind is Kind.NUMBERS else "adressnachweis"
    name = f"{what}-{found.customer_number}.{_ENDINGS[kind]}"
    return Response(
        content,
        mimetype=kind,
        headers={
            **attachment(name),
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        },
    )


def _get_details(id: UUID) -> RequestDetails:
    """Return the request `id` in detail, and record in the audit log that the signed-in member of staff viewed it.

    Abort with 404 if no request has this id.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        details = request_details(session, id, now)
        if details is None:
            abort(404)
        found = details.request
        record_request_look(session, principal(), found.main, found.id, found.customer_number, now)
    return details


def _submitted_version() -> int | None:
    """Return the version of the request that the submitted page showed (form field `seen`); None without one.

    The version is the id of the request's latest timeline entry. A later entry means that the request has changed
    since.
    """
    return request.form.get("seen", type=int)


def _run_action(id: UUID, verb: Callable[[Session, int], None], done: str) -> AnyResponse:
    """Run an action of staff on the request `id` in a transaction, and redirect to the request's page with a message.

    `verb` runs the action; it is called with the session and the version of the request that the submitted page showed.
    The message is `done`. If it is too late for the action or the request has changed since, the message says so
    instead.
    """
    seen = _submitted_version() or 0
    try:
        with resources().database.transaction() as session:
            verb(session, seen)
    except LaterChangePlanned as error:
        flash(_("A later change, for %(day)s, was agreed on top of this one. Take that one back first.",
                day=long_date(error.day, locale())), "warning")  # fmt: skip
    except TooLate:
        flash(_("The request has gone too far to be cancelled, or is being worked on at this moment."), "warning")
    except (request_actions.SeenOtherwise, IllegalTransition, NotAwaited):
        flash(_conflict_text(_get_details(id), seen), "warning")
    else:
        flash(done)
    return _redirect_to_request(id)


def _conflict_text(details: RequestDetails, seen: int) -> str:
    fresh = [entry for entry in details.timeline if entry.id > seen]
    times = {entry.at for entry in fresh}
    by_staff = (told for told in details.staff_actions if told.entry.deed is not AuditEvent.DOCUMENT_OPENED)
    told = next((told for told in by_staff if told.entry.at in times), None)
    if told is not None and told.user is not None:
        facts = {"name": told.user.name, "moment": moment(told.entry.at), "what": deed_text(told.entry)}
        return str(_("Nothing was done, because this was done already. %(name)s, %(moment)s: %(what)s", **facts))
    facts = {
        "status": wording.status_label(details.request.status),
        "last": sentence(details.timeline[-1], locale()) if details.timeline else "",
    }
    return str(_("Nothing was done, because the request has changed. It is now: %(status)s. %(last)s", **facts))


def _redirect_to_request(id: UUID) -> AnyResponse:
    return redirect(url_for("office.request_page", id=id), 303)
