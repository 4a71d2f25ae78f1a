"""The carrier's back office: what waits for us, and the scheduled jobs. For everybody but staff it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import format_timedelta
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.wrappers import Response

from models.db.paging import BadCursor
from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import Job, JobRun, ask_for_run, jobs_by_name, last_successes, latest_runs
from models.states import Kind, Reason
from models.views.back_office import Matter, Wanted, counts_of, page_of
from tasks.hints import hint_job
from tasks.reconcile import JOBS
from tasks.wording.findings import finding_text
from web.portal.back_office import wording
from web.portal.page.locale import locale, moment
from web.portal.page.session import principal
from web.resources import resources

log = structlog.get_logger()

office = Blueprint("office", __name__, url_prefix="/backoffice")

PAGE = 50
FINDINGS = 50
"""As many of a run's findings are shown; the database has more."""


@office.before_request
def only_for_staff() -> None:
    """Everybody else gets what they get for a page that is not there."""
    if not (current_user.is_authenticated and principal().is_staff):
        abort(404)


@office.get("")
def todo() -> str:
    """What waits for us, the longest first; with a search every request that it finds."""
    wanted = Wanted(
        search=request.args.get("suche", "").strip()[:100],
        matter=request.args.get("status", type=Matter),
        kind=request.args.get("art", type=Kind),
        reason=request.args.get("grund", type=Reason),
    )
    after = request.args.get("nach") or None
    try:
        with resources().database.transaction() as session:
            counts = counts_of(session)
            page = page_of(session, wanted, after=after, limit=PAGE)
    except BadCursor:
        abort(404)
    return render_template(
        "back_office/todo.html",
        wanted=wanted,
        counts=counts,
        page=page,
        first=after is None,
        address=_address,
        words=wording,
        advice=wording.advice,
        reason_word=wording.reason_word,
        status_word=wording.status_word,
    )


def _address(**changes: Any) -> str:
    """The same list at another place; a change to None leaves that out."""
    kept = {name: request.args[name] for name in ("suche", "status", "art", "grund") if request.args.get(name)}
    return url_for("office.todo", **{**kept, **changes})


@dataclass(frozen=True, slots=True)
class Said:
    """A finding as a sentence, and the page that has more about it."""

    text: str
    repaired: bool
    more: str | None


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A scheduled job: how often it runs, its last run, what the last one that came to its end found, and what is next.

    `unrepaired` and `repaired` are how many there are in all; `said` has as many of them as are shown.
    """

    name: str
    every: str
    row: Job | None
    last: JobRun | None
    whole: JobRun | None
    said: Sequence[Said]

    @property
    def under_way_until(self) -> datetime | None:
        """Until when the run that is under way may take."""
        return self.row.due_at if self.row is not None and self.row.lease is not None else None

    @property
    def unrepaired(self) -> int:
        """What could not be repaired."""
        return self.whole.unrepaired if self.whole is not None else 0

    @property
    def repaired(self) -> int:
        """What was repaired."""
        return sum(self.whole.found.values()) - self.unrepaired if self.whole is not None else 0


@office.get("/abgleich")
def jobs() -> str:
    """The scheduled jobs: when each ran last, what it found, and what it could not repair."""
    with resources().database.transaction() as session:
        rows, runs, wholes = jobs_by_name(session), latest_runs(session), last_successes(session)
        found = {name: findings_of(session, run, limit=FINDINGS) for name, run in wholes.items()}
    seen = [
        JobSeen(
            name,
            _in_words(job.every),
            rows.get(name),
            runs.get(name),
            wholes.get(name),
            [_said(finding) for finding in found.get(name, ())],
        )
        for name, job in JOBS.items()
    ]
    return render_template("back_office/jobs.html", jobs=seen, words=wording, now=resources().clock())


@office.post("/abgleich/<name>")
def jobs_run(name: str) -> Response:
    """Have a worker run the job at once."""
    if name not in JOBS:
        abort(404)
    with resources().database.transaction() as session:
        until = ask_for_run(session, name, resources().clock())
    if until is not None:
        flash(_("A run is under way already, until %(moment)s at the latest.", moment=moment(until)), "warning")
        return redirect(url_for("office.jobs"), 303)
    log.info("job.asked", job=name, by=principal().user_id)
    if hint_job(name):
        flash(_("A worker begins with it now. Load the page again to see what it has found."))
    else:
        flash(_("It is due. The workers cannot be reached at the moment and begin with it by themselves."), "warning")
    return redirect(url_for("office.jobs"), 303)


def _in_words(every: timedelta) -> str:
    return str(format_timedelta(every, threshold=1))


def _said(finding: Finding) -> Said:
    more = None
    if "customer_number" in finding.facts:
        more = url_for("office.todo", suche=finding.facts["customer_number"])
    with suppress(ValueError):
        more = url_for("office.request_page", id=UUID(finding.subject))
    return Said(finding_text(finding, locale()), finding.repaired, more)
