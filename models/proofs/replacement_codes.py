"""Requesting a new code for a proof; the previous one, in a mail or letter that may be lost, becomes invalid."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.company_limits import Limit, Limits, take_one
from models.errors import NotAwaited
from models.people.rights import Principal, counting_account
from models.people.users import User
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import CodedProof, Consent, MainConsent
from models.proofs.required_proofs import order_proofs
from models.requests.requests import Request
from models.states import PROVING_ADDRESS, Kind, Status


def ask_again(
    session: Session, principal: Principal, request: Request, what: str, now: datetime, usual: Limits
) -> None:
    """Make the current code of a request's proof invalid, and request a new one by mail or by post.

    `what` names the proof: `email`, `consent` or `main_consent`, whose codes are mailed, or `letter`. The request's
    next step, scheduled for now, sends the code. A letter counts against the daily limit of the company, for a move
    that of the person's side (`counting_account`); `usual` are the limits of companies that have none of their own.
    Raises `TooEarly` if the current code was requested too recently, `NotAwaited` if the request is not pending, does
    not wait for this proof, or has had the most codes allowed (5), and `LimitReached` if the company may cause no
    further letter today.
    """
    proof = _asked(session, request, what)
    if proof is None or request.status is not Status.PENDING:
        raise NotAwaited
    proof.ask_again(now)
    if what == "letter":
        take_one(session, _counting(principal, request), Limit.LETTERS, now, usual)
    request.make_due(now)


def _counting(principal: Principal, request: Request) -> int:
    """Return the id of the account for which a letter counts; a local team sees no counts of the main account."""
    if request.kind is Kind.MOVE and request.account is not None:
        return counting_account(principal, request.account)
    return request.main_id


def _asked(session: Session, request: Request, what: str) -> CodedProof | None:
    if what in ("consent", "main_consent"):
        # Once the main account is asked, ownership is proved, in whatever way.
        consent: Consent | MainConsent | None = session.get(MainConsent, request.id)
        if what == "consent":
            consent = session.get(Consent, request.id) if consent is None else None
        return consent if consent is not None and consent.decision is None else None
    if request.kind not in PROVING_ADDRESS:
        return None
    requester = session.get(User, request.requested_by) if request.requested_by is not None else None
    asked = dict(order_proofs(ProofBook(session, [request]), request, requester).asked())
    return asked.get("email" if what == "email" else "address")
