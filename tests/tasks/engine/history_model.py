"""A simple model of a random history: which status each request ends with, and what it leaves in tables and outside."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.messages.outbox import Message
from models.requests.requests import Request
from models.same_address import Place
from models.states import CONTRACT_CHANGES, Kind, Status
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.outbox.receipt_facts import RECEIPTS
from tasks.registrar.trunks import record_of
from tests.factories import an_order
from tests.tasks.conftest import Pipeline

COMPLETED = ("order_completed", "order_completed_contact")
"""The templates of the mails to requester and contact about a completed order."""


@dataclass
class Model:
    """What has to be true at the end of a random history.

    By a request's id: `expected` has its final status, `asked` the proofs that an order still lacks ("email",
    "letter"), `consents` the id of the user who has to consent to a link, and `numbers` the id of the trunk for which
    more numbers were requested. `channels` has the number of channels by the id of each changed trunk, `files` the
    number of orders by the id of each bulk file. `rivals` has the ids of two link requests by the customer number of
    the account that both are for: exactly one of them is completed. `approvals` has the ids of requests that wait for
    an approval, `approved` those of requests for which it was given, and `moves` the account's id and the new address
    of each move by its id.
    """

    expected: dict[UUID, Status] = field(default_factory=dict)
    rivals: defaultdict[str, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    channels: dict[int, int] = field(default_factory=dict)
    asked: dict[UUID, set[str]] = field(default_factory=dict)
    consents: dict[UUID, int] = field(default_factory=dict)
    files: dict[UUID, int] = field(default_factory=dict)
    numbers: dict[UUID, int] = field(default_factory=dict)
    approvals: list[UUID] = field(default_factory=list)
    approved: list[UUID] = field(default_factory=list)
    moves: dict[UUID, tuple[int, Place]] = field(default_factory=dict)

    def decide(self, id: UUID, end: Status) -> None:
        """Record how the request will end; it waits for an approval no longer."""
        self.expected[id] = end
        if id in self.approvals:
            self.approvals.remove(id)
            if end is Status.COMPLETED:
                self.approved.append(id)

    def compare(self, session: Session, pipeline: Pipeline) -> None:
        """Assert that the rows, and what registrar, mail server and printer were sent, agree with the model."""
        placed = session.execute(sa.select(Request.id, Request.bulk_id).where(Request.bulk_id.in_(self.files))).all()
        assert Counter(row.bulk_id for row in placed) == Counter(self.files)
        self.expected |= {row.id: Status.COMPLETED for row in placed}
        ours = sa.select(Request.id, Request.status).where(Request.id.in_(self.expected))
        assert {row.id: row.status for row in session.execute(ours)} == self.expected
        orders = select_ids(session, sa.select(Request.id).where(Request.kind == "order"), self.expected)
        done = {id for id in orders if self.expected[id] is Status.COMPLETED}
        running = sa.select(Contract.request_id).where(Contract.request_id.in_(orders), Contract.ended_at.is_(None))
        assert Counter(session.scalars(running)) == Counter(done)
        whole = selectinload(SipTrunk.blocks), selectinload(SipTrunk.account)
        theirs = sa.select(SipTrunk).where(SipTrunk.request_id.in_(orders), SipTrunk.state != TrunkState.CLOSED)
        trunks = session.scalars(theirs.options(*whole)).all()
        assert Counter(trunk.request_id for trunk in trunks) == Counter(done)
        blocks = sa.select(NumberBlock.trunk_id).where(NumberBlock.trunk_id.in_([trunk.id for trunk in trunks]))
        added = Counter(trunk for id, trunk in self.numbers.items() if self.expected[id] is Status.COMPLETED)
        assert Counter(session.scalars(blocks)) == Counter(trunk.id for trunk in trunks) + added
        for trunk in trunks:
            assert trunk.channels == self.channels.get(trunk.id, an_order().channels)
            assert pipeline.registrar.trunks[trunk.sip_user] == record_of(trunk, pipeline.runtime.vault)
        for number, rivals in self.rivals.items():
            ends = Counter(session.scalars(sa.select(Request.status).where(Request.id.in_(rivals))))
            assert ends == {Status.COMPLETED: 1, Status.REJECTED: 1}, number
        _compare_hierarchy(session)
        self._compare_places(session)
        self._compare_messages(session, pipeline, done, {row.id for row in placed})

    def _compare_places(self, session: Session) -> None:
        """Assert that each account is where its last completed move has brought it, with numbers of that place."""
        # Of an account one move runs at a time.
        last = {id: to for move, (id, to) in self.moves.items() if self.expected[move] is Status.COMPLETED}
        for account in session.scalars(sa.select(Account).where(Account.id.in_(last))):
            place = last[account.id]
            assert (account.street, account.postal_code) == (place.street, place.postal_code)
            blocks = sa.select(NumberBlock.area_code).where(NumberBlock.account_id == account.id)
            assert set(session.scalars(blocks)) == {"089" if place.city == "München" else "030"}
        reserved = sa.select(sa.func.count()).where(NumberBlock.available_from == RESERVED)
        waiting = sa.select(sa.func.count()).where(Request.reserved_block_id.is_not(None), Request.ended_at.is_(None))
        assert session.scalar(reserved) == session.scalar(waiting)

    def _compare_messages(self, session: Session, pipeline: Pipeline, done: set[UUID], placed: set[UUID]) -> None:
        """Assert that all messages were sent, and that none is missing or doubled.

        Each completed order has its confirmations, each request its receipt, and each bulk file its receipt and the
        mail about its end. `done` are the ids of the completed orders, `placed` those of the orders from bulk files.
        """
        owed = session.scalars(sa.select(Message).where(Message.request_id.in_(self.expected))).all()
        sent = {mail.message_id for mail in pipeline.mailer.sent}
        sent |= {letter.key for letter in pipeline.printer.printed}
        domain = pipeline.runtime.mail_domain
        assert all(message.key in sent or message.message_id(domain) in sent for message in owed)
        told = Counter((message.request_id, message.template) for message in owed)
        ended = [id for id in self.approved if self.expected[id] is Status.COMPLETED]
        assert all(told[id, "approval_asked"] == told[id, "approval_given"] == 1 for id in ended)
        assert all(told[id, template] == 1 for id in done - placed for template in COMPLETED)
        detaches = select_ids(session, sa.select(Request.id).where(Request.kind == Kind.DETACH), self.expected)
        receipts = Counter(message.request_id for message in owed if message.template in RECEIPTS)
        assert receipts == Counter(self.expected.keys() - placed - detaches)
        files = sa.select(Message.template, Message.occasion).where(
            Message.occasion.in_([str(id) for id in self.files])
        )
        wanted = {(template, str(id)) for id in self.files for template in ("bulk_receipt", "bulk_ended")}
        assert Counter((row.template, row.occasion) for row in session.execute(files)) == Counter(wanted)


def _compare_hierarchy(session: Session) -> None:
    """Assert that each account has the main account that the last completed request about it has given it."""
    done = sa.select(Request).where(Request.status == Status.COMPLETED, Request.kind.not_in(CONTRACT_CHANGES))
    last = {request.account_id: request for request in session.scalars(done.order_by(Request.ended_at, Request.id))}
    for account in session.scalars(sa.select(Account).where(Account.id.in_(last))):
        request = last[account.id]
        assert account.main_id == (None if request.kind is Kind.DETACH else request.main_id)


def select_ids(session: Session, which: sa.Select[UUID], among: dict[UUID, Status]) -> set[UUID]:
    """Return the ids that the query `which`, a query for ids of requests, finds among the keys of `among`."""
    return set(session.scalars(which.where(Request.id.in_(among))))
