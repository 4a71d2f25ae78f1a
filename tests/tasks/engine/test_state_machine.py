"""Tests that random histories of orders, links, cancellations and outages end as a simple model says.

Workers die in them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.db.session import Database
from models.errors import TooLate
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.outbox.receipt_facts import RECEIPTS
from tasks.ports import GatewayUnavailable
from tests.due_work import advance_requests, process_due, send_messages, sync_registrar
from tests.factories import a_link, an_order, fill_pool, make_account, make_main, make_user, prove_contact
from tests.tasks.conftest import Pipeline

LONG_ENOUGH = 40
"""Rounds of two minutes in which every retry, pause and lease comes to its end."""


class Death(BaseException):
    """Raised to end the worker's code at a commit, as if its process was killed."""


class Mortal:
    """A database whose user dies at the commit of the transaction with the number `commits`.

    `before`: the user dies before the commit takes effect, and not after it.
    """

    def __init__(self, database: Database, commits: int, *, before: bool) -> None:
        self._database = database
        self._left = commits
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction as the real database does; raise `Death` before or after the commit that is fatal."""
        self._left -= 1
        with self._database.transaction() as session:
            yield session
            if self._left == 0 and self._before:
                raise Death
        if self._left == 0:
            raise Death


class History(RuleBasedStateMachine):
    """Actions of customers, workers and outside systems, in any order, and a model of them.

    The model is `expected`: the final status of each request by its id.
    """

    pipeline: Pipeline
    requests: Bundle[UUID] = Bundle("requests")
    works = st.sampled_from([advance_requests, sync_registrar, send_messages])

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[UUID, Status] = {}
        self.customers: list[tuple[Account, Principal]] = []
        with self.pipeline.runtime.database.transaction() as session:
            for _ in range(2):
                main, manager = make_main(session)
                prove_contact(session, main)
                self.customers.append((main, manager))

    @rule(target=requests, who=st.integers(0, 1))
    def order(self, who: int) -> UUID:
        """Order as customer number `who`; the model expects the order to be completed. Return its id."""
        self.pipeline.manager = self.customers[who][1]
        id = self.pipeline.order(an_order(), self.customers[who][0])
        self.expected[id] = Status.COMPLETED
        return id

    @rule(target=requests, who=st.integers(0, 1))
    def link(self, who: int) -> UUID:
        """Request a link as customer number `who`, with the login of the account's administrator.

        The model expects the request to be completed. Return its id.
        """
        with self.pipeline.runtime.database.transaction() as session:
            owner = make_user(session)
            account = make_account(session, administrator=owner)
        main, manager = self.customers[who]
        id = self.pipeline.link(a_link(account, email=owner.email), manager, main)
        self.expected[id] = Status.COMPLETED
        return id

    @rule(id=consumes(requests))
    def cancel(self, id: UUID) -> None:
        """Cancel the request as its customer.

        If it is too late for that, the request goes on, and the model does not change.
        """
        with self.pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, id, with_for_update=True)
            try:
                cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, self.pipeline.clock.now)
            except TooLate:
                return
        self.expected[id] = Status.CANCELLED

    @rule(work=works)
    def a_worker_works(self, work: Any) -> None:
        """Do one batch of the kind of work `work`, a function that takes the runtime."""
        work(self.pipeline.runtime)

    @rule(work=works, commits=st.integers(1, 6), before=st.booleans())
    def a_worker_dies(self, work: Any, commits: int, before: bool) -> None:
        """Do one batch of the kind of work `work`, and die at the commit with the number `commits`.

        `before`: die before this commit takes effect, not after it. A batch with fewer commits is finished.
        """
        mortal = cast(Database, Mortal(self.pipeline.runtime.database, commits, before=before))
        try:
            work(replace(self.pipeline.runtime, database=mortal))
        except Death:
            return

    @rule(times=st.integers(1, 3))
    def the_registrar_fails(self, times: int) -> None:
        """Make the registrar fail for the next `times` trunks that are written."""
        self.pipeline.registrar.failures += [GatewayUnavailable("down")] * times

    @rule(seconds=st.sampled_from([1, 5, 30, 100]))
    def time_passes(self, seconds: int) -> None:
        """Advance the clock by `seconds`, so that retries become due and leases of dead workers end."""
        self.pipeline.clock.advance(timedelta(seconds=seconds))

    def teardown(self) -> None:
        """Let the registrar work again and run the workers until nothing is due; compare the rows with the model."""
        self.pipeline.registrar.failures.clear()
        for _ in range(LONG_ENOUGH):
            self.pipeline.clock.advance(timedelta(minutes=2))
            process_due(self.pipeline.runtime)
            if not self._due():
                break
        with self.pipeline.runtime.database.transaction() as session:
            self._compare(session)

    def _due(self) -> bool:
        with self.pipeline.runtime.database.transaction() as session:
            return any(
                session.scalar(sa.select(sa.exists().where(table.due_at.is_not(None))))
                for table in (Request, Message, SipTrunk)
            )

    def _compare(self, session: Session) -> None:
        ours = sa.select(Request.id, Request.status).where(Request.id.in_(self.expected))
        assert {row.id: row.status for row in session.execute(ours)} == self.expected
        orders = select_ids(session, sa.select(Request.id).where(Request.kind == "order"), self.expected)
        done = {id for id in orders if self.expected[id] is Status.COMPLETED}
        contracts = Counter(session.scalars(sa.select(Contract.request_id).where(Contract.request_id.in_(orders))))
        assert contracts == Counter(done)
        trunks = session.scalars(sa.select(SipTrunk).where(SipTrunk.request_id.in_(orders))).all()
        assert Counter(trunk.request_id for trunk in trunks) == Counter(done)
        blocks = sa.select(NumberBlock.trunk_id).where(NumberBlock.trunk_id.in_([trunk.id for trunk in trunks]))
        assert Counter(session.scalars(blocks)) == Counter(trunk.id for trunk in trunks)
        assert {trunk.sip_user for trunk in trunks} <= self.pipeline.registrar.trunks.keys()
        owed = session.scalars(sa.select(Message).where(Message.request_id.in_(self.expected))).all()
        sent = {mail.message_id for mail in self.pipeline.mailer.sent}
        assert {message.message_id(self.pipeline.runtime.mail_domain) for message in owed} <= sent
        receipts = Counter(message.request_id for message in owed if message.template in RECEIPTS)
        assert receipts == Counter(self.expected.keys())
        others = (message.request_id for message in owed if message.template not in RECEIPTS)
        assert Counter(id for id in others if id in done) == Counter(dict.fromkeys(done, 2))


def select_ids(session: Session, which: sa.Select[UUID], among: dict[UUID, Status]) -> set[UUID]:
    """Return the ids of requests in `among` that the query `which` selects."""
    return set(session.scalars(which.where(Request.id.in_(among))))


def test_every_history_ends_as_the_model_says(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, first="23200000", count=3000)

    class OfThisPipeline(History):
        pass

    OfThisPipeline.pipeline = pipeline
    run_state_machine_as_test(
        OfThisPipeline,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
