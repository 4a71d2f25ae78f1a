"""One request in the back office: all there is to know, and what staff can do about it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse
from wtforms import RadioField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired

from models.errors import IllegalTransition, NotAwaited, TooLate
from models.people.audit_log import Deed
from models.staff import actions
from models.states import ENDED, Status
from models.views.back_office import Matter, RequestDetails, request_details
from tasks.hints import hint
from tasks.wording.labels import step_text
from tasks.wording.next_steps import next_action
from tasks.wording.reasons import reason_text
from tasks.wording.timeline import sentence
from web.portal.accounts.audit_log_text import deed_text
from web.portal.back_office import wording
from web.portal.back_office.lists import office
from web.portal.page.locale import locale, moment
from web.portal.page.session import principal
from web.resources import resources

_ENDINGS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}
RELEASE, REFUSE = "release", "refuse"


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """What staff think of a document. Nothing is chosen before they choose."""

    decision = RadioField(
        lazy_gettext("Does the document prove this address?"),
        choices=[SelectChoice(RELEASE, lazy_gettext("Release")), SelectChoice(REFUSE, lazy_gettext("Refuse"))],
        validators=[DataRequired(lazy_gettext("Choose whether you release or refuse the document."))],
    )


@office.get("/anfragen/<uuid:id>")
def request_page(id: UUID) -> str:
    """Everything about a request, with what can be done."""
    whole = _see(id)
    found = whole.request
    return render_template(
        "back_office/request.html",
        whole=whole,
        found=found,
        words=wording,
        reason_word=wording.reason_word,
        status=wording.status_word(found.status),
        step=step_text(found.step, locale()),
        reason=reason_text(found.reason, locale()) if found.reason is not None else None,
        advice=wording.advice(found, whole.matter),
        upcoming=next_action(found, locale()),
        timeline=[(entry, sentence(entry, locale())) for entry in whole.timeline],
        deed_text=deed_text,
        warns=found.status in (Status.HELD, Status.REJECTED, Status.FAILED),
        ended=found.status in ENDED,
    )


@office.post("/anfragen/<uuid:id>/wiederholen")
def request_retry(id: UUID) -> AnyResponse:
    """Try a held or failed request again."""

    def retry(session: Session, seen: int) -> None:
        actions.retry(session, principal(), id, seen, resources().clock())

    return _handle(id, retry, _("It is tried again now."))


@office.route("/anfragen/<uuid:id>/stornieren", methods=["GET", "POST"])
def request_cancel(id: UUID) -> AnyResponse | str:
    """Say what cancelling means, then call the request off."""

    def cancel(session: Session, seen: int) -> None:
        actions.cancel(session, principal(), id, seen, resources().clock())

    if request.method == "POST":
        return _handle(id, cancel, _("The request is cancelled."))
    whole = _see(id)
    if not whole.request.can_cancel:
        return _back(id)
    return render_template("back_office/cancel.html", whole=whole, found=whole.request)


@office.route("/anfragen/<uuid:id>/dokument", methods=["GET", "POST"])
def request_document(id: UUID) -> AnyResponse | str | tuple[str, int]:
    """The document that was handed in as address proof, and the question whether it is one."""
    form = DecisionForm()
    if form.validate_on_submit():
        release = form.decision.data == RELEASE

        def decide(session: Session, seen: int) -> None:
            actions.decide_on_document(session, principal(), id, seen, resources().clock(), release=release)

        done = _("The document is released, the address is proved.") if release else _("The document is refused.")
        return _handle(id, decide, done)
    whole = _see(id)
    if whole.matter is not Matter.DOCUMENT:
        return _back(id)
    # Whoever has chosen nothing decides about what they saw.
    seen = _seen() or whole.version
    page = render_template("back_office/document.html", whole=whole, found=whole.request, form=form, seen=seen)
    return page, 422 if form.errors else 200


@office.get("/anfragen/<uuid:id>/dokument/datei")
def request_file(id: UUID) -> Response:
    """The document, to be kept as a file: it comes from outside, so no browser shows it in our name."""
    with resources().database.transaction() as session:
        document = actions.open_document(session, principal(), id, resources().clock())
        if document is None:
            abort(404)
        content, kind = document.content, document.media_type
        number = actions.find_for_staff(session, principal(), id).customer_number
    # What it is called at home may end in anything.
    name = f"adressnachweis-{number}.{_ENDINGS[kind]}"
    return Response(
        content,
        mimetype=kind,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        },
    )


def _see(id: UUID) -> RequestDetails:
    with resources().database.transaction() as session:
        whole = request_details(session, id, resources().clock())
    if whole is None:
        abort(404)
    return whole


def _seen() -> int | None:
    """Which state of the request the page showed."""
    return request.form.get("seen", type=int)


def _handle(id: UUID, verb: Callable[[Session, int], None], done: str) -> AnyResponse:
    """Do it, or say why nothing was done, and show the request as it is now."""
    seen = _seen() or 0
    try:
        with resources().database.transaction() as session:
            verb(session, seen)
    except TooLate:
        flash(_("The request has gone too far to be cancelled, or is being worked on at this moment."), "warning")
    except (actions.SeenOtherwise, IllegalTransition, NotAwaited):
        flash(_what_is_so(_see(id), seen), "warning")
    else:
        hint()
        flash(done)
    return _back(id)


def _what_is_so(whole: RequestDetails, seen: int) -> str:
    fresh = [entry for entry in whole.timeline if entry.id > seen]
    times = {entry.at for entry in fresh}
    by_staff = (told for told in whole.staff_actions if told.entry.deed is not Deed.DOCUMENT_OPENED)
    told = next((told for told in by_staff if told.entry.at in times), None)
    if told is not None and told.user is not None:
        facts = {"name": told.user.name, "moment": moment(told.entry.at), "what": deed_text(told.entry)}
        return str(_("Nothing was done, because this was done already. %(name)s, %(moment)s: %(what)s", **facts))
    facts = {
        "status": wording.status_word(whole.request.status),
        "last": sentence(whole.timeline[-1], locale()) if whole.timeline else "",
    }
    return str(_("Nothing was done, because the request has changed. It is now: %(status)s. %(last)s", **facts))


def _back(id: UUID) -> AnyResponse:
    return redirect(url_for("office.request_page", id=id), 303)
