"""The list of all requests of a main account, also ended ones, and the page of one request."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from flask import abort, render_template, request, url_for
from flask_babel import lazy_gettext
from flask_login import login_required

from models.states import Kind
from models.text_cutting import shortened
from models.views.request_history import HistoryFilter, Progress, history_of
from tasks.wording.labels import status_text
from web.portal.page.blueprints import portal
from web.portal.page.locale import locale
from web.portal.page.selected_account import selected_account
from web.portal.requests.request_page import get_request_page, render
from web.resources import resources

HISTORY = 25

_PROGRESS = {"laufend": Progress.OPEN, "abgeschlossen": Progress.COMPLETED, "beendet": Progress.FAILED}
_STATES = {
    "laufend": lazy_gettext("Running"),
    "abgeschlossen": lazy_gettext("Completed"),
    "beendet": lazy_gettext("Ended without success"),
}
_KINDS = {
    Kind.ORDER: lazy_gettext("Order"),
    Kind.LINK: lazy_gettext("Link request"),
    Kind.DETACH: lazy_gettext("Detachment"),
    Kind.CHANGE: lazy_gettext("Contract change"),
    Kind.NUMBERS: lazy_gettext("Additional phone numbers"),
    Kind.MOVE: lazy_gettext("Move"),
    Kind.CANCEL: lazy_gettext("Cancellation of contracts"),
    Kind.SWITCH: lazy_gettext("Switch to another main account"),
}


@portal.get("/anfragen")
@login_required
def history() -> str:
    """Show one page of the requests of the selected account that match the filters, newest first, also ended ones.

    The query parameters are `suche` (a search text), `art` (the kind of request), `status` (running, completed, or
    ended without success) and `before` (the id of a request: only older ones are shown). Abort with 404 if `before` is
    malformed.
    """
    before = request.args.get("before", type=UUID)
    if before is None and "before" in request.args:
        abort(404)
    wanted = HistoryFilter(
        search=shortened(request.args.get("suche", "").strip(), 100),
        kind=request.args.get("art", type=Kind),
        progress=_PROGRESS.get(request.args.get("status", "")),
    )
    with resources().database.transaction() as session:
        seen = selected_account(session)
        limit, account = HISTORY + 1, seen.account
        found = history_of(session, account, wanted, before=before, limit=limit) if account is not None else []
    page = found[:HISTORY]
    return render_template(
        "requests/history.html",
        listed=[(item, status_text(item.request.status, locale())) for item in page],
        wanted=wanted,
        before=before,
        older=page[-1].request.id if len(found) > HISTORY else None,
        konto=seen.konto,
        kinds=_KINDS,
        states=_STATES,
        address=partial(_list_url, konto=seen.konto),
    )


def _list_url(**changes: Any) -> str:
    """Return the URL of the history with the filters of the current URL.

    `changes` gives query parameters by name: each replaces the current value of that parameter, None removes it.
    """
    kept = {name: request.args[name] for name in ("suche", "art", "status") if request.args.get(name)}
    return url_for("portal.history", **{**kept, **changes})


@portal.get("/anfragen/<uuid:id>")
@login_required
def show_request(id: UUID) -> str:
    """Show the request `id`: its timeline, the next action, and what the user can do.

    Abort with 404 unless the user may see the request.
    """
    with resources().database.transaction() as session:
        page = get_request_page(session, id)
    return render(page)
