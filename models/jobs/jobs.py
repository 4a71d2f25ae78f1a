"""The scheduled jobs as rows: when each job is due next, which worker runs it, and the results of its runs.

A run starts only by claiming the job's row (`models.db.work_queue`), so several Celery beats, duplicate task messages
and manual runs do no harm. The sweep, a task that looks for due work every second, has no row here: it only
updates its heartbeat, the time of its last run.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.db.base import Base, enumeration
from models.db.work_queue import QueueRow, WorkKind, due_index, lease_ends


class LeaseLost(Exception):
    """Raised when a run took longer than its claim on the job lasted, so that another worker may be running the job."""


class Outcome(StrEnum):
    """The result of a run: `DONE` (it succeeded), `FAILED` (the job raised an error), or `LOST`.

    `LOST`: the worker died or was stopped, or took longer than the time for which it had claimed the job.
    """

    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class JobHeartbeat(Base):
    """The time and counts of the latest run of a task that runs too often to keep a row for each run.

    The only such task is the sweep, which looks for due work every second.
    """

    __tablename__ = "job_heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime]
    counts: Mapped[dict[str, Any]]


class Job(QueueRow, Base):
    """A scheduled job. `due_at` is the time of its next run, `attempts` counts the failed runs since the last success.

    `allow_removals`: staff allow the next run to delete entries of the registrar that the portal does not know. Without
    this permission a run deletes none if the portal itself seems to have lost data. `paused`: the job runs only when
    started by hand, because a backup was restored; an operator resumes it.
    """

    __tablename__ = "jobs"
    WORK = WorkKind.JOBS

    name: Mapped[str] = mapped_column(primary_key=True)
    allow_removals: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    paused: Mapped[bool] = mapped_column(default=False, server_default=sa.false())

    __table_args__ = (
        sa.CheckConstraint("due_at IS NOT NULL", name="never_ends"),
        lease_ends(),
        due_index("jobs"),
    )


class JobRun(Base):
    """One run of a job. `counts` has the numbers of objects checked and actions taken, by name.

    `found` has the number of findings by kind, including findings that were not saved as rows; `unrepaired` is the
    number of findings that the run could not repair. `ended_at` and `outcome` are null while it runs; `error` says why
    the run failed, null unless it did. `dry_run`: the run only reported, and repaired nothing.
    """

    __tablename__ = "job_runs"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(sa.ForeignKey("jobs.name"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    dry_run: Mapped[bool]
    counts: Mapped[dict[str, Any]]
    found: Mapped[dict[str, Any]]
    unrepaired: Mapped[int]
    outcome: Mapped[Outcome | None] = mapped_column(enumeration(Outcome, "outcome"))
    error: Mapped[str | None]

    __table_args__ = (
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="end_has_outcome"),
        sa.CheckConstraint("(outcome IS NOT DISTINCT FROM 'failed') = (error IS NOT NULL)", name="failure_has_error"),
        sa.Index("ix_job_runs_name_started_at", "name", "started_at"),
    )

    def end(
        self,
        outcome: Outcome,
        counts: Mapping[str, int],
        found: Mapping[str, int],
        unrepaired: int,
        error: str | None,
        now: datetime,
    ) -> None:
        """Record the end and the results of the run.

        `counts` are the numbers of objects checked and actions taken, by name; `found` is the number of findings by
        kind, and `unrepaired` the number of those that the run could not repair. `error` describes why the run failed,
        None if it did not.
        """
        self.ended_at, self.outcome, self.error = now, outcome, error
        self.counts, self.found, self.unrepaired = dict(counts), dict(found), unrepaired


def record_run(session: Session, name: str, now: datetime, **counts: int) -> None:
    """Record the latest run of the task `name`, which runs too often to keep a row for each run (`JobHeartbeat`).

    The time `now` and the counts replace those of the run before. `counts` are the numbers of what the run has done, by
    name.
    """
    statement = postgresql.insert(JobHeartbeat).values(name=name, ran_at=now, counts=counts)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[JobHeartbeat.name],
            set_={"ran_at": statement.excluded.ran_at, "counts": statement.excluded.counts},
        )
    )


def last_run(session: Session, name: str) -> datetime | None:
    """Return the time of a task's latest run that `record_run` has recorded; None if it never ran."""
    return session.scalar(sa.select(JobHeartbeat.ran_at).where(JobHeartbeat.name == name))


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A worker's claim on a job for one run. `was_due` is the time for which the run was scheduled.

    `allow_removals` allows the run to delete entries of the registrar that the portal does not know, even if the portal
    itself seems to have lost data.
    """

    was_due: datetime
    allow_removals: bool


def claim_job(
    session: Session, name: str, *, now: datetime, lease: uuid.UUID, until: datetime, by_hand: bool
) -> JobClaim | None:
    """Claim the job `name` for one run, until the time `until`; return the claim, or None if the job cannot be claimed.

    `lease` is the id of the claim. A job can be claimed if it is due and not paused; a job that never ran is due. A
    manual run (`by_hand`) can also claim a job that is paused or not due yet, unless another worker's claim on it still
    lasts. A job that another transaction has locked cannot be claimed. The permission `allow_removals` moves from the
    job to the claim, so that it holds for this run only.
    """
    _ensure(session, name, now)
    free = sa.or_(Job.due_at <= now, Job.lease.is_(None)) if by_hand else sa.and_(Job.due_at <= now, ~Job.paused)
    job = session.scalar(sa.select(Job).where(Job.name == name, free).with_for_update(skip_locked=True))
    if job is None:
        return None
    assert job.due_at is not None
    claim = JobClaim(job.due_at, job.allow_removals)
    job.lease, job.due_at, job.allow_removals = lease, until, False
    return claim


def ask_for_run(session: Session, name: str, now: datetime, *, allow_removals: bool = False) -> datetime | None:
    """Schedule the job to run now and return None; if the job is running, return the end of the worker's claim instead.

    Nothing is changed while the job is running. `allow_removals` allows the run to delete entries of the registrar that
    the portal does not know, even if the portal itself seems to have lost data. Safe to run twice: a due job stays due,
    and a permission stays.
    """
    _ensure(session, name, now)
    job = session.get_one(Job, name, with_for_update=True)
    assert job.due_at is not None
    if job.lease is not None and job.due_at > now:
        return job.due_at
    job.allow_removals |= allow_removals
    if job.due_at > now:
        job.make_due(now)
    return None


def pause_job(session: Session, name: str, now: datetime) -> None:
    """Stop the job's scheduled runs until `resume_job`; it can still be run by hand. Safe to run twice."""
    _ensure(session, name, now)
    session.get_one(Job, name, with_for_update=True).paused = True


def resume_job(session: Session, name: str, now: datetime) -> None:
    """End the pause of a job, so that it runs on its schedule again. Safe to run twice."""
    _ensure(session, name, now)
    session.get_one(Job, name, with_for_update=True).paused = False


def is_paused(session: Session, name: str) -> bool:
    """Return whether the job runs only when started by hand, until an operator resumes it (`pause_job`)."""
    return session.scalar(sa.select(Job.paused).where(Job.name == name)) or False


def _ensure(session: Session, name: str, now: datetime) -> None:
    session.execute(postgresql.insert(Job).values(name=name, due_at=now, attempts=0).on_conflict_do_nothing())


def keep_job(session: Session, name: str, *, lease: uuid.UUID, until: datetime) -> Job:
    """Extend the claim `lease` on the job to the time `until`; return the job, locked.

    Raises `LeaseLost` if the job is claimed under another id or not at all.
    """
    job = session.scalar(sa.select(Job).where(Job.name == name, Job.lease == lease).with_for_update())
    if job is None:
        raise LeaseLost(name)
    job.due_at = until
    return job


def begin_run(session: Session, name: str, now: datetime, *, dry: bool) -> JobRun:
    """Record the start of a run and return the run; mark earlier runs of the job that never ended as lost.

    The caller must have claimed the job. `dry`: the run only reports, and repairs nothing.
    """
    unfinished = sa.update(JobRun).where(JobRun.name == name, JobRun.ended_at.is_(None))
    session.execute(unfinished.values(ended_at=now, outcome=Outcome.LOST))
    run = JobRun(name=name, started_at=now, dry_run=dry, counts={}, found={}, unrepaired=0)
    session.add(run)
    session.flush()
    return run


def forget_runs(session: Session, name: str, now: datetime) -> None:
    """Delete the runs of a job that are older than `retention.JOB_RUNS` (90 days), with their findings."""
    session.execute(sa.delete(JobRun).where(JobRun.name == name, JobRun.started_at < now - retention.JOB_RUNS))


def jobs_by_name(session: Session) -> dict[str, Job]:
    """Return the jobs by name; a job that was never claimed and never scheduled to run has no entry."""
    return {job.name: job for job in session.scalars(sa.select(Job))}


def latest_runs(session: Session) -> dict[str, JobRun]:
    """Return each job's most recent run that has ended, with any outcome, by job name; dry runs do not count."""
    return _latest(session, JobRun.ended_at.is_not(None))


def last_successes(session: Session) -> dict[str, JobRun]:
    """Return each job's most recent run that succeeded, by job name; dry runs do not count."""
    return _latest(session, JobRun.outcome == Outcome.DONE)


def _latest(session: Session, which: sa.ColumnElement[bool]) -> dict[str, JobRun]:
    # One index lookup for each job, however many runs there are.
    last = (
        sa.select(JobRun.id)
        .where(JobRun.name == Job.name, ~JobRun.dry_run, which)
        .order_by(JobRun.started_at.desc())
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    runs = session.scalars(sa.select(JobRun).join(Job, JobRun.id == last).order_by(JobRun.name))
    return {run.name: run for run in runs}
