"""Giving proofs: check a proof, record who gave it, when and how, and schedule the waiting requests' next step, now.

A wrong try is counted and must be committed: functions that take a code return whether the code was right, and raise
only where nothing has to be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager

from models.accounts.accounts import (
    Account,
    account_by_number,
)
from models.accounts.locks import lock_account
from models.errors import Forbidden, IsMainAccount, NotAwaited
from models.people.passwords import authenticate
from models.people.rights import Action, Principal, may
from models.people.users import (
    User,
    principal_of,
)
from models.proofs.documents import AddressDocument
from models.proofs.proof_book import ProofBook, account_address_key
from models.proofs.proofs import (
    LINK_CODE_VALID_FOR,
    AddressProof,
    CodedProof,
    Consent,
    Decision,
    EmailProof,
    LinkCode,
    OwnershipProof,
)
from models.proofs.refusals import Refusal, refuse
from models.proofs.required import order_proofs
from models.proofs.same_proof import orders_in_town, orders_of_contact
from models.requests.requests import Request
from models.states import ENDED, AccountRole, AddressMethod, Kind, ProofMethod, Status
from models.values import end_of_day
from models.vault import Vault

_NOBODY = 0
"""No account has this id."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The login of an administrator of the account to link, used once, immediately; never stored, never logged."""

    email: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


def confirm_email(session: Session, vault: Vault, request: Request, typed: str, now: datetime) -> bool:
    """Confirm the e-mail address of the order's contact by the typed code from the mail; return whether it is right.

    Safe to run twice: the code stays right. One mail serves all orders of the main account with this contact, and
    their next steps are scheduled for now. Raises `NotAwaited` if `request` is no order, if no proof of the address was
    requested, or if the address is not confirmed and no order waits for it any more.
    """
    if request.kind is not Kind.ORDER:
        raise NotAwaited
    waiting = _waiting(orders_of_contact(request))
    awaited = bool(_lock(session, waiting))
    proof = ProofBook(session, [request]).email(request)
    right = _is_right(vault, proof, typed, now, awaited=awaited)
    if right and proof is not None and proof.proved_at is None:
        proof.proved_at = now
        _wake(session, waiting, now)
    return right


def is_email_awaited(session: Session, request: Request) -> bool:
    """Return whether `request`, or another order of the main account with its contact's e-mail address, is running.

    These orders share one mail.
    """
    running = orders_of_contact(request).where(Request.status.not_in(ENDED))
    return session.scalar(running.limit(1)) is not None


def enter_letter_code(session: Session, vault: Vault, request: Request, typed: str, now: datetime) -> bool:
    """Prove the order's connection address by the typed code from the letter; return whether it is right.

    Safe to run twice: the code stays right. One letter serves all orders of the main account with this address, and
    their next steps are scheduled for now. Raises `NotAwaited` if `request` is no order, if no proof of the address was
    requested, or if the address is not proved and no order waits for it any more.
    """
    if request.kind is not Kind.ORDER:
        raise NotAwaited
    assert request.account is not None
    key = account_address_key(request.account)
    awaited = any(
        order.account and account_address_key(order.account) == key
        for order in _lock(session, _waiting(orders_in_town(request)))
    )
    proof = ProofBook(session, [request]).address(request)
    right = _is_right(vault, proof, typed, now, awaited=awaited)
    if right and proof is not None and proof.proved_at is None:
        _address_proved(session, request, AddressMethod.LETTER, now, None)
    return right


def answer_letter(session: Session, vault: Vault, customer_number: str, typed: str, now: datetime) -> Request | None:
    """Prove a connection address with the customer number and the typed code that a letter carries, without a login.

    Returns the order that the letter was sent for; None if the number or the code is wrong, or the proof is not
    awaited. An outsider learns nothing: the same statements run in every case.
    """
    account = account_by_number(session, customer_number)
    account_id = account.id if account is not None else None
    order = session.scalar(sa.select(Request).where(Request.account_id == account_id, Request.kind == Kind.ORDER))
    try:
        right = enter_letter_code(session, vault, order or _nobodys_order(), typed, now)
    except NotAwaited:
        right = False
    if not right and not session.dirty:
        # There was no try to count; the statement runs all the same.
        session.execute(sa.update(AddressProof).where(AddressProof.main_id == _NOBODY).values(wrong_tries=0))
    return order if right else None


def upload_document(
    session: Session, principal: Principal, request: Request, name: str, media_type: str, content: bytes, now: datetime
) -> AddressDocument:
    """Save an uploaded document that is to prove the order's connection address, for the back office to decide on.

    The document replaces an earlier one that is not decided yet; the order's next step is scheduled for now. Raises
    `NotAwaited` unless `request` is a pending order whose address proof was requested and is not given yet.
    """
    book = ProofBook(session, [request])
    proof = book.address(request) if _is_pending(request, Kind.ORDER) else None
    if proof is None or proof.proved_at is not None:
        raise NotAwaited
    document = book.document(request) or AddressDocument(request_id=request.id)
    document.name, document.media_type, document.content = name, media_type, content
    document.uploaded_at, document.uploaded_by = now, principal.user_id
    session.add(document)
    request.note(now, "document_received", name=name)
    request.make_due(now)
    return document


def decide_document(
    session: Session,
    staff: User,
    request: Request,
    *,
    refusal: Refusal | None,
    now: datetime,
) -> None:
    """Accept or refuse the document uploaded for an order, and schedule the order's next step for now.

    `refusal` says why the document is refused, and the customer reads it; None accepts the document. Raises `Forbidden`
    unless `staff` is one of the carrier's staff, and `NotAwaited` if the order is not pending or has no document that
    is still undecided.
    """
    if not staff.is_staff:
        raise Forbidden
    awaited = lock_for_address(session, request)
    document = ProofBook(session, [request]).document(request)
    if document is None or not awaited:
        raise NotAwaited
    document.released, document.decided_at, document.decided_by = refusal is None, now, staff.id
    if refusal is not None:
        refuse(session, request, document, refusal, now)
    else:
        request.note(now, "document_released")
        _address_proved(session, request, AddressMethod.DOCUMENT, now, staff.id)
    request.make_due(now)


def lock_for_address(session: Session, request: Request) -> bool:
    """Lock the pending orders of the request's main account that have the same postal code.

    Return whether `request` is itself one of these orders; if not, the others are locked all the same. To
    avoid a deadlock, call this function before one of these orders is locked alone.
    """
    return request.kind is Kind.ORDER and request in _lock(session, _waiting(orders_in_town(request)))


def ask_again(session: Session, request: Request, what: str, now: datetime) -> None:
    """Void a proof's code and request a new one, by mail (`what` is `email` or `consent`) or by post (`letter`).

    The request's next step, which sends the code, is scheduled for now. Raises `TooEarly` if the current code was
    requested too recently, and `NotAwaited` if the request is not pending, does not wait for this proof, or has had the
    most codes allowed.
    """
    proof = _asked(session, request, what)
    if proof is None or request.status is not Status.PENDING:
        raise NotAwaited
    proof.ask_again(now)
    request.make_due(now)


def decide(
    session: Session, vault: Vault, request: Request, user: User, decision: Decision, typed: str | None, now: datetime
) -> bool:
    """Record an administrator's answer to the question whether an account may be attached, if the code is right.

    `typed` is the code from the mail, None for a signed-in person. Returns False if the code is wrong or void. The
    first answer counts; the request's next step is scheduled for now. Raises `NotAwaited` if the request is not
    pending, is proved or answered already, or the question has expired, and `Forbidden` if the user may not decide for
    the account.
    """
    _ensure_unproved(session, request)
    consent = session.get(Consent, request.id, with_for_update=True)
    if consent is None or consent.decision is not None or now >= consent.expires_at:
        raise NotAwaited
    account = account_by_number(session, request.customer_number)
    if account is None or not may(principal_of(session, user), Action.PROVE_OWNERSHIP, account):
        raise Forbidden
    if typed is not None and not consent.try_code(vault, typed, consent.words(user.id), now):
        return False
    consent.decision, consent.decided_by, consent.decided_at = decision, user.id, now
    if decision is Decision.ACCEPTED:
        session.add(_ownership(request, account.id, ProofMethod.CONSENT, user.id, now))
    request.make_due(now)
    return True


def prove_ownership(session: Session, vault: Vault, request: Request, means: Credentials | str, now: datetime) -> bool:
    """Prove a pending link request by `means`: an administrator's credentials, or a link code as it was typed.

    Returns whether the means are right; if so, the request's next step is scheduled for now. Raises `NotAwaited` unless
    the request is a pending link request without a proof.
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
    """Check `means`, an administrator's credentials or a link code as it was typed, for the account to link.

    Returns an ownership proof whose `request_id` the caller sets, or None if the means are wrong. An outsider learns
    nothing: the same statements run in both cases. A wrong code is counted, and the right one is used up.
    """
    if isinstance(means, Credentials):
        return _by_credentials(session, customer_number, means, now)
    return _by_link_code(session, vault, customer_number, means, now)


def create_link_code(session: Session, principal: Principal, account: Account, now: datetime) -> LinkCode:
    """Create a link code, by which another customer may attach the account, and void the account's previous one.

    Raises `Forbidden` if the person may not prove ownership of the account, `IsMainAccount` if it is a main account.
    """
    # Two at once would both find none to replace; and what was read before may be over.
    lock_account(session, account)
    void_link_code(session, principal, account, now)
    if account.role is AccountRole.MAIN:
        raise IsMainAccount(account.customer_number)
    expires_at = end_of_day(now + LINK_CODE_VALID_FOR)
    code = LinkCode(account_id=account.id, created_by=principal.user_id, created_at=now, expires_at=expires_at)
    session.add(code)
    session.flush()
    return code


def void_link_code(session: Session, principal: Principal, account: Account, now: datetime) -> None:
    """Void the account's link code, if there is one. Safe to run twice.

    Raises `Forbidden` if the person may not prove ownership of the account.
    """
    if not may(principal, Action.PROVE_OWNERSHIP, account):
        raise Forbidden
    code = open_link_code(session, account.id, lock=True)
    if code is not None:
        code.ended_at = now
        session.flush()


def open_link_code(session: Session, account_id: int | None, *, lock: bool = False) -> LinkCode | None:
    """Return the account's link code that was not used, replaced or voided; None if there is none. It may have expired.

    Locks the code if `lock`.
    """
    query = sa.select(LinkCode).where(LinkCode.account_id == account_id, LinkCode.ended_at.is_(None))
    return session.scalar(query.with_for_update() if lock else query)


def _by_credentials(
    session: Session, customer_number: str, credentials: Credentials, now: datetime
) -> OwnershipProof | None:
    user = authenticate(session, credentials.email, credentials.password)
    account = account_by_number(session, customer_number)
    person = principal_of(session, user or User(id=_NOBODY))
    if account is None or not may(person, Action.PROVE_OWNERSHIP, account):
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
    if code is None or not right or not code.is_good(now):
        # Also where there is nothing to count: the same statements run whatever is wrong.
        tries = sa.update(LinkCode).where(LinkCode.account_id == account_id, LinkCode.ended_at.is_(None))
        session.execute(tries.values(wrong_tries=LinkCode.wrong_tries + 1))
        return None
    code.ended_at = now
    return OwnershipProof(
        account_id=code.account_id, method=ProofMethod.LINK_CODE, proved_by=code.created_by, proved_at=now
    )


def _ownership(request: Request, account_id: int, method: ProofMethod, by: int | None, now: datetime) -> OwnershipProof:
    return OwnershipProof(
        request_id=request.id, account_id=account_id, method=method, proved_by=by, proved_at=now
    )  # fmt: skip


def _is_right(
    vault: Vault, proof: EmailProof | AddressProof | None, typed: str, now: datetime, *, awaited: bool
) -> bool:
    """Return whether the typed text is the code of the proof, and count a wrong try.

    The code of a proof that was completed before stays right, and wrong tries are not counted then. `awaited`: an
    order waits for the proof. Raises `NotAwaited` if `proof` is None, or if it is neither completed nor awaited.
    """
    if proof is not None and proof.proved_at is not None:
        return vault.is_code(typed, *proof.words())
    if proof is None or not awaited:
        raise NotAwaited
    return proof.try_code(vault, typed, proof.words(), now)


def _asked(session: Session, request: Request, what: str) -> CodedProof | None:
    if what == "consent":
        consent = session.get(Consent, request.id)
        return consent if consent is not None and consent.decision is None else None
    if request.kind is not Kind.ORDER:
        return None
    requester = session.get(User, request.requested_by) if request.requested_by is not None else None
    asked = dict(order_proofs(ProofBook(session, [request]), request, requester).asked())
    return asked.get("email" if what == "email" else "address")


def _address_proved(session: Session, request: Request, method: AddressMethod, now: datetime, by: int | None) -> None:
    proof = ProofBook(session, [request]).address(request)
    assert proof is not None and request.account is not None
    proof.prove(method, now, by)
    _wake(session, _waiting(orders_in_town(request)), now, account_address_key(request.account))


def _nobodys_order() -> Request:
    account = Account(street="", postal_code="", city="", contact_email="")
    return Request(kind=Kind.ORDER, main_id=_NOBODY, account=account)


def _waiting(orders: sa.Select[Request]) -> sa.Select[Request]:
    # With their accounts: no statement more for some than for others.
    return orders.where(Request.status == Status.PENDING).options(contains_eager(Request.account))


def _lock(session: Session, waiting: sa.Select[Request]) -> Sequence[Request]:
    """Lock the requests that the query `waiting` selects, in the order of their ids, and return them freshly read.

    Callers lock requests before their proof, as the workers do, to avoid a deadlock.
    """
    locking = waiting.order_by(Request.id).with_for_update(of=Request)
    # Read anew: the transaction that held the locks may have changed them.
    return session.scalars(locking.execution_options(populate_existing=True)).all()


def _wake(session: Session, waiting: sa.Select[Request], now: datetime, key: str | None = None) -> None:
    """Schedule the next step of each request that `waiting` selects, now; with `key`, only of those at that address."""
    # In the order in which the workers lock them. One that a worker is looking at is waited for: it may have read
    # the proof before it was given.
    for request in session.scalars(waiting.order_by(Request.id).with_for_update(of=Request)):
        if key is None or (request.account is not None and account_address_key(request.account) == key):
            request.make_due(now)


def _ensure_unproved(session: Session, request: Request) -> None:
    """Lock a request; raise `NotAwaited` unless it is a pending link request without an ownership proof."""
    session.refresh(request, with_for_update=True)
    if not _is_pending(request, Kind.LINK) or session.get(OwnershipProof, request.id) is not None:
        raise NotAwaited


def _is_pending(request: Request, kind: Kind) -> bool:
    return request.kind is kind and request.status is Status.PENDING
