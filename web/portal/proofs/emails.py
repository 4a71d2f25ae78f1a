"""The page behind the link in the mail that asks an order's contact to confirm the e-mail address.

Opening the page confirms nothing: the contact has to enter the code from the mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from uuid import UUID

from flask import Blueprint, abort, redirect, render_template, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.accounts.accounts import Account
from models.db.caller import Named, name_to_database
from models.proofs.order_codes import confirm_email, is_email_awaited
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import EmailProof
from models.requests.requests import Request
from models.states import ENDED, Kind, Reason, Status
from web.portal.proofs.forms import CodeForm
from web.portal.proofs.mailed_codes import issue_of, try_code
from web.resources import resources

emails = Blueprint("emails", __name__)


class State(StrEnum):
    """The state of the confirmation of a contact's e-mail address.

    `REPLACED`: the link is from an older mail. `CANCELLED`: the order was cancelled. `EXPIRED`: the code was not
    entered in time. `ENDED`: the order needs no confirmation any more, for another reason.
    """

    OPEN = "open"
    CONFIRMED = "confirmed"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """An order whose contact's e-mail address is to be confirmed, with the data that the page shows.

    `account` is the ordered account, `main` the main account that ordered it. `proof` is the proof of the contact's
    e-mail address, and `state` its state. `address_until` is the moment until which the connection address has to be
    proved; None if the order does not wait for that.
    """

    state: State
    account: Account
    main: Account
    proof: EmailProof
    address_until: datetime | None


@emails.route("/email/<uuid:id>/<token>", methods=["GET", "POST"])
def confirm(id: UUID, token: str) -> Response | tuple[str, int]:
    """Show the order `id` and a form for the code from the mail to the order's contact.

    `token` is the secret part of the mail's link. On POST with the right code confirm the contact's e-mail address and
    redirect to the same page; a wrong code shows the form with the error (status 422); after too many, the answer is
    429. Abort with 404 for an invalid link, whatever is wrong with it.
    """
    form = CodeForm()
    seen = _get_confirmation_page(id, token)
    if seen.state is State.OPEN and form.validate_on_submit():
        if try_code(form.code, seen.account.customer_number, partial(_confirm, id, form.code.data)):
            return redirect(url_for("emails.confirm", id=id, token=token), 303)
        seen = _get_confirmation_page(id, token)
    return render_template("proofs/email.html", form=form, seen=seen), 422 if form.errors else 200


def _confirm(id: UUID, typed: str, session: Session) -> bool:
    name_to_database(session, Named.REQUEST, id)
    return confirm_email(session, resources().vault, session.get_one(Request, id), typed, resources().clock())


def _get_confirmation_page(id: UUID, token: str) -> ConfirmationPage:
    with resources().database.transaction() as session:
        name_to_database(session, Named.REQUEST, id)
        order = session.get(Request, id)
        if order is None or order.kind is not Kind.ORDER or order.account is None:
            abort(404)
        proof = session.get(EmailProof, (order.main_id, order.account.contact_email))
        if proof is None:
            abort(404)
        issue = issue_of(proof, token, proof.words)
        if issue is None:
            abort(404)
        state = _state(session, order, proof, newest=issue == proof.issue)
        main = session.get_one(Account, order.main_id)
        return ConfirmationPage(state, order.account, main, proof, _address_until(session, order))


def _address_until(session: Session, order: Request) -> datetime | None:
    proof = ProofBook(session, [order], lock=False).address(order)
    if order.status in ENDED or proof is None or proof.proved_at is not None:
        return None
    return proof.expires_at


def _state(session: Session, order: Request, proof: EmailProof, *, newest: bool) -> State:
    if proof.proved_at is not None:
        return State.CONFIRMED
    if not is_email_awaited(session, order):
        return _end(order)
    if not newest:
        return State.REPLACED
    if resources().clock() >= proof.expires_at:
        return State.EXPIRED
    return State.OPEN


def _end(order: Request) -> State:
    if order.status is Status.CANCELLED:
        return State.CANCELLED
    return State.EXPIRED if order.reason is Reason.PROOF_EXPIRED else State.ENDED
