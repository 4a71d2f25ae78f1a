"""The portal's pages, as far as they go: the locations, the requests, and a request with its timeline."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask_login import login_required
from werkzeug.wrappers import Response

from models import queries
from models.wording import status_text
from web.portal.looked_at import looked_at
from web.portal.overview import show as show_overview
from web.portal.request_page import render, see
from web.portal.words import locale
from web.resources import resources

portal = Blueprint("portal", __name__)

HISTORY = 25


@portal.get("/")
def home() -> Response:
    """There is one place to be."""
    return redirect(url_for("portal.overview"))


@portal.get("/standortverwaltung")
@login_required
def overview() -> Response | str:
    """The main account first, then every sub-account, ordered ones included."""
    return show_overview()


@portal.get("/anfragen")
@login_required
def history() -> str:
    """Every order and link request, the newest first, also those that have come to an end."""
    before = request.args.get("before", type=UUID)
    if before is None and "before" in request.args:
        abort(404)
    with resources().database.transaction() as session:
        account = looked_at(session).account
        found = queries.requests_of(session, account, before=before, limit=HISTORY + 1) if account is not None else []
    page = found[:HISTORY]
    return render_template(
        "history.html",
        listed=[(item, status_text(item.status, locale())) for item in page],
        before=before,
        older=page[-1].id if len(found) > HISTORY else None,
    )


@portal.get("/anfragen/<uuid:id>")
@login_required
def show_request(id: UUID) -> str:
    """A request's timeline in the customer's words, what comes next, and what this person can do about it."""
    with resources().database.transaction() as session:
        seen = see(session, id)
    return render(seen)
