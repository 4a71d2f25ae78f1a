"""The proofs that requests have asked people for, with states and deadlines, as pages and the API show them.

What is shown for a link request does not reveal whose the other account is, nor whether it exists.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.document_refusals import Refusal
from models.proofs.documents import ProofDocument
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import CodedProof, Consent, Decision, MainConsent, OwnershipProof
from models.proofs.required_proofs import OrderProofs, order_proofs
from models.requests.approvals import AWAITING, approval_values, waiting_for_approval
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, PROVING_ADDRESS, AccountRole, AddressMethod, Kind, Reason, Status


class ProofKind(StrEnum):
    """The kinds of proof that people are asked for, as pages and the API show them.

    `EMAIL` and `LETTER` are proofs by a code, `DOCUMENT` and `CERTIFICATE` by an uploaded document that shows an
    address or the need for numbers. `CONSENT` is the consent of an account's administrators, `MAIN_CONSENT` (for a
    switch) that of the administrators of the account's present main account. `APPROVAL` is the approval by a second
    person of the company.
    """

    EMAIL = "email"
    LETTER = "letter"
    DOCUMENT = "document"
    CONSENT = "consent"
    MAIN_CONSENT = "main_consent"
    CERTIFICATE = "certificate"
    APPROVAL = "approval"


class ProofState(StrEnum):
    """The states of a requested proof: open, proved, declined, or expired."""

    OPEN = "open"
    PROVED = "proved"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProofStatus:
    """A proof that a request has asked for, as pages and the API show it. `until` is its deadline.

    `until` is None once the proof is proved or declined. For an undecided document it is also None while the order
    waits for another reason. `again_from` is the time from which a new code can be requested, None if none can be.
    `is_refused`: the mail server has permanently refused the mail with the current code. `refusal` is why a document
    was refused; None if it was not, or if the reason was not stored.
    """

    kind: ProofKind
    state: ProofState
    until: datetime | None = None
    again_from: datetime | None = None
    is_refused: bool = False
    refusal: Refusal | None = None


def proof_statuses(session: Session, requests: Sequence[Request], now: datetime) -> dict[uuid.UUID, list[ProofStatus]]:
    """Return, by request id, the statuses of the proofs that each request has asked for, as its requester sees them.

    The list is empty for a request that no worker has processed yet. Open proofs are left out unless the request is
    pending. Runs a fixed number of statements.
    """
    begun = [request for request in requests if request.status is not Status.ACKNOWLEDGED]
    orders = [request for request in begun if request.kind in PROVING_ADDRESS]
    links = [request for request in begun if request.kind in ATTACHING]
    numbers = [request for request in begun if request.need_until is not None]
    found: dict[uuid.UUID, list[ProofStatus]] = defaultdict(list)
    if orders:
        found |= _of_orders(session, orders, now)
    if numbers:
        latest = _latest_documents(session, numbers)
        found |= {request.id: list(_certificate(request, latest.get(request.id), now)) for request in numbers}
    if links:
        query = sa.select(Consent).where(Consent.request_id.in_([link.id for link in links]))
        found |= {consent.request_id: [_consent(ProofKind.CONSENT, consent, now)] for consent in session.scalars(query)}
    if switches := [request.id for request in links if request.kind is Kind.SWITCH]:
        for of_main in session.scalars(sa.select(MainConsent).where(MainConsent.request_id.in_(switches))):
            # Ownership is proved, in whatever way: a question about it that is open waits for nobody.
            given = [asked for asked in found[of_main.request_id] if asked.state is ProofState.PROVED]
            found[of_main.request_id] = [*given, _consent(ProofKind.MAIN_CONSENT, of_main, now)]
    for request in begun:
        if request.approval_until is not None:
            # Before the approval nothing else is asked for.
            others = [] if request.reason in AWAITING else found[request.id]
            found[request.id] = [_approval(request), *others]
        found[request.id] = [asked for asked in found[request.id] if _still_says_something(request, asked)]
    return found


@dataclass(frozen=True, slots=True)
class OpenConsent:
    """A link or switch of the main account `main` that would attach `account` and waits for somebody's consent.

    `consent` is the unanswered question, with its deadline: `Consent` if the administrators of `account` are asked,
    `MainConsent` if those of its present main account are.
    """

    request: Request
    account: Account
    main: Account
    consent: Consent | MainConsent

    @property
    def is_of_main(self) -> bool:
        """Return whether the administrators of the account's present main account are asked, not the account's own."""
        return isinstance(self.consent, MainConsent)


def consents_to_answer(session: Session, principal: Principal, now: datetime) -> list[OpenConsent]:
    """Return the links and switches that wait for a consent which this person may give, in two groups.

    First come those that would attach an account of the person. Then come those that would take a sub-account away from
    the person's main account. In each group the oldest comes first.
    """
    own = [
        account
        for account in session.scalars(sa.select(Account).where(Account.id.in_(principal.roles)))
        if may(principal, Action.PROVE_OWNERSHIP, account)
    ]
    if not own:
        return []
    values = _values(own, now)
    by_number = {account.customer_number: account for account in own}
    main = sa.orm.aliased(Account)
    asked = _open_consents(sa.select(Request, Consent, main)).join(main, main.id == Request.main_id)
    moving = _open_main_consents(sa.select(Request, MainConsent, Account, main)).join(main, main.id == Request.main_id)
    return [
        *(
            OpenConsent(link, by_number[link.customer_number], asking, consent)
            for link, consent, asking in session.execute(asked.order_by(Request.id), values)
        ),
        *(
            OpenConsent(switch, account, asking, consent)
            for switch, consent, account, asking in session.execute(moving.order_by(Request.id), values)
        ),
    ]


def count_open_questions(
    session: Session, principal: Principal, accounts: Collection[Account], now: datetime
) -> tuple[int, int]:
    """Return how many questions for consent administrators of these accounts can answer, and how many approvals wait.

    The latter are requests that wait at `now` for an approval which the person may give. Runs one statement.

    A question belongs to a pending link or switch, and is neither answered nor expired. It asks whether one of the
    accounts may be attached (unless that is proved otherwise), or whether a sub-account of one may move to another main
    account.
    """
    values = _values(accounts, now) | approval_values(principal, now)
    consents, approvals = session.execute(_count_open(), values).one()
    return consents, approvals


@cache
def _count_open() -> sa.Select[int, int]:
    """Return the query that counts the open questions for consent, and the requests that wait for an approval.

    Its parameters name the accounts, the person and the present time (`_values` and `approval_values` return them). The
    query is built once, because it runs at each request of a browser.
    """
    asked = _open_consents(sa.select(sa.func.count(Request.id))).scalar_subquery()
    moving = _open_main_consents(sa.select(sa.func.count(Request.id))).scalar_subquery()
    approvals = waiting_for_approval(sa.select(sa.func.count(Request.id))).scalar_subquery()
    return sa.select(asked + moving, approvals)


def _values(accounts: Collection[Account], now: datetime) -> dict[str, Any]:
    """Return the parameters, by name, of a query for the open questions for consent to these accounts.

    Such a query comes from `_open_consents` or `_open_main_consents`. The customer numbers of sub-accounts are a
    parameter of their own, because only switches can attach sub-accounts.
    """
    return {
        "alone": [account.customer_number for account in accounts if account.role is AccountRole.STANDALONE],
        "attached": [account.customer_number for account in accounts if account.role is AccountRole.SUB],
        "mains": [account.id for account in accounts if account.role is AccountRole.MAIN],
        "now": now,
    }


_ALONE, _ATTACHED = (sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)) for name in ("alone", "attached"))
_MAINS = sa.bindparam("mains", type_=postgresql.ARRAY(sa.BigInteger))
_NOW = sa.bindparam("now", type_=Consent.expires_at.type)


def _open_consents(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Restrict `query` to pending links and switches that wait for the consent of the account to attach.

    Joins `Consent`. The account is one of those given to `_values`, and the question is neither answered nor expired.
    """
    asked_of = sa.or_(
        Request.customer_number == sa.any_(_ALONE),
        sa.and_(Request.customer_number == sa.any_(_ATTACHED), Request.kind == Kind.SWITCH),
    )
    return (
        query.join_from(Request, Consent, Consent.request_id == Request.id)
        .outerjoin(OwnershipProof, OwnershipProof.request_id == Request.id)
        .where(
            Request.kind.in_(ATTACHING),
            # What the index of running requests says: it holds few, while the table holds all there ever were.
            Request.status.not_in(ENDED),
            Request.status == Status.PENDING,
            asked_of,
            Consent.decision.is_(None),
            Consent.expires_at > _NOW,
            OwnershipProof.request_id.is_(None),
        )
    )


def _open_main_consents(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Restrict `query` to pending switches that wait for the consent of the account's present main account.

    Joins `MainConsent` and `Account`, which is the account to move. The main account is one of those given to
    `_values`, and the question is neither answered nor expired.
    """
    return (
        query.join_from(Request, MainConsent, MainConsent.request_id == Request.id)
        .join(Account, Account.customer_number == Request.customer_number)
        .where(
            Request.kind == Kind.SWITCH,
            Request.status.not_in(ENDED),
            Request.status == Status.PENDING,
            MainConsent.main_id == sa.any_(_MAINS),
            Account.main_id == MainConsent.main_id,
            MainConsent.decision.is_(None),
            MainConsent.expires_at > _NOW,
        )
    )


def _of_orders(session: Session, orders: Sequence[Request], now: datetime) -> dict[uuid.UUID, list[ProofStatus]]:
    """Return, by order id, the statuses of the orders' proofs. Runs a fixed number of queries, without locks.

    The list is empty for an order whose account was detached, because row-level security hides the account from the
    caller.
    """
    # Held until the end, so that no order reads its account alone.
    accounts = session.scalars(sa.select(Account).where(Account.id.in_([order.account_id for order in orders]))).all()
    requesters = sa.select(User).where(User.id.in_({order.requested_by for order in orders}))
    people = {person.id: person for person in session.scalars(requesters)}
    latest = _latest_documents(session, orders)
    book = ProofBook(session, orders, lock=False)
    seen = {account.id for account in accounts}
    found: dict[uuid.UUID, list[ProofStatus]] = {order.id: [] for order in orders}
    for order in (order for order in orders if order.account_id in seen):
        proofs = order_proofs(book, order, people.get(order.requested_by or 0))
        found[order.id] = [*_email(proofs, now), *_address(proofs, order, latest.get(order.id), now)]
    return found


def _email(proofs: OrderProofs, now: datetime) -> Iterator[ProofStatus]:
    """Yield the status of the proof of the contact's e-mail address, if the proof is needed and was requested."""
    if proofs.email is None or not proofs.needs_email:
        return
    if proofs.awaits_email:
        yield replace(_coded(ProofKind.EMAIL, proofs.email, now), is_refused=proofs.email.refused_at is not None)
    else:
        yield ProofStatus(ProofKind.EMAIL, ProofState.PROVED)


def _address(
    proofs: OrderProofs, order: Request, document: ProofDocument | None, now: datetime
) -> Iterator[ProofStatus]:
    """Yield the statuses of the proof of the connection address; nothing if the proof was not requested.

    A proved address has one status. Otherwise there is one for the letter, and a second one for `document` if staff
    have refused it or not decided on it yet. `document` is the newest one uploaded for the order, or None.
    """
    if proofs.address is None:
        return
    if not proofs.awaits_address:
        by_document = proofs.address.method is AddressMethod.DOCUMENT
        yield ProofStatus(ProofKind.DOCUMENT if by_document else ProofKind.LETTER, ProofState.PROVED)
        return
    yield _coded(ProofKind.LETTER, proofs.address, now)
    if document is not None and document.released is None:
        # While the order names another reason, the deadline is another proof's.
        is_reason = order.reason is Reason.DOCUMENT_IN_REVIEW
        yield ProofStatus(ProofKind.DOCUMENT, ProofState.OPEN, order.waiting_until if is_reason else None)
    elif document is not None and not document.released:
        yield ProofStatus(ProofKind.DOCUMENT, ProofState.DECLINED, refusal=_refusal_of(document))


def _certificate(request: Request, document: ProofDocument | None, now: datetime) -> Iterator[ProofStatus]:
    """Yield the statuses of the certificate of need that a request for numbers was asked for.

    `document` is the newest one uploaded, None without one. After a refusal the status of that document comes first,
    and then the one of the certificate that is still missing. A request that was completed without it, because it
    needed none any more, has no status.
    """
    kind, until = ProofKind.CERTIFICATE, request.need_until
    assert until is not None
    if document is not None and document.released:
        yield ProofStatus(kind, ProofState.PROVED)
        return
    if document is not None and document.released is None:
        yield ProofStatus(kind, ProofState.OPEN, request.waiting_until)
        return
    if request.status is Status.COMPLETED:
        return
    if document is not None:
        yield ProofStatus(kind, ProofState.DECLINED, refusal=_refusal_of(document))
    is_over = request.reason is Reason.PROOF_EXPIRED
    yield ProofStatus(kind, ProofState.EXPIRED if is_over else ProofState.OPEN, until)


def _approval(request: Request) -> ProofStatus:
    """Return the status of the approval by a second person of the company that the request needs."""
    if request.approved is not None:
        return ProofStatus(ProofKind.APPROVAL, ProofState.PROVED if request.approved else ProofState.DECLINED)
    is_over = request.reason is Reason.APPROVAL_EXPIRED
    return ProofStatus(ProofKind.APPROVAL, ProofState.EXPIRED if is_over else ProofState.OPEN, request.approval_until)


def _latest_documents(session: Session, requests: Sequence[Request]) -> dict[uuid.UUID, ProofDocument]:
    """Return, by request id, the newest document that was uploaded for each of the requests."""
    documents = sa.select(ProofDocument).where(ProofDocument.request_id.in_([request.id for request in requests]))
    return {document.request_id: document for document in session.scalars(documents.order_by(ProofDocument.id))}


def _refusal_of(document: ProofDocument) -> Refusal | None:
    return Refusal(document.refusal, document.refusal_note or "") if document.refusal is not None else None


def _coded(kind: ProofKind, proof: CodedProof, now: datetime) -> ProofStatus:
    good = now < proof.expires_at
    return ProofStatus(kind, ProofState.OPEN if good else ProofState.EXPIRED, proof.expires_at, proof.new_one_from())


def _consent(kind: ProofKind, consent: Consent | MainConsent, now: datetime) -> ProofStatus:
    match consent.decision:
        case Decision.ACCEPTED:
            return ProofStatus(kind, ProofState.PROVED)
        case Decision.DECLINED:
            return ProofStatus(kind, ProofState.DECLINED)
    state = ProofState.OPEN if now < consent.expires_at else ProofState.EXPIRED
    return ProofStatus(kind, state, consent.expires_at, consent.new_one_from())


def _still_says_something(request: Request, asked: ProofStatus) -> bool:
    """Return whether to show the status `asked`: False for an open proof of a request that is not pending."""
    return asked.state is not ProofState.OPEN or request.status is Status.PENDING
