"""The actions on a request's page: enter a code or a login, upload a document, resend a code, cancel, retry.

Each action redirects to the request's page, and aborts with 404 unless the user may change the request. Two other views
return the changing parts of the page and the order as PDF.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response

from models.errors import (
    IllegalTransition,
    InvalidField,
    LaterChangePlanned,
    LimitReached,
    NotAwaited,
    TooEarly,
    TooLate,
)
from models.orders.orders import cancel_and_release
from models.proofs.contact_email import correct_contact
from models.proofs.document_review import upload_certificate, upload_document
from models.proofs.order_codes import enter_letter_code
from models.proofs.ownership import Credentials, prove_ownership
from models.proofs.proof_status import ProofKind
from models.proofs.replacement_codes import ask_again
from models.requests.request_rights import may_change
from models.requests.requests import Request
from models.states import Kind, Reason
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from tasks.wording.formats import long_date
from web.portal.page.downloads import attachment
from web.portal.page.form_errors import add_error
from web.portal.page.known_browsers import this_browser
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import principal
from web.portal.proofs.forms import CodeForm, ContactAddressForm, CredentialsForm, DocumentForm
from web.portal.requests.request_page import get_request_page, live_parts_of, render
from web.resources import resources
from web.uploads import read_document

_SENT = (ProofKind.EMAIL, ProofKind.LETTER, ProofKind.CONSENT, ProofKind.MAIN_CONSENT)

answers = Blueprint("answers", __name__, url_prefix="/anfragen/<uuid:id>")


@answers.post("/brief")
@login_required
def enter_letter(id: UUID) -> Response | tuple[str, int]:
    """Prove the address of an order, or the new one of a move, by the code from the letter.

    Redirect to the request's page. A wrong code shows the page with the error (status 422); after too many, the answer
    is 429. Abort with 404 unless the user may change the request `id`.
    """

    def give(session: Session, found: Request, typed: str) -> bool:
        return enter_letter_code(session, resources().vault, found, typed, resources().clock())

    return _submit_code(id, give)


@answers.post("/verknuepfungscode")
@login_required
def enter_link_code(id: UUID) -> Response | tuple[str, int]:
    """Prove a link request by a link code of the account to attach, instead of waiting for the consent by mail.

    Redirect to the request's page. A wrong code shows the page with the error (status 422); after too many, the answer
    is 429. Abort with 404 unless the user may change the request `id`.
    """

    def give(session: Session, found: Request, typed: str) -> bool:
        return prove_ownership(session, resources().vault, found, typed, resources().clock())

    return _submit_code(id, give)


@answers.post("/zugangsdaten")
@login_required
def enter_credentials(id: UUID) -> Response | tuple[str, int]:
    """Prove a link request by the login of an administrator of the account to attach, instead of a consent by mail.

    Redirect to the request's page. A wrong login shows the page with the error (status 422); after too many, the answer
    is 429. Abort with 404 unless the user may change the request `id`.
    """
    form = CredentialsForm()
    if not form.validate_on_submit():
        return _render_with_errors(id, credentials=form)
    login = Credentials(form.email.data.strip(), form.password.data)

    def begin(_: str) -> None:
        resources().throttle.begin_password_try(login.email, this_browser(login.email))

    def give(session: Session, found: Request) -> bool:
        return prove_ownership(session, resources().vault, found, login, resources().clock())

    refusal, right = _submit_proof(id, begin, give)
    if refusal is None and not right:
        said = _(
            "This login is not right, not an administrator's of this account, or has a second factor: "
            "then use a link code."
        )
        add_error(form.email, said)
        return _render_with_errors(id, credentials=form)
    return _redirect_to_request(id, _("The login is accepted."), refusal)


@answers.get("/stand")
@login_required
def live(id: UUID) -> Response:
    """Return the changing parts of the request's page as HTML, for its script; 304 if the browser has them already.

    Abort with 404 unless the user may see the request `id`.
    """
    with resources().database.transaction() as session:
        page = get_request_page(session, id)
    return live_parts_of(page).response()


@answers.get("/bestellung.pdf")
@login_required
def order_file(id: UUID) -> Response:
    """Download the order `id` as PDF: what was ordered, and at which prices.

    Abort with 404 if the request is no order, if the user may not see it, or if the user may no longer see the account
    that it created.
    """
    with resources().database.transaction() as session:
        order = get_request_page(session, id).order
    if order is None:
        abort(404)
    settings = resources().settings
    file = order.pdf(settings.base_url.rstrip("/") + url_for("portal.show_request", id=id), settings.carrier)
    return Response(file.content, mimetype=file.media_type, headers=attachment(file.name))


@answers.post("/dokument")
@login_required
def upload(id: UUID) -> Response | tuple[str, int]:
    """Save an uploaded document that is to prove an order's connection address, or the need for phone numbers.

    Redirect to the request's page. If the file is empty, too large, or not a PDF, PNG or JPEG, show the page with the
    error (status 422). Abort with 404 unless the user may change the request `id`.
    """
    form = DocumentForm()
    try:
        document = read_document(request.files.get("file") or FileStorage(), "file")
    except InvalidField as error:
        add_error(form.file, field_error(locale(), "file", error.code))
        return _render_with_errors(id, document=form)

    def hand_in(session: Session, found: Request) -> None:
        now = resources().clock()
        save = upload_certificate if found.kind is Kind.NUMBERS else upload_document
        save(session, principal(), found, document.name, document.media_type, document.content, now)

    return _change(id, hand_in)


@answers.post("/ansprechpartner")
@login_required
def correct_contact_address(id: UUID) -> Response | tuple[str, int]:
    """Correct the e-mail address of an order's contact; a mail then asks the contact at the new address to confirm it.

    Redirect to the request's page. Nothing changes, and a message says why, if the order does not wait for the contact
    or the address was corrected three times already. The same applies if a limit of the company is reached. An address
    that is malformed or the old one shows the page with the error (status 422). Abort with 404 unless the user may
    change the request `id`.
    """
    form = ContactAddressForm()
    if not form.validate_on_submit():
        return _render_with_errors(id, contact=form)
    corrected = 0

    def correct(session: Session, found: Request) -> None:
        nonlocal corrected
        now, usual = resources().clock(), resources().settings.limits
        corrected = correct_contact(session, principal(), found, form.email.data, now, usual)

    try:
        refusal = _try_change(id, correct, lock=False)
    except InvalidField as error:
        add_error(form.email, field_error(locale(), error.field, error.code))
        return _render_with_errors(id, contact=form)
    said = ngettext(
        "The address is corrected. We ask there for confirmation now; the earlier link is void.",
        "The address is corrected, for all %(num)s orders that wait for it. We ask there for confirmation now; the"
        " earlier link is void.",
        corrected,
    )
    return _redirect_to_request(id, said, refusal)


@answers.post("/erneut-senden")
@login_required
def resend(id: UUID) -> Response:
    """Send a new code by mail or letter, or ask administrators for consent again; the old code is void then.

    The form field `what` is the kind of proof: `email`, `letter`, `consent` or `main_consent`. Redirect to the page of
    the request `id`. If a new code is not allowed or not needed now, nothing changes and a message says why. Abort with
    404 for another value of `what`, or unless the user may change the request.
    """

    what = request.form.get("what")
    if what not in _SENT:
        abort(404)

    def ask(session: Session, found: Request) -> None:
        ask_again(session, principal(), found, what, resources().clock(), resources().settings.limits)

    return _change(id, ask, _("A new code is on its way. The old one is void."))


@answers.route("/stornieren", methods=["GET", "POST"])
@login_required
def cancel(id: UUID) -> Response | str:
    """Ask whether to cancel the request `id`; on POST cancel the request and redirect to its page.

    If the request can no longer be cancelled, nothing changes: a GET redirects to its page, and a POST does so with a
    message that says why. Abort with 404 unless the user may see the request and, on POST, change it.
    """
    if request.method == "POST":
        return _change(
            id, lambda session, found: cancel_and_release(found, Reason.CANCELLED_BY_REQUESTER, resources().clock())
        )
    with resources().database.transaction() as session:
        page = get_request_page(session, id)
    if not page.may_cancel:
        return _redirect_to_request(id)
    return render_template("requests/cancel.html", page=page)


@answers.post("/wiederholen")
@login_required
def retry(id: UUID) -> Response:
    """Schedule the current step of a held or failed request to run again now, and redirect to the request's page.

    If the request has another status, nothing changes and a message says why. Abort with 404 unless the user may change
    the request `id`.
    """
    return _change(id, lambda session, found: found.retry(resources().clock()))


def _submit_code(id: UUID, give: Callable[[Session, Request, str], bool]) -> Response | tuple[str, int]:
    form = CodeForm()
    if not form.validate_on_submit():
        return _render_with_errors(id, code=form)

    def begin(customer_number: str) -> None:
        resources().throttle.begin_code_try(customer_number, principal().user_id)

    refusal, right = _submit_proof(id, begin, lambda session, found: give(session, found, form.code.data))
    if refusal is None and not right:
        add_error(form.code, _("This code is not right, or it is not valid any more."))
        return _render_with_errors(id, code=form)
    return _redirect_to_request(id, _("The code is accepted."), refusal)


def _submit_proof(
    id: UUID, begin: Callable[[str], None], give: Callable[[Session, Request], bool]
) -> tuple[str | None, bool]:
    """Submit a proof of the request `id`. A wrong proof counts towards the limit of wrong attempts.

    `begin` is called first, with the customer number of the request's account. It counts the attempt, and beyond the
    limit ends the HTTP request with status 429. `give` submits the proof and returns whether it is right. Return two
    values: a message that says why no proof can be submitted now, None if one can; and whether the proof is right.
    """
    with resources().database.transaction() as session:
        target = get_request_page(session, id).request.customer_number
    begin(target)
    right = False

    def act(session: Session, found: Request) -> None:
        nonlocal right
        right = give(session, found)

    refusal = _try_change(id, act, lock=False)
    if refusal is None and not right:
        resources().throttle.count_wrong_try()
    return refusal, right


def _change(id: UUID, change: Callable[[Session, Request], None], done: str | None = None) -> Response:
    """Lock the request `id`, call `change` with the session and the request, and redirect to the request's page.

    `done` is the message to show there (None: none). If the change is not possible, the message says why. Abort with
    404 unless the user may change the request.
    """
    return _redirect_to_request(id, done, _try_change(id, change, lock=True))


def _try_change(id: UUID, change: Callable[[Session, Request], None], *, lock: bool) -> str | None:
    """Change the request `id` in a transaction; return None, or a message that says why that is not possible.

    `change` is called with the session and the request. `lock`: lock the request's row first. Abort with 404 unless the
    user may change the request.
    """
    refusal: str | None = None
    try:
        with resources().database.transaction() as session:
            found = session.get(Request, id, with_for_update=lock or None)
            if found is None or not may_change(session, principal(), found):
                abort(404)
            change(session, found)
    except TooEarly as error:
        refusal = _("That is possible again from %(moment)s.", moment=moment(error.again_at))
    except LimitReached as error:
        refusal = limit_text(error, locale())
    except NotAwaited:
        refusal = _("The request does not wait for that any more.")
    except LaterChangePlanned as error:
        refusal = _("A later change, for %(day)s, was agreed on top of this one. Take that one back first.",
                    day=long_date(error.day, locale()))  # fmt: skip
    except TooLate:
        refusal = _("The request has gone too far to be cancelled, or is being worked on at this moment.")
    except IllegalTransition:
        refusal = _("The request is on its way already.")
    return refusal


def _redirect_to_request(id: UUID, done: str | None = None, refusal: str | None = None) -> Response:
    if refusal is not None:
        flash(refusal, "warning")
    elif done is not None:
        flash(done)
    return redirect(url_for("portal.show_request", id=id), 303)


def _render_with_errors(
    id: UUID,
    *,
    code: CodeForm | None = None,
    document: DocumentForm | None = None,
    credentials: CredentialsForm | None = None,
    contact: ContactAddressForm | None = None,
) -> tuple[str, int]:
    with resources().database.transaction() as session:
        page = get_request_page(session, id)
    return render(page, code=code, document=document, credentials=credentials, contact=contact), 422
