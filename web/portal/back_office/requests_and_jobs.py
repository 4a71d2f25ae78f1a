"""The back office's pages of the requests that need staff, and of the scheduled jobs. Only staff may open them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

import structlog
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask import session as cookie
from flask_babel import format_timedelta
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.wrappers import Response

from models.accounts.company_limits import Limit
from models.db.paging import BadCursor
from models.db.work_queue import WorkKind
from models.errors import Forbidden
from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import Job, JobRun, ask_for_run, is_paused, jobs_by_name, last_successes, latest_runs
from models.states import Kind, Reason
from models.text_cutting import shortened
from models.views.back_office import Matter, MatterFilter, matter_counts, page_of, waiting_files
from models.views.unreached_offers import unreached_offers
from tasks.hints import hint
from tasks.reconcile.registrar import LOOK_FIRST
from tasks.reconcile.schedule import JOBS
from tasks.wording.company_limits import WAITS
from tasks.wording.findings import finding_text
from tasks.wording.translate import translate
from web.portal.back_office import wording
from web.portal.back_office.searches import record_list, record_search
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import login_manager, principal
from web.resources import resources

log = structlog.get_logger()

office = Blueprint("office", __name__, url_prefix="/backoffice")

PAGE = 50
FINDINGS = 50
"""Maximum number of findings (what a job found wrong) of a run that the page shows."""


@office.before_request
def only_for_staff() -> Response | None:
    """Abort with 404 unless the signed-in user is a member of the carrier's staff; return None for staff.

    A browser whose login has ended is redirected to the sign-in page instead. Runs before each view of the back office.
    """
    if not current_user.is_authenticated and "_user_id" in cookie:
        return cast(Response, login_manager.unauthorized())
    if not current_user.is_authenticated:
        abort(404)
    if not principal().is_staff:
        # Answered with 404, too.
        raise Forbidden
    return None


@office.get("")
def todo() -> str:
    """Show one page of the requests that wait for staff, the longest waiting first.

    The customer numbers in the list are logged. With a search text, show all requests that match it, newest first, even
    those that do not wait; that is recorded like any other search of staff. Abort with 404 if the page cursor in the
    URL (`nach`) is invalid.
    """
    wanted = MatterFilter(
        search=shortened(request.args.get("suche", "").strip(), 100),
        matter=request.args.get("status", type=Matter),
        kind=request.args.get("art", type=Kind),
        reason=request.args.get("grund", type=Reason),
    )
    after = request.args.get("nach") or None
    try:
        with resources().database.transaction() as session:
            counts = matter_counts(session)
            page = page_of(session, wanted, after=after, limit=PAGE)
            is_whole = wanted == MatterFilter() and after is None
            files = waiting_files(session) if is_whole else []
            offers = unreached_offers(session, resources().clock()) if is_whole else []
            if wanted.search:
                record_search(session, None, page.items)
            else:
                others = [bulk.main for bulk in files] + [
                    side for offer in offers for side in (offer.account, offer.main)
                ]
                record_list((item.request for item in page.items), others)
    except BadCursor:
        abort(404)
    return render_template(
        "back_office/todo.html",
        wanted=wanted,
        counts=counts,
        files=[(bulk, translate(locale(), WAITS[Limit(bulk.waits_for or "")])) for bulk in files],
        offers=offers,
        page=page,
        first=after is None,
        address=_list_url,
        words=wording,
        advice=partial(wording.advice, now=resources().clock()),
        reason_label=wording.reason_label,
        status_label=wording.status_label,
    )


def _list_url(**changes: Any) -> str:
    """Return the URL of the list of requests with the filters of the current URL.

    `changes` gives query parameters by name: each replaces the current value of that parameter, None removes it.
    """
    kept = {name: request.args[name] for name in ("suche", "status", "art", "grund") if request.args.get(name)}
    return url_for("office.todo", **{**kept, **changes})


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding (what a job found wrong), as the page shows it.

    `text` is the finding as a sentence, `repaired` whether the job repaired it, `more` the URL of a page about the
    request or account concerned, None if there is none.
    """

    text: str
    repaired: bool
    more: str | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A scheduled job as the page shows it.

    `name` is the job's key, `every` the text of its interval, `row` its state in the database (None if it was never
    scheduled). `last` is its latest run, `last_success` its latest successful run, each None if there is none.
    `findings` has up to 50 findings (what the job found wrong) of its latest successful run.
    """

    name: str
    every: str
    row: Job | None
    last: JobRun | None
    last_success: JobRun | None
    findings: Sequence[FindingRow]

    @property
    def under_way_until(self) -> datetime | None:
        """Return the time by which the current run ends at the latest; None if the job is not running."""
        return self.row.due_at if self.row is not None and self.row.lease is not None else None

    @property
    def unrepaired(self) -> int:
        """Return the number of findings that the job's latest successful run could not repair; 0 without such a run."""
        return self.last_success.unrepaired if self.last_success is not None else 0

    @property
    def waits_for_decision(self) -> bool:
        """Return whether the latest successful run held back deletions at the registrar, until staff allow them."""
        return self.last_success is not None and _holds_back(self.last_success)

    @property
    def repaired(self) -> int:
        """Return the number of findings that the job's latest successful run repaired; 0 without such a run."""
        return sum(self.last_success.found.values()) - self.unrepaired if self.last_success is not None else 0


def _holds_back(run: JobRun) -> bool:
    """Return whether the run held back deletions at the registrar that staff may allow now.

    Staff may not allow them while trunks from another Kamailio are taken over but not adopted: the portal does not
    change the registrar's rows of such a trunk yet.
    """
    return run.unrepaired > 0 and "not_adopted" not in run.found and not LOOK_FIRST.isdisjoint(run.found)


@office.get("/abgleich")
def jobs() -> str:
    """Show the page of the scheduled jobs: when each ran last, what it found, and what it could not repair."""
    with resources().database.transaction() as session:
        rows, runs, successes = jobs_by_name(session), latest_runs(session), last_successes(session)
        found = {name: findings_of(session, run, limit=FINDINGS) for name, run in successes.items()}
    seen = [
        JobRow(
            name,
            _interval_text(job.every),
            rows.get(name),
            runs.get(name),
            successes.get(name),
            [_finding_row(finding) for finding in found.get(name, ())],
        )
        for name, job in JOBS.items()
    ]
    return render_template("back_office/jobs.html", jobs=seen, words=wording, now=resources().clock())


@office.route("/abgleich/registrar/entfernen", methods=["GET", "POST"])
def removals() -> str | Response:
    """Show the deletions at the registrar that its scheduled job has held back until staff allow them.

    The job holds them back if the portal's data may be wrong. On POST allow the job's next run to make them, schedule
    that run for now, and redirect to the page of the jobs. If a run is under way, nothing is allowed, and a message
    says until when it runs. If no deletion is held back, redirect to the page of the jobs at once.
    """
    with resources().database.transaction() as session:
        run = last_successes(session).get("registrar")
        found = findings_of(session, run, limit=FINDINGS) if run and _holds_back(run) else []
        kept = [one for one in found if one.kind in LOOK_FIRST and not one.repaired]
        until, paused = None, is_paused(session, "registrar")
        if kept and request.method == "POST":
            until = ask_for_run(session, "registrar", resources().clock(), allow_removals=True)
    if not kept:
        flash(_("There is nothing that waits for a decision any more."), "warning")
        return redirect(url_for("office.jobs"), 303)
    if request.method == "GET":
        assert run is not None
        more = sum(count for kind, count in run.found.items() if kind in LOOK_FIRST) - len(kept)
        return render_template("back_office/removals.html", kept=[_finding_row(one) for one in kept], more=more)
    if until is None:
        log.warning("removals.allowed", by=principal().user_id)
    return _asked("registrar", until, paused=paused)


@office.post("/abgleich/<name>")
def jobs_run(name: str) -> Response:
    """Schedule the job with this name to run now and redirect to the page of the jobs.

    If a run is under way, nothing changes. Abort with 404 if no job has this name.
    """
    if name not in JOBS:
        abort(404)
    with resources().database.transaction() as session:
        until, paused = ask_for_run(session, name, resources().clock()), is_paused(session, name)
    return _asked(name, until, paused=paused)


def _asked(name: str, until: datetime | None, *, paused: bool) -> Response:
    """Redirect to the page of the jobs, with a message about the job `name` that staff have scheduled to run now.

    If a run is under way already, `until` is the latest time by which it ends, and the message says that nothing
    changed. If `until` is None, a Celery message tells the workers that the job is due. No such message is sent if the
    job is `paused`: it then runs only when an operator resumes it, as the page's message says.
    """
    if until is not None:
        flash(_("A run is under way already, until %(moment)s at the latest.", moment=moment(until)), "warning")
        return redirect(url_for("office.jobs"), 303)
    log.info("job.asked", job=name, by=principal().user_id)
    if paused:
        flash(
            _("It is paused since a backup was restored, and runs when somebody of operations resumes it."), "warning"
        )
        return redirect(url_for("office.jobs"), 303)
    if hint([WorkKind.JOBS]):
        flash(_("A worker begins with it now. Load the page again to see what it has found."))
    else:
        flash(_("It is due. The workers cannot be reached at the moment and begin with it by themselves."), "warning")
    return redirect(url_for("office.jobs"), 303)


def _interval_text(every: timedelta) -> str:
    return str(format_timedelta(every, threshold=1))


def _finding_row(finding: Finding) -> FindingRow:
    more = None
    if "customer_number" in finding.facts:
        more = url_for("office.todo", suche=finding.facts["customer_number"])
    with suppress(ValueError):
        more = url_for("office.request_page", id=UUID(finding.subject))
    return FindingRow(finding_text(finding, locale()), finding.repaired, more)
