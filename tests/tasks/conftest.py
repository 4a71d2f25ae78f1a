"""Fixtures of the tests of workers' code: a real PostgreSQL, fakes of outside systems, and a clock under control."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from models.accounts.accounts import Account
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import JobRun
from models.links.links import LinkDraft, submit_link
from models.orders.orders import OrderDraft
from models.people.rights import Principal
from models.requests.requests import Request
from models.vault import Vault
from models.views.request_lists import timelines
from tasks.ports import Ports
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tests.due_work import process_due, send_messages
from tests.factories import PLENTY, fill_pool, make_main, prove_contact, submit_order
from tests.fakes import FakeClock, FakeMailer, FakePrinter, FakeRegistrar


@dataclass
class Pipeline:
    """The workers' code with fakes of outside systems and a main account, and methods to submit requests and run it.

    `manager` is the administrator of `main`. `hints` gets the entry "more" whenever the code has found a full batch, so
    that more rows may be due. `told` are the kinds of work for which committed transactions made rows due.
    """

    runtime: Runtime
    owner: Database
    """The portal's database connected as its owner, for what workers may not do."""
    registrar: FakeRegistrar
    mailer: FakeMailer
    printer: FakePrinter
    clock: FakeClock
    main: Account
    manager: Principal
    hints: list[str] = field(default_factory=list)
    told: list[WorkKind] = field(default_factory=list)
    """The kinds of work that became due, in the order of the commits."""

    def order(self, draft: OrderDraft, main: Account | None = None) -> UUID:
        """Submit an order for the account `main` (None: the pipeline's main account); return the request's id."""
        with self.runtime.database.transaction() as session:
            return submit_order(session, self.manager, main or self.main, draft, self.clock.now).id

    def link(self, draft: LinkDraft, manager: Principal | None = None, main: Account | None = None) -> UUID:
        """Submit a link request as `manager` for the account `main`; return the request's id.

        Where they are None, the pipeline's manager and main account are used.
        """
        with self.runtime.database.transaction() as session:
            vault = self.runtime.vault
            return submit_link(session, vault, manager or self.manager, main or self.main, draft, self.clock.now).id

    def advance(self) -> None:
        """Do one batch of each kind of due work: requests, registrar, messages and bulk files."""
        process_due(self.runtime, lambda: self.hints.append("more"))

    def send(self) -> None:
        """Send one batch of due mails and letters."""
        send_messages(self.runtime, lambda: self.hints.append("more"))

    def run(self, name: str, *, dry: bool = False) -> JobRun:
        """Run the scheduled job `name` now and return the run. With `dry` it only reports what it would repair."""
        run = run_job(self.runtime, JOBS[name], dry=dry, by_hand=True)
        assert run is not None
        return run

    def findings(self, run: JobRun) -> list[Finding]:
        """Return the findings of a run of a scheduled job: what it found wrong."""
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=1000))

    def request(self, id: UUID) -> Request:
        """Return the request as it is in the database now."""
        with self.runtime.database.transaction() as session:
            return session.get_one(Request, id)

    def codes(self, id: UUID) -> list[str]:
        """Return the codes of a request's timeline entries, the oldest first."""
        with self.runtime.database.transaction() as session:
            return [entry.code for entry in timelines(session, [id])[id]]


@pytest.fixture
def database(database: Database, worker_database: Database) -> Database:
    """Provide the portal's database, connected as the workers' role; it is emptied after the test."""
    return worker_database


@pytest.fixture
def pipeline(
    database: Database, owner_database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    """Provide a `Pipeline`: the workers' code with fakes of outside systems, and a main account with an administrator.

    The account has the proofs that the example order needs, and the number pool has numbers in Berlin.
    """
    registrar, mailer, printer = FakeRegistrar(), FakeMailer(), FakePrinter()
    runtime = Runtime(
        database=database,
        ports=Ports(registrar, mailer, printer, registrar, registrar),
        vault=Vault("a key for tests"),
        clock=clock,
        sip_domain="sip.example",
        base_url="http://portal.example",
        mail_domain="portal.example",
        limits=PLENTY,
    )
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
        prove_contact(session, main)
    found = Pipeline(runtime, owner_database, registrar, mailer, printer, clock, main, manager)
    monkeypatch.setattr(database, "on_due", found.told.extend)
    monkeypatch.setattr(database, "now", clock)
    return found
