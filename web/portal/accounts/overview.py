"""The overview, the start page of the portal: the main account and its sub-accounts as cards or as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from flask_login import current_user, login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import may_be_main
from models.db.paging import BadCursor, Page
from models.links.collective_invoices import billed_together
from models.links.tags import tags_of
from models.orders.drafts import open_drafts
from models.people.rights import Action, may
from models.proofs.proof_status import ProofStatus, proof_statuses
from models.requests.effective_days import planned_of
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, AccountRole, AccountState, Actor, Kind, Origin, Reason, Status
from models.views import locations as listing
from models.views import own_accounts
from models.views.location_counts import Counts, GroupBy, Sums, counts_of, groups_of, total
from models.views.location_states import Show, SiteState, state_of
from tasks.outbox.what_changes import AddedNumbers, ChangedTerms, MovedTerms, described_plan
from tasks.wording.next_steps import NextAction, next_actions, shown_status
from web.portal.accounts.list_filters import ORDERS, ORIGINS, SHOWN, chosen_view, list_url, read_filters
from web.portal.accounts.registrations import Registrations, addresses_to_ask, ask_network, offline_accounts
from web.portal.page.blueprints import locations, portal
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.selected_account import selected_account
from web.resources import resources

PAGE = 48
_MOST_ASKED = 100
SUMMED_UP_TO = 1000
"""The largest number of locations for which the overview shows totals. With more, only the page of the groups does."""

# Polling intervals in milliseconds: while the carrier works on a request, while a person has to act, never.
SOON, LATER, NEVER = 3000, 15000, 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a request in words, for the cards and rows of the overview.

    `status` is the displayed name of the request's status. `turns` has the next actions on the request, each with who
    has to act, a sentence on what to do, and the deadline; it is empty once the request has ended. `who` names all who
    have to act, in one text; None if the request waits for nobody.
    """

    request: Request
    status: str
    turns: list[NextAction]
    who: str | None
    is_fresh: bool
    """Whether this is an order that is being processed and needs nothing from anybody."""

    @property
    def running(self) -> bool:
        """Return whether the request has not ended yet."""
        return self.request.status not in ENDED

    @property
    def until(self) -> datetime | None:
        """Return the earliest deadline of the next actions; None if none has a deadline."""
        return min((turn.until for turn in self.turns if turn.until is not None), default=None)


def progress(found: Request | None, asked: Mapping[UUID, Sequence[ProofStatus]]) -> Progress | None:
    """Return the state of the request `found` in words, in the user's language; None if `found` is None.

    `asked` has the statuses of the proofs that requests need, by request id, as `proofs_of` returns them.
    """
    if found is None:
        return None
    now = resources().clock()
    fresh = found.kind is Kind.ORDER and found.status in (Status.ACKNOWLEDGED, Status.IN_PROGRESS)
    turns = next_actions(found, locale(), now, asked.get(found.id, ()))
    waits = found.waiting_for is not None and not found.is_looked_at(now)
    who = ", ".join(dict.fromkeys(_who(turn, found) for turn in turns)) if waits else None
    return Progress(found, shown_status(found, locale(), now), turns, who, fresh)


def proofs_of(session: Session, requests: Iterable[Request]) -> Mapping[UUID, Sequence[ProofStatus]]:
    """Return the statuses of the proofs that requests need, by request id.

    Only requests that wait for a person have a key. Runs no SQL statement if none of the requests waits, otherwise a
    fixed number of them.
    """
    waiting = [found for found in requests if found.status is Status.PENDING]
    return proof_statuses(session, waiting, resources().clock()) if waiting else {}


def poll_interval(requests: list[Request]) -> int:
    """Return the milliseconds after which the page's script reads the state of the requests again.

    `SOON` (3 seconds) if the carrier is working on one of the requests, `LATER` (15 seconds) if all running ones wait
    for a person, `NEVER` (0: not at all) if all have ended or wait for the day on which they take effect.
    """
    now = resources().clock()
    states = {found.status for found in requests if not found.is_scheduled(now)} - ENDED
    if states - {Status.PENDING} or any(found.is_looked_at(now) for found in requests):
        return SOON
    return LATER if states else NEVER


@portal.get("/")
def home() -> AnyResponse:
    """Redirect to the overview of the user's locations."""
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
    wanted = read_filters()
    with resources().database.transaction() as database:
        seen = selected_account(database)
        account = seen.account
        closed = own_accounts.closed_accounts(database, principal()) if account is None else []
    if account is None and principal().is_staff:
        return redirect(url_for("office.todo"))
    if account is None:
        return render_template("accounts/no_accounts.html", closed=closed)
    if account.role is AccountRole.SUB:
        return redirect(url_for("locations.show", customer_number=account.customer_number))
    try:
        glance = _read(account, wanted, request.args.get("nach") or None)
    except BadCursor:
        abort(404)
    return render_template(
        "accounts/overview.html",
        here=list_url(),
        konto=seen.konto,
        account=account,
        choices=seen.choices,
        glance=glance,
        page=glance.page,
        count=glance.count,
        wanted=wanted,
        view=chosen_view(glance.counts.sites),
        first=not request.args.get("nach"),
        may_add=may_add(account),
        progress=partial(progress, asked=glance.asked),
        standing_label=standing_label,
        count_text=count_text,
        kind_label=kind_label,
        address=partial(list_url, konto=seen.konto),
        poll=poll_interval(glance.running),
        orders=ORDERS,
        shows=SHOWN,
        origins=ORIGINS,
    )


@dataclass(frozen=True, slots=True)
class Glance:
    """The data of the overview: the selected account (`main`) and one page of the list of its sub-accounts (`page`).

    `count` is the number of the list's rows on all pages. `counts` has the number of locations in each state,
    regardless of the filters. `links` are the running link requests and switches that match the filter by state.
    `cities` are the towns to filter by, `tags` the tags, `drafts` is the number of saved orders. `known` says how many
    trunks are registered, and which accounts have one that is not; None if the telephone network was not asked or did
    not answer. `is_network_away` is True if the network was asked and did not answer. `sums` has the totals of all
    locations, None if there are more than 1,000. `asked` has the statuses of the proofs that requests need, by request
    id. `planned` has, by account id, the requests that take effect on a later day, each with its new terms in words
    (None for a detachment or a cancellation). `billed` has the ids of the shown accounts that are on the main account's
    collective invoice.
    """

    main: listing.ListedAccount
    page: Page[listing.ListedAccount]
    count: int
    counts: Counts
    links: list[Request]
    cities: list[str]
    tags: Sequence[str]
    drafts: int
    known: Registrations | None
    is_network_away: bool
    sums: Sums | None
    asked: Mapping[UUID, Sequence[ProofStatus]]
    planned: Mapping[int, Sequence[tuple[Request, ChangedTerms | AddedNumbers | MovedTerms | None]]]
    billed: frozenset[int]

    @property
    def running(self) -> list[Request]:
        """Return the running requests that the page shows.

        These are the requests about the main account and the listed sub-accounts, and the link requests in `links`.
        """
        shown = [item.request for item in (self.main, *self.page.items) if item.request is not None]
        return [*shown, *self.links]


def _read(account: Account, wanted: listing.LocationFilter, after: str | None) -> Glance:
    """Return the data of the account's overview with the filters `wanted`.

    `after` is the cursor of the page of sub-accounts, None for the first page. Asks the telephone network first which
    trunks are registered, with no transaction open. Raises `BadCursor` if `after` is no cursor of the list.
    """
    person, now = principal(), resources().clock()
    # Whether phone systems are registered is asked of another system, with no transaction open.
    with resources().database.transaction() as database:
        trunks = addresses_to_ask(database, account, all_of_them=wanted.show in (Show.OFFLINE, Show.IN_SERVICE))
    known = ask_network(trunks)
    offline = offline_accounts(known)
    with resources().database.transaction() as database:
        page = listing.page_of(database, account, wanted, after=after, limit=PAGE, offline=offline)
        counts = counts_of(database, account, offline=offline)
        own = listing.own_requests(database, account)
        links = [found for found in own if found.kind in ATTACHING]
        if wanted.show is not None:
            links = [found for found in links if state_of(found) in wanted.show.states]
        has_few = counts.sites <= SUMMED_UP_TO
        main = listing.listed_itself(database, account, own, offline=offline)
        shown = [item.request for item in (main, *page.items) if item.request is not None]
        listed = [item.account.id for item in (main, *page.items)]
        planned = planned_of(database, listed)
        return Glance(
            main=main,
            page=page,
            count=listing.count_of(database, account, wanted, offline=offline)
            if wanted.is_narrowed
            else counts.sites - 1,
            counts=counts,
            links=links if wanted.show is not Show.NEW else [],
            cities=listing.cities_of(database, account),
            tags=tags_of(database, account.id),
            drafts=len(open_drafts(database, account, now)) if may(person, Action.ORDER, account) else 0,
            known=known,
            is_network_away=trunks is not None and known is None,
            sums=total(groups_of(database, account, GroupBy.STATE, now, offline=offline)) if has_few else None,
            asked=proofs_of(database, [*shown, *links]),
            planned={
                id: [(found, described_plan(database, found, locale())) for found in waiting]
                for id, waiting in planned.items()
            },
            billed=billed_together(database, listed),
        )


@locations.get("/stand")
@login_required
def live() -> str:
    """Return the current state of requests as HTML fragments, which the overview's script puts into the page.

    The query parameters `id` are the requests' ids. Ids after the first 100, and requests that the user may not see,
    are ignored.
    """
    ids = request.args.getlist("id", type=UUID)[:_MOST_ASKED]
    with resources().database.transaction() as database:
        found = listing.requests_by_id(database, principal(), ids)
        said = partial(progress, asked=proofs_of(database, found))
    return render_template("accounts/overview_live.html", found=found, progress=said, poll=poll_interval(found))


@locations.get("/nebenaccount")
@login_required
def add() -> str:
    """Show the page with the two choices to add a sub-account: order a new account or link an existing one.

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


def may_add(account: Account) -> bool:
    """Return whether the account can have sub-accounts, and the user may order or link sub-accounts for it."""
    return may_be_main(account) and any(may(principal(), action, account) for action in (Action.ORDER, Action.LINK))


def kind_label(account: Account, *, listed: bool = False, leads: bool = False) -> str:
    """Return the word for the kind of account in the page's language: main account, sub-account or account.

    `listed`: the account is shown as a sub-account, even if it is not attached to its main account yet. `leads`: the
    account has sub-accounts or sub-accounts on order, even if its role is not `main` yet.
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


def standing_label(item: listing.ListedAccount) -> str:
    """Return the words for the state of a location about which no request is running.

    "Suspended" if a trunk of the location is suspended, "Phone system not registered" if a trunk has no registration,
    else the state of its account: ordered, active or closed.
    """
    match item.state:
        case SiteState.SUSPENDED:
            return str(_("Suspended"))
        case SiteState.OFFLINE:
            return str(_("Phone system not registered"))
    return state_label(item.account)


def count_text(state: SiteState, count: int) -> str:
    """Return a short text that says how many locations are in the state, such as "3 wait for you"."""
    match state:
        case SiteState.YOURS:
            return str(ngettext("%(num)s waits for you", "%(num)s wait for you", count))
        case SiteState.SUSPENDED:
            return str(ngettext("%(num)s suspended", "%(num)s suspended", count))
        case SiteState.OFFLINE:
            return str(ngettext("%(num)s not registered", "%(num)s not registered", count))
        case SiteState.CONFIRMATION:
            return str(ngettext("%(num)s waits for a confirmation", "%(num)s wait for a confirmation", count))
        case SiteState.RUNNING:
            return str(ngettext("%(num)s in progress", "%(num)s in progress", count))
        case SiteState.IN_SERVICE:
            return str(ngettext("%(num)s in service", "%(num)s in service", count))


def origin_label(origin: Origin | None) -> str:
    """Return the words for how a sub-account was attached to its main account; empty if `origin` is None."""
    return str(ORIGINS[origin]) if origin is not None else ""


def _who(turn: NextAction, found: Request) -> str:
    if turn.by_several:
        return str(_("You, or somebody at the location"))
    match turn.actor:
        case Actor.REQUESTER:
            return str(_("You, or the person who manages the main account"))
        case Actor.CONTACT:
            return str(_("The contact of the location"))
        case Actor.OTHER_ACCOUNT if found.reason is Reason.MAIN_CONSENT_AWAITED:
            return str(_("An administrator of the present main account"))
        case Actor.OTHER_ACCOUNT:
            return str(_("An administrator of customer number %(number)s", number=found.customer_number))
        case Actor.APPROVER:
            return str(_("A second person of your company"))
        case Actor.CARRIER:
            return str(_("We"))
