"""Link requests: attaching an existing account, and why we believe that the requester may.

An outsider learns nothing. Whatever is wrong (no such customer number, somebody else's, wrong credentials), the
same statements run, one password is verified, the same 202 is answered, and the pipeline rejects with the same
reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts import Account, account_by_number, ensure_may_be_main
from models.errors import AlreadyRequested, Forbidden, InvalidField
from models.people import Action, Membership, Principal, Role, User, authenticate, may, principal_of
from models.requests import OwnershipProof, Request
from models.states import ENDED, Kind, ProofMethod
from models.values import Locale


@dataclass(frozen=True, slots=True)
class Credentials:
    """An administrator's login of the existing account, used once on the spot: never stored, never logged."""

    email: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """A link request as it was typed. Without credentials the requester has to administer both accounts."""

    customer_number: str
    credentials: Credentials | None
    locale: Locale


def submit_link(session: Session, principal: Principal, main: Account, draft: LinkDraft, now: datetime) -> Request:
    """Write down a link request, with the proof if there is one already.

    Raises `Forbidden`, `RuleBroken` (the requester's own account cannot be a main account), `InvalidField`
    or `AlreadyRequested`.
    """
    if not may(principal, Action.LINK, main):
        raise Forbidden
    ensure_may_be_main(main)
    if draft.customer_number == main.customer_number:
        raise InvalidField("customer_number", "own_account")
    _ensure_not_running(session, main, draft.customer_number)
    proof = _prove_by_credentials(session, draft, now) if draft.credentials else None
    request = Request(
        kind=Kind.LINK,
        main_id=main.id,
        customer_number=draft.customer_number,
        requested_by=principal.user_id,
        token_id=principal.token_id,
        locale=draft.locale,
        created_at=now,
        updated_at=now,
    )
    request.make_due(now)
    session.add(request)
    session.flush()
    request.note(now, "link_received", customer_number=draft.customer_number)
    if proof is not None:
        proof.request_id = request.id
        session.add(proof)
    session.flush()
    return request


def find_proof(session: Session, request: Request, now: datetime) -> OwnershipProof | None:
    """The recorded proof, or a new one if the requester administers both accounts; None if nothing proves it."""
    proof = session.get(OwnershipProof, request.id)
    account = account_by_number(session, request.customer_number)
    requester = principal_of(session, session.get_one(User, request.requested_by))
    main = session.get_one(Account, request.main_id)
    if proof is not None or account is None:
        return proof
    if not (may(requester, Action.PROVE_OWNERSHIP, account) and may(requester, Action.PROVE_OWNERSHIP, main)):
        return None
    proof = OwnershipProof(
        request_id=request.id,
        account_id=account.id,
        method=ProofMethod.ADMINISTERS_BOTH,
        proved_by=requester.user_id,
        proved_at=now,
    )
    session.add(proof)
    return proof


def _prove_by_credentials(session: Session, draft: LinkDraft, now: datetime) -> OwnershipProof | None:
    assert draft.credentials is not None
    user = authenticate(session, draft.credentials.email, draft.credentials.password)
    user_id = user.id if user is not None else 0
    account_id = session.scalar(
        sa.select(Account.id)
        .join(Membership, Membership.account_id == Account.id)
        .where(
            Account.customer_number == draft.customer_number,
            Membership.user_id == user_id,
            Membership.role == Role.ADMINISTRATOR,
        )
    )
    if account_id is None:
        return None
    return OwnershipProof(account_id=account_id, method=ProofMethod.CREDENTIALS, proved_by=user_id, proved_at=now)


def _ensure_not_running(session: Session, main: Account, customer_number: str) -> None:
    running = session.scalar(
        sa.select(Request.id).where(
            Request.kind == Kind.LINK,
            Request.main_id == main.id,
            Request.customer_number == customer_number,
            Request.status.not_in(ENDED),
        )
    )
    if running is not None:
        raise AlreadyRequested(str(running))
