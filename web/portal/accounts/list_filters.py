"""The filters, the sort order and the view (cards or table) of the overview, as its URL has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request, session, url_for
from flask_babel import lazy_gettext

from models.states import Origin
from models.text_cutting import shortened
from models.views.location_states import Show
from models.views.locations import LocationFilter, Order

CARDS, TABLE = "karten", "tabelle"
TABLE_FROM = 50
"""The number of locations from which the overview begins with the table, until the user chooses a view."""

_KEPT = ("suche", "status", "herkunft", "ort", "genau", "schlagwort", "sortierung", "konto")

ORDERS: Mapping[Order, Any] = {
    Order.NEED: lazy_gettext("What needs doing first"),
    Order.NEWEST: lazy_gettext("Newest first"),
    Order.NAME: lazy_gettext("Name"),
    Order.CITY: lazy_gettext("City"),
    Order.NUMBER: lazy_gettext("Customer number"),
}
SHOWN: Mapping[Show, Any] = {
    Show.YOURS: lazy_gettext("Waiting for you"),
    Show.CONFIRMATION: lazy_gettext("Waiting for a confirmation"),
    Show.WAITING: lazy_gettext("Waiting for an answer"),
    Show.RUNNING: lazy_gettext("In progress"),
    Show.NEW: lazy_gettext("New orders"),
    Show.OFFLINE: lazy_gettext("Not registered"),
    Show.SUSPENDED: lazy_gettext("Suspended"),
    Show.ACTIVE: lazy_gettext("Nothing on its way"),
    Show.IN_SERVICE: lazy_gettext("In service"),
}
ORIGINS: Mapping[Origin, Any] = {
    Origin.ORDER: lazy_gettext("Ordered as a new account"),
    Origin.LINK: lazy_gettext("Linked existing account"),
    Origin.COLLECTIVE_INVOICE: lazy_gettext("Collective invoice"),
}


def read_filters() -> LocationFilter:
    """Return the filters in the query of the current URL. An invalid filter is ignored, as if it were not there."""
    return LocationFilter(
        search=_typed("suche"),
        show=request.args.get("status", type=Show),
        origin=request.args.get("herkunft", type=Origin),
        city=_typed("ort"),
        is_whole_city="genau" in request.args,
        tag=_typed("schlagwort"),
        order=request.args.get("sortierung", Order.NEED, type=Order),
    )


def chosen_view(sites: int) -> str:
    """Return how to show the overview: as cards (`CARDS`) or as a table (`TABLE`).

    A valid choice in the query parameter `ansicht` is kept in the session and applies from then on. A user who never
    chose gets the table from `TABLE_FROM` (50) locations on, the cards with fewer; `sites` is the number of locations.
    """
    asked = request.args.get("ansicht")
    if asked in (CARDS, TABLE):
        session["view"] = asked
    return str(session.get("view", TABLE if sites >= TABLE_FROM else CARDS))


def list_url(endpoint: str = "portal.overview", **changes: Any) -> str:
    """Return the URL of the overview, or of another endpoint, with the filters of the current URL.

    `changes` gives query parameters by name: each replaces the current value of that parameter, None removes it.
    """
    kept: dict[str, Any] = {name: request.args[name] for name in _KEPT if request.args.get(name)}
    return url_for(endpoint, **{**kept, **changes})


def _typed(name: str) -> str:
    return shortened(request.args.get(name, "").strip(), 100)
