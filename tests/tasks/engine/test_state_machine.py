"""Tests that random histories end as a simple model says.

A history consists of what customers and staff do, of outages, scheduled jobs, and workers that die. With HISTORIES=1000
in the environment there are 1000 histories, different ones in each run; without it a few, the same in each run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, consumes, multiple, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from models.bulk.bulk import Bulk
from models.changes.changes import ChangeDraft, submit_change
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.db.session import Database
from models.errors import DomainError, TooLate
from models.messages.outbox import Message
from models.orders.orders import Location, OrderDraft, cancel_and_release
from models.people.users import User, principal_of
from models.proofs.order_codes import confirm_email, enter_letter_code
from models.proofs.proof_book import ProofBook
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.staff.request_actions import retry
from models.states import Reason, Status
from models.telephony import sip_secrets, suspension
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.bulk.place import place_due
from tasks.celery_tasks import sweep
from tasks.hints import sending_app
from tasks.ports import GatewayRefused, GatewayUnavailable
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tests.due_work import advance_requests, process_due, send_messages, sync_registrar
from tests.factories import (
    an_order,
    fill_pool,
    make_bulk,
    make_main,
    make_staff,
    prove_contact,
    sites,
)
from tests.mortal_database import Death, Mortal
from tests.tasks.conftest import Pipeline
from tests.tasks.engine.approved_and_moved import ApprovedAndMoved, prove_places
from tests.tasks.engine.existing_accounts import WRONG
from tests.tasks.engine.history_model import Model

LONG_ENOUGH = 40
"""The number of rounds of two minutes, by the test's clock, within which every retry, pause and lease ends."""
NO_NUMBERS = an_order(
    location=Location("Filiale Bielefeld", "Alter Markt 2", "33602", "Bielefeld"),
    contact=replace(an_order().contact, email="bielefeld@example.com"),
    area_code="0521",
)
"""An order in an area for which the pool has no numbers, until more are bought."""


def run_one(name: str, runtime: Runtime) -> None:
    """Run the scheduled job of this name. Does nothing if a run whose worker has died still holds the job."""
    run_job(runtime, JOBS[name], by_hand=True)


def place_files(runtime: Runtime) -> None:
    """Turn one batch of rows of bulk files into requests."""
    place_due(runtime, lambda: None)


class History(ApprovedAndMoved):
    """Random actions of customers, staff, workers, scheduled jobs and outside systems, and a model of their results."""

    requests = ApprovedAndMoved.requests
    works = st.sampled_from([process_due, advance_requests, sync_registrar, send_messages, place_files])
    jobs = st.sampled_from([sweep, *(partial(run_one, name) for name in JOBS)])
    mostly = st.sampled_from([True, True, False])
    numbers = count(1)

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.customers = []
        with self.pipeline.owner.transaction() as session:
            self.staff = principal_of(session, make_staff(session))
        with self.pipeline.runtime.database.transaction() as session:
            for _ in range(2):
                main, manager = make_main(session)
                for draft in (an_order(), NO_NUMBERS):
                    prove_contact(session, main, draft)
                prove_places(session, main, self.pipeline.clock.now)
                self.customers.append((main, manager))
            self.begin_careful(session)
        for who in range(2):
            self.order(who)
            self.link(who)
        # For one of them the letter's code comes first, for the other the mail's.
        halves = {self._order_unproved(who): what for who, what in enumerate(("letter", "email"))}
        for _ in range(3):
            process_due(self.pipeline.runtime)
        for id, what in halves.items():
            self._type(id, what, right=True)

    @rule(target=requests, who=st.integers(0, 1), has_numbers=mostly)
    def order(self, who: int, has_numbers: bool = True) -> UUID:
        """Place an order as customer `who` (0 or 1); the model expects that it is completed. Return its id.

        With `has_numbers`, the number pool has numbers for the order; without, the order is held until the carrier adds
        some.
        """
        id = self._order(who, an_order() if has_numbers else NO_NUMBERS)
        self.model.expected[id] = Status.COMPLETED
        return id

    @rule(target=requests, who=st.integers(0, 1))
    def order_for_a_new_contact(self, who: int) -> UUID:
        """Place an order as customer `who` (0 or 1) with an unproved contact and address.

        The model expects that it waits for both proofs. Return its id.
        """
        return self._order_unproved(who)

    def _order_unproved(self, who: int) -> UUID:
        number, usual = next(self.numbers), an_order()
        contact = replace(usual.contact, email=f"contact{number}@example.com")
        place = replace(usual.location, street=f"Torstr. {number}", postal_code="10119")
        id = self._order(who, an_order(contact=contact, location=place))
        self.model.expected[id], self.model.asked[id] = Status.PENDING, {"email", "letter"}
        return id

    def _order(self, who: int, draft: OrderDraft) -> UUID:
        self.pipeline.manager = self.customers[who][1]
        return self.pipeline.order(draft, self.customers[who][0])

    @rule(
        place=st.integers(0, 5), what=st.sampled_from(["email", "letter"]), right=st.sampled_from([True, True, False])
    )
    def type_a_code(self, place: int, what: str, right: bool) -> None:
        """Enter the code from the mail or letter of one of the orders that lack it, or a wrong code if not `right`.

        `what` is the kind of code: "email" or "letter". `place` chooses the order: its index, modulo the number of
        orders that lack such a code. Does nothing if there is none.
        """
        waiting = [id for id, lacks in self.model.asked.items() if what in lacks]
        if waiting:
            self._type(waiting[place % len(waiting)], what, right)

    def _type(self, id: UUID, what: str, right: bool) -> None:
        vault, now = self.pipeline.runtime.vault, self.pipeline.clock.now
        with self.pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, id)
            book = ProofBook(session, [request])
            proof = book.email(request) if what == "email" else book.address(request)
            code = vault.code(*proof.words()) if right and proof is not None and proof.sent_issue else WRONG
            enter = confirm_email if what == "email" else enter_letter_code
            # Before a worker has looked at the order nobody is asked.
            accepted = proof is not None and enter(session, vault, request, code, now)
        assert accepted == (code != WRONG)
        if accepted:
            self.model.asked[id].remove(what)
            if not self.model.asked[id]:
                self.model.expected[id] = Status.COMPLETED

    @rule(who=st.integers(0, 1))
    def send_a_file(self, who: int) -> None:
        """Send a bulk file of two orders as customer `who` (0 or 1); the model expects that both are completed."""
        main, manager = self.customers[who]
        with self.pipeline.runtime.database.transaction() as session:
            file = make_bulk(session, manager, main, sites(2, first=10 * next(self.numbers)))
            file.send(self.pipeline.clock.now)
            self.model.files[file.id] = 2

    @rule(who=st.integers(0, 1), channels=st.integers(2, 10))
    def change(self, who: int, channels: int) -> None:
        """Request `channels` channels for the newest trunk of customer `who` (0 or 1).

        Does nothing if there is none, or if a rule forbids it.
        """
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self._trunk(session, who)
            if trunk is not None:
                draft = ChangeDraft("trunk-10", channels, None, "de")
                manager, now = self.customers[who][1], self.pipeline.clock.now
                self._expect(submit_change(session, manager, trunk.account, trunk.id, draft, now))
                self.model.channels[trunk.id] = channels

    @rule(target=requests, who=st.integers(0, 1))
    def ask_for_more_numbers(self, who: int) -> MultipleResults[UUID]:
        """Request ten more numbers for the newest trunk of customer `who` (0 or 1).

        The model expects that the request is completed. Return its id; nothing if there is no trunk, or if a rule
        forbids the request.
        """
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self._trunk(session, who)
            if trunk is not None:
                draft = NumbersDraft("030", 10, None, "de")
                manager, now = self.customers[who][1], self.pipeline.clock.now
                request = submit_numbers(session, manager, trunk.account, trunk.id, draft, now)
                self._expect(request)
                self.model.numbers[request.id] = trunk.id
                return multiple(request.id)
        return multiple()

    @rule(who=st.integers(0, 1), suspended=st.booleans())
    def change_the_trunk(self, who: int, suspended: bool) -> None:
        """Change the newest trunk of customer `who` (0 or 1), if there is one, without a request.

        With `suspended`, suspend it, or resume it if it is suspended already. Otherwise renew its SIP password.
        """
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
        return self.newest_trunk(session, self.customers[who][0])

    @rule(id=consumes(requests))
    def cancel(self, id: UUID) -> None:
        """Cancel the request, as the customer who made it.

        If it is too late for that, the request continues, and the model does not change.
        """
        with self.pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, id, with_for_update=True)
            try:
                cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, self.pipeline.clock.now)
            except TooLate:
                return
        self.model.decide(id, Status.CANCELLED)
        self.model.asked.pop(id, None)
        self.model.consents.pop(id, None)

    @rule()
    def staff_tries_again(self) -> None:
        """Let staff retry all held and failed requests. The model does not change."""
        self._retry_all()

    def _retry_all(self) -> bool:
        """Retry all held and failed requests as staff; return whether there were any."""
        with self.pipeline.runtime.database.transaction() as session:
            stuck = sa.select(Request.id).where(Request.status.in_((Status.HELD, Status.FAILED))).order_by(Request.id)
            found = session.scalars(stuck).all()
            for id in found:
                seen = session.scalar(sa.select(sa.func.max(TimelineEntry.id)).where(TimelineEntry.request_id == id))
                retry(session, self.staff, id, seen or 0, self.pipeline.clock.now)
        return bool(found)

    @rule(work=works)
    def a_worker_works(self, work: Any) -> None:
        """Let the workers do one batch of one kind of work: `work` is the function of the product that does it."""
        work(self.pipeline.runtime)

    @rule(job=jobs)
    def a_job_runs(self, job: Callable[[Runtime], object]) -> None:
        """Call `job`, which runs a scheduled job, or the task `sweep`, which sends Celery messages for due work.
        The model does not change.
        """
        job(self.pipeline.runtime)

    @rule(work=works | jobs, commits=st.integers(1, 6), before=st.booleans())
    def a_worker_dies(self, work: Any, commits: int, before: bool) -> None:
        """Do one batch of one kind of work as a worker that dies at its commit number `commits`.

        `before`: it dies before this commit takes effect, otherwise right after. A batch with fewer commits is
        finished.
        """
        mortal = cast(Database, Mortal(self.pipeline.runtime.database, commits, before=before))
        try:
            work(replace(self.pipeline.runtime, database=mortal))
        except Death:
            return

    @rule(times=st.integers(1, 3))
    def the_registrar_fails(self, times: int) -> None:
        """Make the registrar unavailable for the next `times` trunks that are written."""
        self.pipeline.registrar.failures += [GatewayUnavailable("down")] * times

    @rule()
    def the_registrar_refuses(self) -> None:
        """Make the registrar refuse the next trunk that is written.

        If it is written for a new order, the order fails until staff retry it. Otherwise workers write it again later.
        """
        self.pipeline.registrar.failures.append(GatewayRefused("no"))

    @rule(times=st.integers(1, 3))
    def the_printer_fails(self, times: int) -> None:
        """Make the printing of the next `times` letters fail."""
        self.pipeline.printer.failures += [GatewayUnavailable("disk full")] * times

    @rule(times=st.integers(1, 3), who=st.integers(0, 1))
    def the_mail_server_fails(self, times: int, who: int) -> None:
        """Make the mail server unavailable for the next `times` mails to the manager of customer `who` (0 or 1)."""
        with self.pipeline.runtime.database.transaction() as session:
            address = session.get_one(User, self.customers[who][1].user_id).email
        self.pipeline.mailer.failures.setdefault(address, []).extend([GatewayUnavailable("down")] * times)

    @rule(seconds=st.sampled_from([1, 5, 30, 100]))
    def time_passes(self, seconds: int) -> None:
        """Advance the clock by `seconds`, so that retries become due and the claims of dead workers expire."""
        self.pipeline.clock.advance(timedelta(seconds=seconds))

    def teardown(self) -> None:
        """End all outages, run workers and staff until nothing is due, and compare the rows with the model."""
        self.pipeline.registrar.failures.clear()
        self.pipeline.mailer.failures.clear()
        self.pipeline.printer.failures.clear()
        # Who has given one of two proofs gives the other one, too.
        for id, lacks in self.model.asked.items():
            if len(lacks) == 1:
                self._type(id, next(iter(lacks)), right=True)
        for _ in range(LONG_ENOUGH):
            self.pipeline.clock.advance(timedelta(minutes=2))
            self._buy_numbers()
            process_due(self.pipeline.runtime)
            if not self._due() and not self._retry_all() and not self._let_go():
                break
        with self.pipeline.runtime.database.transaction() as session:
            self.model.compare(session, self.pipeline)

    def _buy_numbers(self) -> None:
        with self.pipeline.runtime.database.transaction() as session:
            lacking = sa.select(sa.func.count()).where(Request.reason == Reason.NO_NUMBERS_AVAILABLE)
            missing = session.scalar(lacking.where(Request.status == Status.HELD)) or 0
            for _ in range(missing):
                fill_pool(session, area_code="0521", count=1, first=str(4000000 + 10 * next(self.numbers)))

    def _due(self) -> bool:
        """Return whether a request, message, trunk or bulk file is due within the hour.

        Reminders of proofs do not count, because they are due only after days.
        """
        soon = self.pipeline.clock.now + timedelta(hours=1)
        with self.pipeline.runtime.database.transaction() as session:
            return any(
                session.scalar(sa.select(sa.exists().where(table.due_at <= soon)))
                for table in (Request, Message, SipTrunk, Bulk)
            )


def test_every_history_ends_as_the_model_says(pipeline: Pipeline, redis_url: str) -> None:
    wanted = int(os.environ.get("HISTORIES", "0"))
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, first="23200000", count=3000)
        fill_pool(session, area_code="089", first="20000000", count=3000)

    class OfThisPipeline(History):
        pass

    OfThisPipeline.pipeline = pipeline
    with sending_app("tests", redis_url):
        run_state_machine_as_test(
            OfThisPipeline,
            settings=settings(
                max_examples=wanted or 10,
                stateful_step_count=20,
                derandomize=not wanted,
                suppress_health_check=list(HealthCheck),
            ),
        )
