"""The page with the locations of a main account in groups by town or by state, with the totals of each group."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort, render_template
from flask_login import login_required

from models.states import AccountRole
from models.views.location_counts import MOST_GROUPS, Group, GroupBy, groups_of, total
from models.views.location_states import SiteState
from web.portal.accounts.list_filters import SHOWN
from web.portal.accounts.registrations import Registrations, addresses_to_ask, ask_network, offline_accounts
from web.portal.page.blueprints import locations
from web.portal.page.selected_account import selected_account
from web.resources import resources

_GROUPED = {"ort": GroupBy.CITY, "status": GroupBy.STATE}


@dataclass(frozen=True, slots=True)
class GroupedLocations:
    """The locations of the selected account in groups, with the registrations of their trunks.

    `konto` is the selected account's customer number, for links; None if the user has only one account. `known` says
    how many trunks are registered, and which accounts have one that is not; None if the telephone network was not asked
    or did not answer. `is_network_away` is True if the network was asked and did not answer.
    """

    konto: str | None
    groups: list[Group]
    known: Registrations | None
    is_network_away: bool


@locations.get("/gruppen/<any(ort, status):by>")
@login_required
def groups(by: str) -> str:
    """Show the selected account and its sub-accounts in groups by town (`ort`) or by state (`status`).

    Each group links to its locations in the overview. Abort with 404 if no account is selected, or if it is a
    sub-account.
    """
    found = read_groups(_GROUPED[by])
    return render_template(
        "accounts/groups.html",
        by=by,
        konto=found.konto,
        groups=_by_urgency(found.groups) if by == "status" else found.groups,
        whole=total(found.groups),
        most=MOST_GROUPS,
        known=found.known,
        is_network_away=found.is_network_away,
        shows=SHOWN,
    )


def read_groups(by: GroupBy) -> GroupedLocations:
    """Return the selected account and its sub-accounts in groups, with their totals, by town or by state.

    Asks the telephone network first which trunks are registered, with no transaction open. Abort with 404 if no account
    is selected, or if it is a sub-account.
    """
    with resources().database.transaction() as database:
        seen = selected_account(database)
        if seen.account is None or seen.account.role is AccountRole.SUB:
            abort(404)
        trunks = addresses_to_ask(database, seen.account, all_of_them=True)
    known = ask_network(trunks)
    offline = offline_accounts(known)
    with resources().database.transaction() as database:
        groups = groups_of(database, seen.account, by, resources().clock(), offline=offline)
    return GroupedLocations(seen.konto, groups, known, trunks is not None and known is None)


def _by_urgency(groups: list[Group]) -> list[Group]:
    order = [str(state) for state in SiteState]
    return sorted(groups, key=lambda group: order.index(group.name))
