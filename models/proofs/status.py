"""What requests have asked people to prove, how each proof stands, and until when: for pages and the API.

For a link request it tells the same whoever the account belongs to, and whether there is one at all.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.proofs import (
    AddressDocument,
    AddressProof,
    CodedProof,
    Consent,
    Decision,
    EmailProof,
    OwnershipProof,
    account_address_key,
    is_known_address,
)
from models.requests.requests import Request
from models.states import ENDED, AccountRole, AddressMethod, Kind, Reason, Status


class ProofKind(StrEnum):
    """What somebody is asked for."""

    EMAIL = "email"
    LETTER = "letter"
    DOCUMENT = "document"
    CONSENT = "consent"


class ProofState(StrEnum):
    """How it stands. A code that was tried too often has expired too: both need a new one."""

    OPEN = "open"
    PROVED = "proved"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProofStatus:
    """A proof that was asked for. `again_from`: when a new code can be asked for, None if it cannot."""

    kind: ProofKind
    state: ProofState
    until: datetime | None = None
    again_from: datetime | None = None


def proof_statuses(session: Session, requests: Sequence[Request], now: datetime) -> dict[uuid.UUID, list[ProofStatus]]:
    """Every request's proofs. A fixed number of statements, and none for requests that nobody has looked at yet."""
    selected_account = [request for request in requests if request.status is not Status.ACKNOWLEDGED]
    # While the area code does not fit, nothing is asked for.
    wrong_area = Reason.AREA_CODE_MISMATCH
    orders = [
        request for request in selected_account if request.kind is Kind.ORDER and request.reason is not wrong_area
    ]
    links = [request for request in selected_account if request.kind is Kind.LINK]
    found: dict[uuid.UUID, list[ProofStatus]] = defaultdict(list)
    if orders:
        book = _Read(session, orders, now)
        found |= {order.id: [*book.email(order), *book.address(order)] for order in orders}
    if links:
        query = sa.select(Consent).where(Consent.request_id.in_([link.id for link in links]))
        found |= {consent.request_id: [_consent(consent, now)] for consent in session.scalars(query)}
    for request in selected_account:
        found[request.id] = [asked for asked in found[request.id] if _still_says_something(request, asked)]
    return found


@dataclass(frozen=True, slots=True)
class OpenConsent:
    """A request that waits for an administrator's answer: which account, by which main account, until when."""

    request: Request
    account: Account
    main: Account
    consent: Consent


def consents_to_answer(session: Session, principal: Principal, now: datetime) -> list[OpenConsent]:
    """The requests to attach an account of this person that they can accept or decline, the oldest first."""
    own = sa.select(Account).where(Account.id.in_(principal.roles), Account.role == AccountRole.STANDALONE)
    accounts = {
        account.customer_number: account
        for account in session.scalars(own)
        if may(principal, Action.PROVE_OWNERSHIP, account)
    }
    if not accounts:
        return []
    main = sa.orm.aliased(Account)
    query = (
        sa.select(Request, Consent, main)
        .join(Consent, Consent.request_id == Request.id)
        .join(main, main.id == Request.main_id)
        .outerjoin(OwnershipProof, OwnershipProof.request_id == Request.id)
        .where(
            Request.kind == Kind.LINK,
            # What the index of running requests says: it holds few, while the table holds all there ever were.
            Request.status.not_in(ENDED),
            Request.status == Status.PENDING,
            Request.customer_number.in_(accounts),
            Consent.decision.is_(None),
            Consent.expires_at > now,
            OwnershipProof.request_id.is_(None),
        )
        .order_by(Request.id)
    )
    return [
        OpenConsent(link, accounts[link.customer_number], asking, consent)
        for link, consent, asking in session.execute(query)
    ]


class _Read:
    """What the proofs of these orders need, read together and without locks."""

    def __init__(self, session: Session, orders: Sequence[Request], now: datetime) -> None:
        self._now = now
        ids = [order.account_id for order in orders]
        accounts = list(session.scalars(sa.select(Account).where(Account.id.in_(ids))))
        self._accounts = {account.id: account for account in accounts}
        people = sa.select(User).where(User.id.in_({order.requested_by for order in orders}))
        self._people = {person.id: person for person in session.scalars(people)}
        mains = {order.main_id for order in orders}
        emails = sa.select(EmailProof).where(
            EmailProof.main_id.in_(mains), EmailProof.address.in_({account.contact_email for account in accounts})
        )
        self._emails = {(proof.main_id, proof.address): proof for proof in session.scalars(emails)}
        addresses = sa.select(AddressProof).where(
            AddressProof.main_id.in_(mains),
            AddressProof.address_key.in_({account_address_key(account) for account in accounts}),
        )
        self._addresses = {(proof.main_id, proof.address_key): proof for proof in session.scalars(addresses)}
        documents = sa.select(AddressDocument).where(AddressDocument.request_id.in_([order.id for order in orders]))
        # The last one of each.
        self._documents = {row.request_id: row for row in session.scalars(documents.order_by(AddressDocument.id))}

    def email(self, order: Request) -> Iterator[ProofStatus]:
        """The contact's e-mail address, if it has to be proved."""
        account = self._account(order)
        proof = self._emails.get((order.main_id, account.contact_email))
        if proof is None or is_known_address(self._people.get(order.requested_by or 0), proof.address):
            return
        if proof.proved_at is not None:
            yield ProofStatus(ProofKind.EMAIL, ProofState.PROVED)
        else:
            yield _coded(ProofKind.EMAIL, proof, self._now)

    def address(self, order: Request) -> Iterator[ProofStatus]:
        """The connection address: the letter's code, and a document if there is one."""
        proof = self._addresses.get((order.main_id, account_address_key(self._account(order))))
        if proof is None:
            return
        if proof.proved_at is not None:
            by_document = proof.method is AddressMethod.DOCUMENT
            yield ProofStatus(ProofKind.DOCUMENT if by_document else ProofKind.LETTER, ProofState.PROVED)
            return
        yield _coded(ProofKind.LETTER, proof, self._now)
        document = self._documents.get(order.id)
        if document is not None and document.released is None:
            yield ProofStatus(ProofKind.DOCUMENT, ProofState.OPEN, order.waiting_until)
        elif document is not None and not document.released:
            yield ProofStatus(ProofKind.DOCUMENT, ProofState.DECLINED)

    def _account(self, order: Request) -> Account:
        assert order.account_id is not None
        return self._accounts[order.account_id]


def _coded(kind: ProofKind, proof: CodedProof, now: datetime) -> ProofStatus:
    good = now < proof.expires_at and not proof.is_void()
    return ProofStatus(kind, ProofState.OPEN if good else ProofState.EXPIRED, proof.expires_at, proof.new_one_from())


def _consent(consent: Consent, now: datetime) -> ProofStatus:
    match consent.decision:
        case Decision.ACCEPTED:
            return ProofStatus(ProofKind.CONSENT, ProofState.PROVED)
        case Decision.DECLINED:
            return ProofStatus(ProofKind.CONSENT, ProofState.DECLINED)
    # Who has tried a code too often does not show here: that would tell whether there is somebody.
    state = ProofState.OPEN if now < consent.expires_at else ProofState.EXPIRED
    return ProofStatus(ProofKind.CONSENT, state, consent.expires_at, consent.new_one_from())


def _still_says_something(request: Request, asked: ProofStatus) -> bool:
    """What is open is only asked for while the request waits."""
    return asked.state is not ProofState.OPEN or request.status is Status.PENDING
