"""The history: every request of a main account, and the page of one of them."""

from __future__ import annotations

from uuid import UUID

from flask import abort, render_template, request
from flask_login import login_required

from models.views import lists
from tasks.wording.labels import status_text
from web.portal.page.blueprints import portal
from web.portal.page.locale import locale
from web.portal.page.selected_account import selected_account
from web.portal.requests.request_page import render, see
from web.resources import resources

HISTORY = 25


@portal.get("/anfragen")
@login_required
def history() -> str:
    """Every order and link request, the newest first, also those that have come to an end."""
    before = request.args.get("before", type=UUID)
    if before is None and "before" in request.args:
        abort(404)
    with resources().database.transaction() as session:
        account = selected_account(session).account
        found = lists.requests_of(session, account, before=before, limit=HISTORY + 1) if account is not None else []
    page = found[:HISTORY]
    return render_template(
        "requests/history.html",
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
