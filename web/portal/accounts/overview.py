"""The overview of the Standortverwaltung: the main account and its sub-accounts as cards, as a table and as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from flask import (
    Response,
    abort,
    redirect,
    render_template,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)
from flask_babel import gettext as _
from flask_login import current_user, login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import may_be_main
from models.db.paging import BadCursor, Page
from models.people.rights import Action, may
from models.requests.requests import Request
from models.states import ENDED, AccountRole, AccountState, Actor, Kind, Origin, Status
from models.values import last_day
from models.views import lists
from models.views import locations as listing
from tasks.files import spreadsheets
from tasks.files.spreadsheets import EXPORT_PAGE
from tasks.wording.labels import status_text
from tasks.wording.next_steps import NextAction, next_action
from web.portal.page.blueprints import locations, portal
from web.portal.page.locale import locale
from web.portal.page.selected_account import selected_account
from web.portal.page.session import principal
from web.resources import resources

PAGE = 48
_MOST_ASKED = 100
_VIEWS = ("karten", "tabelle")

# Polling intervals in milliseconds: while the carrier works on a request, while a person has to act, never.
SOON, LATER, NEVER = 3000, 15000, 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a request in words, as the overview's cards and rows show it.

    `status` is the text of its status, `upcoming` the next action (None once the request has ended), and `who` says who
    has to act (None if the request waits for nobody).
    """

    request: Request
    status: str
    upcoming: NextAction | None
    who: str | None
    is_fresh: bool
    """Whether this is an order that is being processed and needs nothing from anybody."""

    @property
    def running(self) -> bool:
        """Return whether the request has not ended yet."""
        return self.request.status not in ENDED


def progress(found: Request | None) -> Progress | None:
    """Return the state of the request in words, in the user's language; None if `found` is None."""
    if found is None:
        return None
    fresh = found.kind is Kind.ORDER and found.status in (Status.ACKNOWLEDGED, Status.IN_PROGRESS)
    return Progress(found, status_text(found.status, locale()), next_action(found, locale()), _who(found), fresh)


def poll_interval(requests: list[Request]) -> int:
    """Return the milliseconds between two polls of the requests' state by the page's script.

    `SOON` if the carrier works on one of the requests, `LATER` if all running ones wait for a person, `NEVER` (0) if
    all have ended.
    """
    states = {found.status for found in requests} - ENDED
    if states - {Status.PENDING}:
        return SOON
    return LATER if states else NEVER


@portal.get("/")
def home() -> AnyResponse:
    """Redirect to the overview of the user's accounts."""
    return redirect(url_for("portal.overview"))


@portal.get("/standortverwaltung")
@login_required
def overview() -> AnyResponse | str:
    """Show the selected account and one page of its sub-accounts that match the filters, including those on order.

    Redirect users who may only forward calls to the forwardings, staff without an account to the back office, and users
    whose account is a sub-account to its dashboard. Other users without an account get a page that says so. Abort with
    404 if the cursor in the URL is invalid.
    """
    if current_user.only_forwards:
        return redirect(url_for("forwardings.overview"))
    wanted = _wanted()
    with resources().database.transaction() as database:
        seen = selected_account(database)
        account = seen.account
        if account is not None and account.role is not AccountRole.SUB:
            try:
                page = listing.page_of(database, account, wanted, after=request.args.get("nach") or None, limit=PAGE)
            except BadCursor:
                abort(404)
            count = listing.count_of(database, account, wanted)
            cities = listing.cities_of(database, account)
            own = listing.own_requests(database, account)
        closed = lists.closed_accounts(database, principal()) if account is None else []
    if account is None and principal().is_staff:
        return redirect(url_for("office.todo"))
    if account is None:
        return render_template("accounts/nothing.html", closed=closed)
    if account.role is AccountRole.SUB:
        return redirect(url_for("locations.show", customer_number=account.customer_number))
    running = [*own, *(item.request for item in page.items if item.request is not None)]
    return render_template(
        "accounts/overview.html",
        here=_list_url(),
        konto=seen.konto,
        account=account,
        choices=seen.choices,
        own=own,
        page=page,
        count=count,
        cities=cities,
        wanted=wanted,
        view=_view(),
        first=not request.args.get("nach"),
        may_add=may_add(account),
        progress=progress,
        state_label=state_label,
        kind_label=kind_label,
        address=partial(_list_url, konto=seen.konto),
        poll=poll_interval(running),
        orders=_order_words(),
        shows=_show_words(),
        origins=_origin_words(),
    )


@locations.get("/stand")
@login_required
def live() -> str:
    """Return the current state of requests as HTML fragments, for the overview's script.

    The query parameters `id` are the requests' ids; requests that the user may not see are left out.
    """
    ids = request.args.getlist("id", type=UUID)[:_MOST_ASKED]
    with resources().database.transaction() as database:
        found = listing.requests_by_id(database, principal(), ids)
    return render_template("accounts/overview_live.html", found=found, progress=progress, poll=poll_interval(found))


@locations.get("/nebenaccount")
@login_required
def add() -> str:
    """Show the two ways to add a sub-account: order a new account or link an existing one.

    Abort with 404 if the user may do neither for the selected account.
    """
    with resources().database.transaction() as database:
        seen = selected_account(database)
    account = seen.account
    if account is None or not may_add(account):
        abort(404)
    return render_template(
        "accounts/add.html",
        account=account,
        konto=seen.konto,
        may_order=may(principal(), Action.ORDER, account),
        may_link=may(principal(), Action.LINK, account),
    )


@locations.get("/export.<any(csv, xlsx):form>")
@login_required
def export(form: str) -> Response:
    """Download the selected account and all its sub-accounts that match the filters; `form` is "csv" or "xlsx".

    Abort with 404 if no account is selected.
    """
    wanted = _wanted()
    with resources().database.transaction() as database:
        account = selected_account(database).account
        if account is None:
            abort(404)
        leads = wanted.is_narrowed or listing.count_of(database, account, wanted) > 0
    name = f"standorte-{account.customer_number}-{resources().clock():%Y-%m-%d}.{form}"
    rows = _rows(account, wanted, kind_label(account, leads=leads))
    if form == "csv":
        head = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(stream_with_context(spreadsheets.csv_of(rows)), mimetype="text/csv", headers=head)
    return send_file(
        spreadsheets.xlsx_of(rows, _("Locations")), mimetype=spreadsheets.XLSX, as_attachment=True, download_name=name
    )


def may_add(account: Account) -> bool:
    """Return whether the account may be a main account and the user may order or link sub-accounts for it."""
    return may_be_main(account) and any(may(principal(), action, account) for action in (Action.ORDER, Action.LINK))


def kind_label(account: Account, *, listed: bool = False, leads: bool = False) -> str:
    """Return the word for the kind of account: main account, sub-account or account.

    `listed` means that the account is shown under a main account, `leads` that it has sub-accounts or will have some.
    """
    if listed or account.role is AccountRole.SUB:
        return str(_("Sub-account"))
    return str(_("Main account") if leads or account.role is AccountRole.MAIN else _("Account"))


def state_label(account: Account) -> str:
    """Return the word for the state of the account: ordered, active or closed."""
    words: dict[AccountState, str] = {
        AccountState.ORDERED: _("Ordered"),
        AccountState.ACTIVE: _("Active"),
        AccountState.CLOSED: _("Closed"),
    }
    return words[account.state]


def origin_label(origin: Origin | None) -> str:
    """Return the words for how a sub-account was attached to its main account; empty if `origin` is None."""
    return _origin_words()[origin] if origin is not None else ""


def _who(found: Request) -> str | None:
    match found.waiting_for:
        case Actor.REQUESTER:
            return str(_("You, or the person who manages the main account"))
        case Actor.CONTACT:
            return str(_("The contact of the location"))
        case Actor.OTHER_ACCOUNT:
            return str(_("An administrator of customer number %(number)s", number=found.customer_number))
        case Actor.CARRIER:
            return str(_("We"))
    return None


def _wanted() -> listing.LocationFilter:
    # Invalid filters are ignored, so that an outdated URL shows more instead of nothing.
    return listing.LocationFilter(
        search=_typed("suche"),
        show=request.args.get("status", type=listing.Show),
        origin=request.args.get("herkunft", type=Origin),
        city=_typed("ort"),
        order=request.args.get("sortierung", listing.Order.NEWEST, type=listing.Order),
    )


def _typed(name: str) -> str:
    return request.args.get(name, "").strip()[:100]


def _view() -> str:
    asked = request.args.get("ansicht")
    if asked in _VIEWS:
        session["view"] = asked
    return str(session.get("view", _VIEWS[0]))


def _list_url(endpoint: str = "portal.overview", **changes: Any) -> str:
    """Return the URL of the overview, or of another endpoint, with the filters of the current URL.

    `changes` gives query parameters by name: each replaces the current one, and None removes it.
    """
    names = ("suche", "status", "herkunft", "ort", "sortierung", "konto")
    kept: dict[str, Any] = {name: request.args[name] for name in names if request.args.get(name)}
    return url_for(endpoint, **{**kept, **changes})


def _order_words() -> dict[listing.Order, str]:
    return {
        listing.Order.NEWEST: _("Newest first"),
        listing.Order.NAME: _("Name"),
        listing.Order.CITY: _("City"),
        listing.Order.NUMBER: _("Customer number"),
    }


def _show_words() -> dict[listing.Show, str]:
    return {
        listing.Show.NEW: _("New orders"),
        listing.Show.RUNNING: _("In progress"),
        listing.Show.WAITING: _("Waiting for an answer"),
        listing.Show.ACTIVE: _("Nothing on its way"),
    }


def _origin_words() -> dict[Origin, str]:
    return {
        Origin.ORDER: _("Ordered as a new account"),
        Origin.LINK: _("Linked existing account"),
        Origin.COLLECTIVE_INVOICE: _("Collective invoice"),
    }


def _rows(account: Account, wanted: listing.LocationFilter, kind: str) -> Iterator[list[spreadsheets.Cell]]:
    yield [
        _("Customer number"), _("Kind"), _("Name"), _("Contact"), _("Street"), _("Postal code"), _("City"),
        _("Status"), _("Origin"), _("Attached since"), _("Waits until"),
    ]  # fmt: skip
    yield _row(listing.ListedAccount(account, None), kind)
    for items in _pages(account, wanted):
        for item in items:
            yield _row(item, kind_label(item.account, listed=True))


def _pages(account: Account, wanted: listing.LocationFilter) -> Iterator[list[listing.ListedAccount]]:
    # One transaction per page, so that a slow download does not keep a transaction open.
    after: str | None = None
    while True:
        with resources().database.transaction() as database:
            page = _page(database, account, wanted, after)
        yield list(page.items)
        after = page.after
        if after is None:
            return


def _page(
    database: Session, account: Account, wanted: listing.LocationFilter, after: str | None
) -> Page[listing.ListedAccount]:
    return listing.page_of(database, account, wanted, after=after, limit=EXPORT_PAGE)


def _row(item: listing.ListedAccount, kind: str) -> list[spreadsheets.Cell]:
    account, found = item.account, item.request
    return [
        account.customer_number,
        kind,
        account.name,
        account.contact_name,
        account.street,
        account.postal_code,
        account.city,
        status_text(found.status, locale()) if found is not None else state_label(account),
        origin_label(account.origin),
        _day(account.attached_at),
        last_day(found.waiting_until) if found is not None and found.waiting_until is not None else "",
    ]


def _day(at: datetime | None) -> spreadsheets.Cell:
    return spreadsheets.berlin_day(at) if at is not None else ""
