"""The history of all requests of a main account (orders, link and detach requests), and the page of one request."""

from __future__ import annotations

from uuid import UUID

from flask import abort, render_template, request
from flask_login import login_required

from models.views import lists
from tasks.wording.labels import status_text
from web.portal.page.blueprints import portal
from web.portal.page.locale import locale
from web.portal.page.selected_account import selected_account
from web.portal.requests.request_page import get_request_page, render
from web.resources import resources

HISTORY = 25


@portal.get("/anfragen")
@login_required
def history() -> str:
    """Show one page of the requests of the selected account, newest first, including those that have ended.

    The query parameter `before` is the id of a request: only older requests are shown. Abort with 404 if the id is
    malformed.
    """
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
    """Show the request `id`: its timeline, the next action, and what the user can do.

    Abort with 404 unless the user may see the request.
    """
    with resources().database.transaction() as session:
        page = get_request_page(session, id)
    return render(page)
