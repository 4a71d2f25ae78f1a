"""The portal's and Kamailio's databases together, for tests of the scheduled job `registrar`, which compares them."""

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
    """The portal's and Kamailio's databases, and methods that run the scheduled job `registrar` and check its result.

    `kamailio` is a connection to Kamailio's database.
    """

    runtime: Runtime
    clock: FakeClock
    kamailio: psycopg.Connection

    def by_hand(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Execute an SQL statement in Kamailio's database, bypassing the portal; return its rows, if it has any."""
        cursor = self.kamailio.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def everything(self) -> Tables:
        """Return the sorted rows of each table that Kamailio reads, without row ids and times, which always differ."""
        return [sorted(self.by_hand(rows), key=str) for rows in ROWS]

    def run(self, *, dry: bool = False, allow_removals: bool = False) -> JobRun:
        run = run_job(self.runtime, JOBS["registrar"], dry=dry, by_hand=True, allow_removals=allow_removals)
        assert run is not None and run.outcome is Outcome.DONE
        return run

    def findings(self, run: JobRun) -> list[Finding]:
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=100))

    def write(self) -> None:
        """Write due trunks and number blocks to Kamailio's database as a worker does.

        It does so three times, and after each time advances the clock so far that a failed write is due again.
        """
        for _ in range(3):
            sync_registrar(self.runtime)
            self.clock.advance(self.runtime.retry.first * 2)

    def mended(self, before: Tables, *found: tuple[str, str]) -> list[Finding]:
        """Run the job `registrar` with permission to delete; assert that it finds exactly `found`, and repairs it all.

        `found` are pairs of kind and subject of a finding. A dry run before must have the same findings and change
        nothing. Afterwards Kamailio's tables must equal `before`, and another run must find nothing. Return the
        findings of the real run.
        """
        spoilt = self.everything()
        dry = self.findings(self.run(dry=True, allow_removals=True))
        assert self.everything() == spoilt
        real = self.findings(self.run(allow_removals=True))
        for findings in (dry, real):
            assert sorted((finding.kind, finding.subject) for finding in findings) == sorted(found)
            assert all(finding.repaired for finding in findings)
        self.write()
        assert self.everything() == before
        assert self.run().found == {}
        return real
