"""The pages on which an administrator accepts or declines that an account is attached to a main account.

The administrators of the account itself are asked and, for a switch, those of its present main account. They open a
page by the link in a mail and then enter the code from that mail, or they sign in. Opening a page decides nothing: the
administrator has to choose an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from uuid import UUID

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.db.caller import Named, name_to_database
from models.people.second_factors import needs_more_than_password
from models.people.users import User, administrators_of
from models.proofs.main_consents import decide_for_main
from models.proofs.ownership import decide
from models.proofs.proofs import Consent, Decision, MainConsent, OwnershipProof
from models.requests.requests import Request
from models.states import Kind, Reason, Status
from web.portal.page.login_session import principal
from web.portal.proofs.forms import AnswerForm, CodedAnswerForm
from web.portal.proofs.mailed_codes import give_proof, issue_of, try_code
from web.resources import resources

consents = Blueprint("consents", __name__)


class State(StrEnum):
    """The state of a consent request: the question to an administrator whether an account may be attached.

    `REPLACED`: the link is from an older mail. `CANCELLED`: the link request was cancelled. `SETTLED`: an answer would
    change nothing any more, for example because the ownership was proved otherwise. `EXPIRED`: nobody answered in time.
    """

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """A consent request with the data that its page shows.

    `id` is the id of the link or switch that would attach the account with the customer number `number` to `main`.
    `account` is that account, None if the database does not show it to the reader, for example to its former main
    account. `requester` is the user who made the request, `decided_by` the administrator who answered; each is None if
    there is none.
    """

    state: State
    id: UUID
    kind: Kind
    number: str
    account: Account | None
    main: Account
    requester: User | None
    consent: Consent | MainConsent
    decided_by: User | None

    @property
    def is_of_main(self) -> bool:
        """Return whether the account's present main account is asked (for a switch), and not the account itself."""
        return isinstance(self.consent, MainConsent)

    @property
    def is_still_attached(self) -> bool:
        """Return whether a present main account is asked, and the account still belongs to it."""
        if self.account is None or not isinstance(self.consent, MainConsent):
            return False
        return self.account.main_id == self.consent.main_id


@consents.route("/zustimmung/<uuid:id>/<int:user_id>/<token>", methods=["GET", "POST"])
def answer_by_code(id: UUID, user_id: int, token: str) -> Response | tuple[str, int]:
    """Show the consent request of the link request `id` to the administrator `user_id`, who opens the link in the mail.

    `token` is the secret part of the link. On POST with the right code save the answer and redirect to the same page; a
    wrong code shows the form with the error (status 422); after too many, the answer is 429. An administrator who has a
    second factor, or is required to have one, has to sign in and is redirected to the page for that. Abort with 404 for
    an invalid link, whatever is wrong with it.
    """
    form = CodedAnswerForm()
    with resources().database.transaction() as session:
        seen = _get_consent_page(session, id, user_id, token)
        must_sign_in = needs_more_than_password(session, user_id, resources().clock())
    if seen.state is State.OPEN and must_sign_in:
        return redirect(url_for("consents.answer", id=id), 303)
    if seen.state is State.OPEN and form.validate_on_submit():
        give = partial(_decide, seen, user_id, form.decision.data, form.code.data)
        if try_code(form.code, seen.number, give):
            return redirect(request.path, 303)
        with resources().database.transaction() as session:
            seen = _get_consent_page(session, id, user_id, token)
    return render_template("proofs/consent.html", form=form, seen=seen, coded=True), 422 if form.errors else 200


@consents.route("/zustimmung/<uuid:id>", methods=["GET", "POST"])
@login_required
def answer(id: UUID) -> Response | tuple[str, int]:
    """Show the consent request of the link request or switch `id` to a signed-in administrator, with a form.

    On POST save the answer and redirect to the same page. Abort with 404 if there is no such consent request, or if the
    user administers neither the account to attach nor the present main account that a switch asks.
    """
    form = AnswerForm()
    with resources().database.transaction() as session:
        seen = _get_consent_page(session, id, principal().user_id)
    if seen.state is State.OPEN and form.validate_on_submit():
        give_proof(partial(_decide, seen, principal().user_id, form.decision.data, None))
        return redirect(url_for("consents.answer", id=id), 303)
    return render_template("proofs/consent.html", form=form, seen=seen, coded=False), 422 if form.errors else 200


def _decide(seen: ConsentPage, user_id: int, decision: str, typed: str | None, session: Session) -> bool:
    name_to_database(session, Named.REQUEST, seen.id)
    if typed is not None:
        # Nobody is signed in: the log says who has answered.
        name_to_database(session, Named.PERSON, user_id)
    link, person = session.get_one(Request, seen.id), session.get_one(User, user_id)
    answer = decide_for_main if seen.is_of_main else decide
    return answer(session, resources().vault, link, person, Decision(decision), typed, resources().clock())


def _get_consent_page(session: Session, id: UUID, user_id: int, token: str | None = None) -> ConsentPage:
    if token is not None:
        name_to_database(session, Named.REQUEST, id)
        name_to_database(session, Named.PERSON, user_id)
    link = session.get(Request, id)
    if link is None:
        abort(404)
    consent, issue = _question(session, link, user_id, token)
    state = _state(session, link, consent)
    if token is not None and state is State.OPEN:
        state = State.REPLACED if issue != consent.issue else State.OPEN
    seen = ConsentPage(
        state,
        id,
        link.kind,
        link.customer_number,
        account_by_number(session, link.customer_number),
        session.get_one(Account, link.main_id),
        session.get(User, link.requested_by) if link.requested_by is not None else None,
        consent,
        session.get(User, consent.decided_by) if consent.decided_by is not None else None,
    )
    return (
        replace(seen, state=State.SETTLED)
        if seen.is_of_main and state is State.OPEN and not seen.is_still_attached
        else seen
    )


def _question(session: Session, link: Request, user_id: int, token: str | None) -> tuple[Consent | MainConsent, int]:
    """Return the consent request about `link` that the user `user_id` is to answer, and the number of one of its codes.

    The codes of a consent request are numbered, a new mail has a new code. `token` is the secret part of the link in a
    mail: the number is then that of the code in this mail. Without a token (None), it is that of the last code. A user
    who administers both the account and its present main account is asked for the main account first. Abort with 404 if
    this user is not asked, or if no mail has the token.
    """
    asked: list[tuple[Consent | MainConsent, int]] = []
    if (of_main := session.get(MainConsent, link.id)) is not None:
        asked.append((of_main, of_main.main_id))
    account, consent = account_by_number(session, link.customer_number), session.get(Consent, link.id)
    if account is not None and consent is not None:
        asked.append((consent, account.id))
    for question, account_id in asked:
        person = next((one for one in administrators_of(session, account_id) if one.id == user_id), None)
        if person is None:
            continue
        issue = question.issue if token is None else issue_of(question, token, partial(question.words, person))
        if issue is not None:
            return question, issue
    abort(404)


def _state(session: Session, link: Request, consent: Consent | MainConsent) -> State:
    if consent.decision is not None:
        return State.ACCEPTED if consent.decision is Decision.ACCEPTED else State.DECLINED
    if link.status is Status.CANCELLED:
        return State.CANCELLED
    if isinstance(consent, Consent) and session.get(OwnershipProof, link.id) is not None:
        return State.SETTLED
    if link.reason is Reason.PROOF_EXPIRED or resources().clock() >= consent.expires_at:
        return State.EXPIRED
    return State.OPEN if link.status is Status.PENDING else State.SETTLED
