"""Run a scheduled job: claim its row, work in small transactions, record the outcome.

Two runs of one job never work in parallel: every transaction of a run first locks the job's row and checks the lease.
The lease is extended as long as the run lasts, also between transactions, for example while the run reads the registrar
for minutes. If a worker dies, another run starts when the lease has ended; what the dead run committed stays. If the
worker is asked to stop, the run ends before its next transaction, and another worker can start the job immediately.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.db.transient_errors import is_outage
from models.jobs.findings import Finding
from models.jobs.jobs import Job, JobRun, LeaseLost, Outcome, begin_run, claim_job, forget_runs, keep_job
from tasks import tracing
from tasks.claims import Claim, kept_alive
from tasks.ports import GatewayError
from tasks.runtime import Runtime

log = structlog.get_logger()

LEASE = timedelta(minutes=5)
"""How long the lease of a run lasts unless it is extended: if its worker dies, another run can begin after it."""
LONGEST = timedelta(hours=1)
"""For how long the lease of a run is extended at most; as long as Celery's time limit for the task of the jobs."""
STATEMENT_LIMIT = 240.0
"""The time limit in seconds of one SQL statement of a job, which may read or delete many rows."""
_REST_AFTER, _LONGEST_REST = 0.1, 1.0
"""After so many seconds of work a scheduled run pauses for as long, at most for the second number of seconds."""
_RESTS_UNTIL = 1200.0
"""Seconds from the beginning of a run after which it no longer pauses, so that it is done before its lease ends."""
MOST_RECORDED = 1000
"""The most findings of one kind that a run records in detail; all are counted and repaired."""


class WorkerStops(Exception):
    """Raised in a run whose worker was asked to stop; another worker then runs the job from its beginning."""


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A scheduled job: its name, its interval, and the function `work`, which does the job and gets its `Run`.

    `every` is the time from the start of a successful run to the next run; after a failed run the job is retried
    earlier.
    """

    name: str
    every: timedelta
    work: Callable[[Run], None]


class Run:
    """One run of a scheduled job: opens its transactions, and collects its counts and findings.

    `id` is the id of the run's record. A `dry` run changes no data. With `allow_removals`, the run may delete rows at
    the registrar that it would otherwise keep, because their number or kind suggests a mistake of the portal. An
    `unhurried` run, for which nobody waits, pauses between its transactions for as long as it has worked. So it takes
    at most half of a processor and of a database connection from the requests of customers.
    """

    def __init__(
        self,
        runtime: Runtime,
        job: ScheduledJob,
        lease: uuid.UUID,
        id: int,
        *,
        dry: bool,
        allow_removals: bool = False,
        unhurried: bool = False,
    ) -> None:
        self.runtime = runtime
        self.job = job
        self.lease = lease
        self.id = id
        self.dry = dry
        self.allow_removals = allow_removals
        self.counts: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.unrepaired = 0
        self._fresh: list[Finding] = []
        self._unhurried = unhurried
        self._began = self._rested = time.monotonic()

    @property
    def now(self) -> datetime:
        """Return the current time by the runtime's clock, in UTC."""
        return self.runtime.clock()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that extends the run's lease, and at its end saves the findings made in it.

        A dry run rolls back all other changes. Raises `LeaseLost` if another run has claimed the job, because this
        run's lease had ended, and `WorkerStops` if the worker was asked to stop.
        """
        self._rest()
        if self.runtime.stopping():
            raise WorkerStops(self.job.name)
        self._fresh.clear()
        with self.runtime.database.transaction(statement_limit=STATEMENT_LIMIT) as session:
            began = self.now
            job = keep_job(session, self.job.name, lease=self.lease, until=began + LEASE)
            if self.dry:
                with session.begin_nested() as undone:
                    yield session
                    undone.rollback()
            else:
                yield session
            session.add_all(self._to_record())
            if self.now - began > LEASE / 3:
                # While the job's row is locked here, nothing else can keep the lease alive.
                job.due_at = self.now + LEASE
        self.found.update(finding.kind for finding in self._fresh)
        self.unrepaired += sum(not finding.repaired for finding in self._fresh)
        self._fresh.clear()

    def _rest(self) -> None:
        now = time.monotonic()
        worked = now - self._rested
        if self._unhurried and worked > _REST_AFTER and now - self._began < _RESTS_UNTIL:
            time.sleep(min(worked, _LONGEST_REST))
            self._rested = time.monotonic()

    def find(self, kind: str, subject: str, *, repaired: bool, **facts: Any) -> None:
        """Record something that the job has found wrong. Call it inside `transaction`, which saves the finding.

        `kind` is a key of `tasks.wording.findings.FINDINGS`, which has its sentence; `facts` are the values in that
        sentence. `subject` identifies what is wrong, such as a request's id; `repaired` is whether the run repairs it,
        or would if it were not dry. Of each kind, a run saves at most 1,000 findings (`MOST_RECORDED`), and counts all.
        """
        self._fresh.append(Finding(run_id=self.id, kind=kind, subject=subject, facts=facts, repaired=repaired))

    def _to_record(self) -> list[Finding]:
        so_far = Counter(self.found)
        recorded = []
        for finding in self._fresh:
            so_far[finding.kind] += 1
            if so_far[finding.kind] <= MOST_RECORDED:
                recorded.append(finding)
        return recorded


def run_job(
    runtime: Runtime, job: ScheduledJob, *, dry: bool = False, by_hand: bool = False, allow_removals: bool = False
) -> JobRun | None:
    """Run a scheduled job if it is due, or in any case if a person starts it (`by_hand`).

    Return the run's record; None if the job was not run, because it is not due or another worker runs it.
    `allow_removals` lets the job delete rows at the registrar even if the difference looks like a mistake of the
    portal. A dry run changes neither data nor schedule. An error of the job is saved in the run's record and not
    raised, and the job is retried earlier than by its schedule. Safe to call twice and in parallel: only one call runs
    the job.
    """
    lease, now, ticks = uuid.uuid4(), runtime.clock(), time.monotonic()
    with runtime.database.transaction() as session:
        claimed = claim_job(session, job.name, now=now, lease=lease, until=now + LEASE, by_hand=by_hand)
        if claimed is None:
            return None
        id = begin_run(session, job.name, now, dry=dry).id
        allowed = allow_removals or claimed.allow_removals
        run = Run(runtime, job, lease, id, dry=dry, allow_removals=allowed, unhurried=not by_hand)
    with tracing.span(f"job {job.name}", run=id, dry_run=dry) as span:
        with kept_alive(Claim(runtime, Job, [job.name], lease, ticks, LEASE, LONGEST)):
            error = _work(run)
        if error is not None:
            span.fail(error)
    return _end(run, error, began=now, was_due=claimed.was_due)


def _work(run: Run) -> Exception | None:
    try:
        run.job.work(run)
    except LeaseLost as error:
        log.warning("lease.lost", job=run.job.name)
        return error
    except WorkerStops as error:
        log.info("job.stopped", job=run.job.name)
        return error
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if isinstance(error, GatewayError | IntegrityError) or is_outage(error):
            # Another transaction was first, or a system does not answer: the next run repairs it.
            log.warning("job.failed", job=run.job.name, error=_in_short(error))
        else:
            log.error("job.broke", job=run.job.name, exc_info=error)
        return error
    return None


def _end(run: Run, error: Exception | None, *, began: datetime, was_due: datetime) -> JobRun:
    now = run.now
    with run.runtime.database.transaction() as session:
        record = session.get_one(JobRun, run.id)
        try:
            job = keep_job(session, run.job.name, lease=run.lease, until=now)
        except LeaseLost:
            # The run that has claimed the job since records this one as lost.
            return record
        outcome = _outcome(error)
        in_short = _in_short(error) if error is not None and outcome is Outcome.FAILED else None
        record.end(outcome, run.counts, run.found, run.unrepaired, in_short, now)
        if outcome is Outcome.LOST:
            # The permission holds for one whole run.
            job.allow_removals |= run.allow_removals
        if run.dry or outcome is Outcome.LOST:
            job.make_due(was_due)
        elif error is None:
            job.attempts = 0
            job.make_due(began + run.job.every)
        else:
            job.attempts += 1
            job.make_due(now + min(run.runtime.retry.pause(job.attempts), run.job.every))
        forget_runs(session, run.job.name, now)
    if run.found:
        facts = {"found": dict(run.found), "unrepaired": run.unrepaired, "dry_run": run.dry}
        log.info("job.found", job=run.job.name, **facts)
    return record


def _outcome(error: Exception | None) -> Outcome:
    if error is None:
        return Outcome.DONE
    return Outcome.LOST if isinstance(error, WorkerStops) else Outcome.FAILED


def _in_short(error: Exception) -> str:
    # A database error's full text contains parameter values, such as e-mail addresses.
    return repr(error) if isinstance(error, GatewayError) else type(error).__name__
