"""`standorte reconcile`: run a scheduled job in this process, or show the state of all jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table
from rich.text import Text

from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import JobRun, Outcome, is_paused, jobs_by_name, latest_runs, resume_job
from models.values import Locale
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tasks.wording.findings import finding_text
from workers.commands.resources import err, hint_workers, known_locale, open_database, out, refuse, when
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

SHOWN = 50
"""The greatest number of findings printed on the terminal; the database has more of them."""


def reconcile(
    name: Annotated[str | None, typer.Argument(help="Which job; without it, how the jobs stand.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")] = False,
    allow_removals: Annotated[
        bool,
        typer.Option(
            "--allow-removals", help="Remove from the registrar also what looks like our mistake, after a look."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="End the pause that began with a restore.")] = False,
    language: Annotated[str, typer.Option("--lang", help="Language of the findings: de or en.")] = "de",
) -> None:
    """Run a scheduled job now and print what the job found and did; without NAME, show the state of all jobs.

    Ends with 0; with 1 if there is no such job, another run of the job is under way, or the job failed or found
    something that it could not repair.
    """
    locale = known_locale(language)
    if name is None:
        out.print(_overview())
        return
    if name not in JOBS:
        refuse(f"There is no job {name}; there are {', '.join(JOBS)}.")
    with _runtime() as runtime:
        if not dry_run:
            _end_pause(runtime, name, resume=resume)
        run = run_job(runtime, JOBS[name], dry=dry_run, by_hand=True, allow_removals=allow_removals)
        if run is None:
            refuse(f"A run of {name} is under way; `standorte reconcile` shows until when it may take.")
        with runtime.database.transaction() as session:
            findings = findings_of(session, run, limit=SHOWN)
    _print(run, findings, locale)
    if run.outcome is not Outcome.DONE or run.unrepaired:
        raise typer.Exit(1)


def _end_pause(runtime: Runtime, name: str, *, resume: bool) -> None:
    with runtime.database.transaction() as session:
        if resume:
            resume_job(session, name, runtime.clock())
        elif is_paused(session, name):
            refuse(
                f"{name} is paused since a backup was restored. Look with --dry-run what it would do; --resume runs it"
                " and ends the pause."
            )


def _overview() -> Table:
    table = Table("job", "every", "last run", "outcome", "found", "next run", box=None)
    with open_database() as database, database.transaction() as session:
        jobs, runs = jobs_by_name(session), latest_runs(session)
    for name, job in JOBS.items():
        row, run = jobs.get(name), runs.get(name)
        following = "when beat asks" if row is None else when(row.due_at)
        if row is not None and row.paused:
            following = "paused: a backup was restored"
        if row is not None and row.lease is not None:
            following = f"under way, until {following} at the latest"
        minutes = f"{job.every.total_seconds() / 60:g} min"
        table.add_row(name, minutes, when(run.started_at) if run else "never", *_outcome(run), following)
    return table


def _outcome(run: JobRun | None) -> tuple[str, str]:
    if run is None:
        return "", ""
    return str(run.outcome), _in_words(run.found) or "nothing"


def _print(run: JobRun, findings: Sequence[Finding], locale: Locale) -> None:
    if findings:
        table = Table("finding", "", "would be repaired" if run.dry_run else "repaired", box=None)
        for finding in findings:
            mark = Text("yes", style="green") if finding.repaired else Text("no", style="red")
            table.add_row(finding.kind, Text(finding_text(finding, locale)), mark)
        out.print(table)
        hidden = sum(run.found.values()) - len(findings)
        if hidden > 0:
            out.print(f"… and {hidden} more")
    out.print(f"found: {_in_words(run.found) or 'nothing'}", highlight=False)
    if run.counts:
        out.print(f"counts: {_in_words(run.counts)}", highlight=False)
    if run.dry_run:
        out.print("A dry run: nothing was changed.")
    if run.outcome is not Outcome.DONE:
        err.print(f"The run ended before its time: {run.error or 'it took longer than its lease'}", style="red")


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in sorted(counts.items()))


@contextmanager
def _runtime() -> Iterator[Runtime]:
    runtime = build_runtime(WorkerSettings(), hint_workers)
    try:
        yield runtime
    except sa.exc.OperationalError as error:
        refuse(f"The database does not answer: {str(error.orig).splitlines()[0]}")
    finally:
        close_runtime(runtime)
