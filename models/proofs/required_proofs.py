"""The proofs that an order needs (contact's e-mail address, connection address), and whether each is completed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.orders.orders import OrderDraft
from models.people.users import User
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import AddressProof, CodedProof, EmailProof
from models.requests.requests import Request
from models.same_address import address_key
from models.states import Kind


@dataclass(frozen=True, slots=True)
class OrderProofs:
    """The two proofs of an order: of the contact's e-mail address and of the connection address.

    A proof is None as long as it was not requested. `needs_email` is False if the contact's e-mail address is the
    requester's own, confirmed one; the proof `email` is then not needed.
    """

    needs_email: bool
    email: EmailProof | None
    address: AddressProof | None

    @property
    def awaits_email(self) -> bool:
        """Return whether the contact still has to confirm the e-mail address."""
        return self.needs_email and (self.email is None or self.email.proved_at is None)

    @property
    def awaits_address(self) -> bool:
        """Return whether the connection address still has to be proved."""
        return self.address is None or self.address.proved_at is None

    def asked(self) -> Iterator[tuple[str, CodedProof]]:
        """Yield a name (`email` or `address`) and the proof, for each proof that was requested and is still needed."""
        if self.email is not None and self.awaits_email:
            yield "email", self.email
        if self.address is not None and self.awaits_address:
            yield "address", self.address


def order_proofs(book: ProofBook, order: Request, requester: User | None) -> OrderProofs:
    """Return the proofs of an order, of its contact's e-mail address and of its connection address, or of a move.

    `book` reads the proofs of all requests with which it was created; `order` must be one of them. `requester` is the
    user who made the request, None if unknown.
    """
    assert order.account is not None
    # Of a move only the new address is in question.
    needs_email = order.kind is Kind.ORDER and not _is_own(requester, order.account.contact_email)
    return OrderProofs(needs_email, book.email(order) if needs_email else None, book.address(order))


def opened_proofs(book: ProofBook, order: Request, requester: User | None, now: datetime) -> OrderProofs:
    """Insert the proofs that the order or move needs and that do not exist yet; return all proofs of it.

    `book` reads and inserts proofs for the orders with which it was created; `order` must be one of them. `requester`
    is the user who placed the order, None if unknown. Sends no mail and no letter.
    """
    found = order_proofs(book, order, requester)
    if found.needs_email and found.email is None:
        book.open_email(order, now)
    if found.address is None:
        book.open_address(order, now)
    return order_proofs(book, order, requester)


def draft_proofs(session: Session, main_id: int, draft: OrderDraft, requester: User) -> OrderProofs:
    """Return the existing proofs that the order `draft` would use if `requester` placed it now for the main account."""
    email, place = draft.contact.email.lower(), draft.location
    key = address_key(place.street, place.postal_code, place.city)
    return OrderProofs(
        not _is_own(requester, email),
        session.get(EmailProof, {"main_id": main_id, "address": email}),
        session.get(AddressProof, {"main_id": main_id, "address_key": key}),
    )


def is_proved_by_company(session: Session, move: Request) -> bool:
    """Return whether the new address of a move is proved already for the main account to which the move belongs."""
    proof = session.get(AddressProof, {"main_id": move.main_id, "address_key": move.place.key})
    return proof is not None and proof.proved_at is not None


def _is_own(requester: User | None, address: str) -> bool:
    if requester is None or requester.email_confirmed_at is None:
        return False
    return requester.email == address
