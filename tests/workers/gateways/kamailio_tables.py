"""Kamailio's database beside the portal's, for tests of the job that compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import JobRun, Outcome
from models.vault import Vault
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tests.due_work import sync_registrar
from tests.fakes import FakeClock

VAULT = Vault("a key for tests")
DOMAIN = "sip.example"
ROWS = (
    "SELECT username, domain, ha1, ha1b, password FROM subscriber",
    "SELECT alias_username, alias_domain, username, domain FROM dbaliases",
    "SELECT username, domain, attribute, value, uuid, type FROM usr_preferences",
    "SELECT username, domain, contact, ruid FROM location",
    "SELECT first_number, size FROM own_numbers",
)
Tables = list[list[tuple[Any, ...]]]


@dataclass
class Network:
    """The portal's database, Kamailio's database, and methods that run and check the scheduled job `registrar`."""

    runtime: Runtime
    clock: FakeClock
    kamailio: psycopg.Connection

    def by_hand(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Execute a statement directly in Kamailio's database, bypassing the portal, and return its rows."""
        cursor = self.kamailio.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def everything(self) -> Tables:
        """Return the rows of all tables that Kamailio reads, sorted, without row numbers and dates."""
        return [sorted(self.by_hand(rows), key=str) for rows in ROWS]

    def run(self, *, dry: bool = False, allow_removals: bool = False) -> JobRun:
        run = run_job(self.runtime, JOBS["registrar"], dry=dry, by_hand=True, allow_removals=allow_removals)
        assert run is not None and run.outcome is Outcome.DONE
        return run

    def findings(self, run: JobRun) -> list[Finding]:
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=100))

    def write(self) -> None:
        """Write due trunks and number blocks to the registrar, as a worker does, with time enough for retries."""
        for _ in range(3):
            sync_registrar(self.runtime)
            self.clock.advance(self.runtime.retry.first * 2)

    def mended(self, before: Tables, *found: tuple[str, str]) -> list[Finding]:
        """Assert that the job finds exactly `found`, all repaired, and that Kamailio's tables then equal `before`.

        `found` are pairs of kind and subject. A dry run has the same findings and changes nothing; a further run finds
        nothing. Return the findings of the real run.
        """
        spoilt = self.everything()
        dry = self.findings(self.run(dry=True))
        assert self.everything() == spoilt
        real = self.findings(self.run())
        for findings in (dry, real):
            assert sorted((finding.kind, finding.subject) for finding in findings) == sorted(found)
            assert all(finding.repaired for finding in findings)
        self.write()
        assert self.everything() == before
        assert self.run().found == {}
        return real
