"""Reads and creates the proofs of e-mail and connection addresses for several orders at once, with few queries.

Also reads the documents that customers have uploaded for them and that staff have not decided on yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.calendar_days import end_of_day
from models.proofs.deadlines import VALID_FOR
from models.proofs.documents import ProofDocument
from models.proofs.proofs import AddressProof, EmailProof
from models.requests.requests import Request
from models.states import PROVING_ADDRESS, Kind

P = TypeVar("P", EmailProof, AddressProof)


class ProofBook:
    """The proofs of e-mail and connection addresses that orders and moves among `requests` need, completed or not.

    Also has the undecided documents of orders and of requests for numbers among `requests`. All proofs of one kind are
    read when the first of them is needed, with at most two queries. The rows of uncompleted proofs are locked until the
    transaction ends, unless `lock` is False.
    """

    def __init__(self, session: Session, requests: Sequence[Request], *, lock: bool = True) -> None:
        self._session = session
        self._lock = lock
        self._orders = [request for request in requests if request.kind is Kind.ORDER]
        self._with_address = [request for request in requests if request.kind in PROVING_ADDRESS and request.account]
        documented = PROVING_ADDRESS | {Kind.NUMBERS}
        self._with_documents = [request.id for request in requests if request.kind in documented]

    def email(self, request: Request) -> EmailProof | None:
        """Return the proof of the e-mail address of the order's contact; None if the proof was never requested."""
        assert request.account is not None
        return self._emails.get((request.main_id, request.account.contact_email))

    def address(self, request: Request) -> AddressProof | None:
        """Return the proof of an order's connection address, or of a move's new one; None if it was never requested."""
        return self._addresses.get((request.prover_id, request.place.key))

    def document(self, request: Request) -> ProofDocument | None:
        """Return the undecided document of an order, a move or a request for numbers; None if there is none.

        Staff have not accepted or refused an undecided document yet.
        """
        return self._documents.get(request.id)

    def open_email(self, request: Request, now: datetime) -> EmailProof:
        """Insert and return a new, uncompleted proof that the e-mail address of the order's contact reaches them.

        If another transaction has inserted this row already, returns that row. Locks the row. Sends no mail.
        """
        assert request.account is not None
        main_id, address = request.main_id, request.account.contact_email
        found = self._opened(EmailProof, {"main_id": main_id, "address": address}, now)
        self._emails[main_id, address] = found
        return found

    def open_address(self, request: Request, now: datetime) -> AddressProof:
        """Insert and return a new, uncompleted proof of the address of the order, or of the new one of the move.

        If another transaction has inserted this row already, returns that row. Locks the row. Sends no letter.
        """
        main_id, key = request.prover_id, request.place.key
        found = self._opened(AddressProof, {"main_id": main_id, "address_key": key}, now)
        self._addresses[main_id, key] = found
        return found

    def _opened(self, table: type[P], key: dict[str, Any], now: datetime) -> P:
        asked = {"issue": 1, "sent_issue": 0, "asked_at": now, "expires_at": end_of_day(now + VALID_FOR)}
        fresh = {"wrong_tries": 0, "reminders": 0, "resent": 0}
        self._session.execute(postgresql.insert(table).values(**key, **asked, **fresh).on_conflict_do_nothing())
        return self._session.get_one(table, key, with_for_update=True, populate_existing=True)

    @cached_property
    def _emails(self) -> dict[tuple[int, str], EmailProof]:
        keys = {(order.main_id, order.account.contact_email) for order in self._orders if order.account}
        found = self._read(EmailProof, sa.tuple_(EmailProof.main_id, EmailProof.address).in_(keys))
        return {(proof.main_id, proof.address): proof for proof in found}

    @cached_property
    def _addresses(self) -> dict[tuple[int, str], AddressProof]:
        keys = {(request.prover_id, request.place.key) for request in self._with_address}
        found = self._read(AddressProof, sa.tuple_(AddressProof.main_id, AddressProof.address_key).in_(keys))
        return {(proof.main_id, proof.address_key): proof for proof in found}

    def _read(self, table: type[P], wanted: sa.ColumnElement[bool]) -> list[P]:
        if not self._lock:
            return list(self._session.scalars(sa.select(table).where(wanted)))
        # What is proved never changes any more and many orders need it at once: only the others are locked.
        proved: sa.Select[P] = sa.select(table).where(wanted, table.proved_at.is_not(None))
        unproved = sa.select(table).where(wanted, table.proved_at.is_(None)).order_by(*sa.inspect(table).primary_key)
        locking: sa.Select[P] = unproved.with_for_update().execution_options(populate_existing=True)
        found: list[P] = [*self._session.scalars(proved), *self._session.scalars(locking)]
        return found

    @cached_property
    def _documents(self) -> dict[uuid.UUID, ProofDocument]:
        query = sa.select(ProofDocument).where(
            ProofDocument.request_id.in_(self._with_documents), ProofDocument.released.is_(None)
        )
        return {document.request_id: document for document in self._session.scalars(query)}
