"""Tests that random histories of what customers do, of outages and of dying workers end as a simple model says.

With HISTORIES=1000 in the environment there are so many histories, others in each run; without it, a few that are the
same in each run.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.contracts import Contract
from models.db.session import Database
from models.errors import DomainError, TooLate
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import User
from models.requests.requests import Request
from models.states import AccountState, Kind, Reason, Status
from models.telephony import sip_secrets, suspension
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.outbox.receipt_facts import RECEIPTS
from tasks.ports import GatewayUnavailable
from tasks.registrar.trunks import record_of
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

    The model: `expected` has the final status of each request by its id, `rivals` the link requests about one account
    by its customer number, of which one at most is completed, and `channels` what each changed trunk has in the end.
    """

    pipeline: Pipeline
    requests: Bundle[UUID] = Bundle("requests")
    works = st.sampled_from([process_due, advance_requests, sync_registrar, send_messages])

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[UUID, Status] = {}
        self.rivals: defaultdict[str, list[UUID]] = defaultdict(list)
        self.channels: dict[int, int] = {}
        self.customers: list[tuple[Account, Principal]] = []
        with self.pipeline.runtime.database.transaction() as session:
            for _ in range(2):
                main, manager = make_main(session)
                prove_contact(session, main)
                self.customers.append((main, manager))
        for who in range(2):
            self.order(who)
            self.link(who)
        for _ in range(3):
            process_due(self.pipeline.runtime)

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

    @rule()
    def both_link_the_same(self) -> None:
        """Let both customers request a link to the same account: the model expects that one of them gets it."""
        with self.pipeline.runtime.database.transaction() as session:
            owner = make_user(session)
            account = make_account(session, administrator=owner)
        for main, manager in self.customers:
            id = self.pipeline.link(a_link(account, email=owner.email), manager, main)
            self.rivals[account.customer_number].append(id)

    @rule(who=st.integers(0, 1))
    def detach(self, who: int) -> None:
        """Detach the first linked account of customer number `who`, if there is one that can be detached."""
        main, manager = self.customers[who]
        linked = sa.select(Account).where(Account.main_id == main.id, ~Account.id.in_(_ordered())).order_by(Account.id)
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            account = session.scalar(linked.limit(1))
            if account is not None:
                self._expect(submit_detach(session, manager, account, "de", self.pipeline.clock.now))

    @rule(who=st.integers(0, 1), channels=st.integers(2, 10))
    def change(self, who: int, channels: int) -> None:
        """Change the newest contract of customer number `who`, if there is one that can be changed so."""
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self._trunk(session, who)
            if trunk is not None:
                draft = ChangeDraft("trunk-10", channels, None, "de")
                manager, now = self.customers[who][1], self.pipeline.clock.now
                self._expect(submit_change(session, manager, trunk.account, trunk.id, draft, now))
                self.channels[trunk.id] = channels

    @rule(who=st.integers(0, 1), suspended=st.booleans())
    def change_the_trunk(self, who: int, suspended: bool) -> None:
        """Renew the secret of the newest trunk of customer number `who`, or suspend or resume it, if there is one."""
        manager, now = self.customers[who][1], self.pipeline.clock.now
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self._trunk(session, who)
            if trunk is None:
                return
            if suspended:
                act = suspension.suspend if trunk.state is TrunkState.ACTIVE else suspension.resume
                act(session, manager, trunk.account, trunk.id, now)
            else:
                issue = sip_secrets.issue_of(trunk)
                sip_secrets.renew(session, self.pipeline.runtime.vault, manager, trunk.account, trunk.id, issue, now)

    def _trunk(self, session: Session, who: int) -> SipTrunk | None:
        mine = Account.main_id == self.customers[who][0].id, Account.state == AccountState.ACTIVE
        newest = sa.select(SipTrunk).join(Account).where(*mine).order_by(SipTrunk.id.desc()).limit(1)
        return session.scalar(newest.options(selectinload(SipTrunk.account)))

    def _expect(self, request: Request) -> None:
        self.expected[request.id] = Status.COMPLETED

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

    @rule(times=st.integers(1, 3), who=st.integers(0, 1))
    def the_mail_server_fails(self, times: int, who: int) -> None:
        """Make the mail server fail for the next `times` mails to customer number `who`."""
        with self.pipeline.runtime.database.transaction() as session:
            address = session.get_one(User, self.customers[who][1].user_id).email
        self.pipeline.mailer.failures.setdefault(address, []).extend([GatewayUnavailable("down")] * times)

    @rule(seconds=st.sampled_from([1, 5, 30, 100]))
    def time_passes(self, seconds: int) -> None:
        """Advance the clock by `seconds`, so that retries become due and leases of dead workers end."""
        self.pipeline.clock.advance(timedelta(seconds=seconds))

    def teardown(self) -> None:
        """Let the registrar work again and run the workers until nothing is due; compare the rows with the model."""
        self.pipeline.registrar.failures.clear()
        self.pipeline.mailer.failures.clear()
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
        whole = selectinload(SipTrunk.blocks), selectinload(SipTrunk.account)
        trunks = session.scalars(sa.select(SipTrunk).where(SipTrunk.request_id.in_(orders)).options(*whole)).all()
        assert Counter(trunk.request_id for trunk in trunks) == Counter(done)
        blocks = sa.select(NumberBlock.trunk_id).where(NumberBlock.trunk_id.in_([trunk.id for trunk in trunks]))
        assert Counter(session.scalars(blocks)) == Counter(trunk.id for trunk in trunks)
        for trunk in trunks:
            assert trunk.channels == self.channels.get(trunk.id, an_order().channels)
            assert self.pipeline.registrar.trunks[trunk.sip_user] == record_of(trunk, self.pipeline.runtime.vault)
        for number, rivals in self.rivals.items():
            ends = Counter(session.scalars(sa.select(Request.status).where(Request.id.in_(rivals))))
            assert ends == {Status.COMPLETED: 1, Status.REJECTED: 1}, number
        self._compare_hierarchy(session)
        owed = session.scalars(sa.select(Message).where(Message.request_id.in_(self.expected))).all()
        sent = {mail.message_id for mail in self.pipeline.mailer.sent}
        assert {message.message_id(self.pipeline.runtime.mail_domain) for message in owed} <= sent
        receipts = Counter(message.request_id for message in owed if message.template in RECEIPTS)
        detaches = select_ids(session, sa.select(Request.id).where(Request.kind == "detach"), self.expected)
        assert receipts == Counter(self.expected.keys() - detaches)
        others = (message.request_id for message in owed if message.template not in RECEIPTS)
        assert Counter(id for id in others if id in done) == Counter(dict.fromkeys(done, 2))

    def _compare_hierarchy(self, session: Session) -> None:
        """Compare who is whose sub-account with the completed requests: the last one about an account decides."""
        done = sa.select(Request).where(Request.status == Status.COMPLETED, Request.kind != Kind.CHANGE)
        last = {request.account_id: request for request in session.scalars(done.order_by(Request.ended_at, Request.id))}
        for account in session.scalars(sa.select(Account).where(Account.id.in_(last))):
            request = last[account.id]
            assert account.main_id == (None if request.kind is Kind.DETACH else request.main_id)


def _ordered() -> sa.Select[int | None]:
    return sa.select(Request.account_id).where(Request.kind == Kind.ORDER)


def select_ids(session: Session, which: sa.Select[UUID], among: dict[UUID, Status]) -> set[UUID]:
    """Return the ids of requests in `among` that the query `which` selects."""
    return set(session.scalars(which.where(Request.id.in_(among))))


def test_every_history_ends_as_the_model_says(pipeline: Pipeline) -> None:
    wanted = int(os.environ.get("HISTORIES", "0"))
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, first="23200000", count=3000)

    class OfThisPipeline(History):
        pass

    OfThisPipeline.pipeline = pipeline
    run_state_machine_as_test(
        OfThisPipeline,
        settings=settings(
            max_examples=wanted or 12,
            stateful_step_count=20,
            derandomize=not wanted,
            suppress_health_check=list(HealthCheck),
        ),
    )
