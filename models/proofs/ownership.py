"""Proofs that a customer may attach an account: an administrator's credentials, a link code, or consent.

Functions that take a code return whether the code was right. A wrong code changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import account_by_number
from models.db.caller import Named, name_to_database
from models.errors import Forbidden, NotAwaited
from models.people.passwords import authenticate
from models.people.rights import RIGHTS, Action, may
from models.people.second_factors import needs_more_than_password
from models.people.sign_in_log import Refused, note_refused_sign_in
from models.people.users import Membership, User, principal_of
from models.proofs.link_codes import open_link_code
from models.proofs.proofs import NOBODY, Consent, Decision, OwnershipProof
from models.requests.requests import Request
from models.states import ATTACHING, ProofMethod, Status
from models.vault import Vault


@dataclass(frozen=True, slots=True)
class Credentials:
    """E-mail address and password of an administrator of the account to attach; never stored and never logged."""

    email: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


def prove_ownership(session: Session, vault: Vault, request: Request, means: Credentials | str, now: datetime) -> bool:
    """Prove that the requester of a pending link or switch may attach the account; return whether `means` are right.

    `means` are the credentials of one of the account's administrators, or a link code as it was typed. If they are
    right, the proof is stored and the request's next step scheduled for now. Locks the request. Raises `NotAwaited`
    unless it is a pending link request or switch without a proof of ownership.
    """
    _ensure_unproved(session, request)
    proof = ownership_by(session, vault, request.customer_number, means, now)
    if proof is None:
        return False
    proof.request_id = request.id
    session.add(proof)
    request.make_due(now)
    return True


def ownership_by(
    session: Session, vault: Vault, customer_number: str, means: Credentials | str, now: datetime
) -> OwnershipProof | None:
    """Check an administrator's credentials or a link code for the account to attach; return a new ownership proof.

    `means` are the credentials, or the link code as it was typed. The caller must set `request_id` of the proof. A link
    code that is right is used up. Returns None if the means are wrong, or if a password is not enough for the
    administrator because they have, or must have, a second factor. The same statements run in both cases, so that a
    stranger learns nothing from the duration.
    """
    name_to_database(session, Named.CUSTOMER_NUMBER, customer_number)
    if isinstance(means, Credentials):
        return _by_credentials(session, customer_number, means, now)
    return _by_link_code(session, vault, customer_number, means, now)


def decide(
    session: Session, vault: Vault, request: Request, user: User, decision: Decision, typed: str | None, now: datetime
) -> bool:
    """Record an administrator's answer whether an account may be attached; return whether the code is right.

    `typed` is the code from the mail, or None if the administrator `user` is signed in. Returns False, and records
    nothing, if the code is wrong. Otherwise the next step of the link request or switch is scheduled for now;
    acceptance is also stored as proof of ownership. Raises `NotAwaited` if the request is not pending, is proved or
    answered already, or the question has expired. Raises `Forbidden` if the user may not decide for the account.
    """
    _ensure_unproved(session, request)
    consent = session.get(Consent, request.id, with_for_update=True)
    if consent is None or consent.decision is not None or now >= consent.expires_at:
        raise NotAwaited
    account = account_by_number(session, request.customer_number)
    if account is None or not may(principal_of(session, user), Action.PROVE_OWNERSHIP, account):
        raise Forbidden
    if typed is not None and not consent.try_code(vault, typed, consent.words(user), now):
        return False
    consent.decision, consent.decided_by, consent.decided_at = decision, user.id, now
    if decision is Decision.ACCEPTED:
        session.add(_ownership(request, account.id, ProofMethod.CONSENT, user.id, now))
    request.make_due(now)
    return True


def _by_credentials(
    session: Session, customer_number: str, credentials: Credentials, now: datetime
) -> OwnershipProof | None:
    user = authenticate(session, credentials.email, credentials.password)
    account = account_by_number(session, customer_number)
    person = principal_of(session, user or User(id=NOBODY))
    is_too_little = needs_more_than_password(session, person.user_id, now)
    if account is None or is_too_little or not may(person, Action.PROVE_OWNERSHIP, account):
        # It is another company that has tried: in which browser is not for this one to know.
        note_refused_sign_in(session, credentials.email, Refused.PROOF, None, now)
        return None
    return OwnershipProof(
        account_id=account.id, method=ProofMethod.CREDENTIALS, proved_by=person.user_id, proved_at=now
    )


def _by_link_code(
    session: Session, vault: Vault, customer_number: str, typed: str, now: datetime
) -> OwnershipProof | None:
    account = account_by_number(session, customer_number)
    account_id = account.id if account is not None else None
    code = open_link_code(session, account_id, lock=True)
    right = vault.is_code(typed, *(code.words() if code is not None else ("link", "nobody's")))
    made_by_owner = _may_still_prove(session, code.created_by if code is not None else NOBODY, account_id)
    if code is None or not right or not code.is_good(now) or not made_by_owner:
        return None
    code.ended_at = now
    return OwnershipProof(
        account_id=code.account_id, method=ProofMethod.LINK_CODE, proved_by=code.created_by, proved_at=now
    )


def _may_still_prove(session: Session, user_id: int, account_id: int | None) -> bool:
    """Return whether the user, who made a link code for the account, has a role there that still allows this.

    False if `account_id` is None.
    """
    role = session.scalar(
        sa.select(Membership.role).where(Membership.user_id == user_id, Membership.account_id == account_id)
    )
    return role is not None and Action.PROVE_OWNERSHIP in RIGHTS[role]


def _ownership(request: Request, account_id: int, method: ProofMethod, by: int | None, now: datetime) -> OwnershipProof:
    return OwnershipProof(
        request_id=request.id, account_id=account_id, method=method, proved_by=by, proved_at=now
    )  # fmt: skip


def _ensure_unproved(session: Session, request: Request) -> None:
    """Lock a request and read it anew; raise `NotAwaited` unless it is a pending link or switch.

    Also raises `NotAwaited` if the request has a proof of ownership already.
    """
    session.refresh(request, with_for_update=True)
    waits = request.kind in ATTACHING and request.status is Status.PENDING
    if not waits or session.get(OwnershipProof, request.id) is not None:
        raise NotAwaited
