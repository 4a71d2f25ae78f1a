"""The locations of a main account on a map: a point for each town, drawn as SVG, and the same towns as a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sqrt

from flask import render_template
from flask_login import login_required

from models.telephony.place_facts import Places, places_of
from models.views.location_counts import MOST_GROUPS, Group, GroupBy
from web.portal.accounts.location_groups import read_groups
from web.portal.page.blueprints import locations
from web.resources import resources

WIDTH, HEIGHT = 600, 800
"""Width and height of the drawing, in its own units. The drawing shows Germany."""
_NORTH, _SOUTH, _WEST = 55.2, 47.1, 5.6
_SCALE = HEIGHT / (_NORTH - _SOUTH)
_SMALLEST, _LARGEST = 5.0, 22.0

# The border, roughly: longitude and latitude in degrees, from Sylt clockwise.
_BORDER = (
    (8.4, 55.0), (9.4, 54.8), (10.0, 54.75), (10.1, 54.4), (11.1, 54.5), (10.8, 54.0), (11.5, 54.05), (12.4, 54.4),
    (13.4, 54.65), (13.7, 54.3), (14.25, 53.9), (14.4, 53.3), (14.15, 52.85), (14.6, 52.55), (14.75, 52.05),
    (14.6, 51.8), (15.03, 51.27), (14.83, 50.87), (14.3, 51.0), (13.5, 50.7), (12.5, 50.4), (12.1, 50.25),
    (12.5, 49.9), (12.65, 49.45), (13.4, 48.98), (13.83, 48.77), (13.45, 48.55), (12.75, 48.1), (13.0, 47.7),
    (13.05, 47.5), (12.2, 47.65), (11.6, 47.58), (11.0, 47.4), (10.45, 47.55), (10.2, 47.3), (9.95, 47.53),
    (9.5, 47.6), (8.9, 47.65), (8.5, 47.75), (7.6, 47.56), (7.55, 48.0), (7.8, 48.55), (8.2, 48.97), (7.0, 49.15),
    (6.4, 49.45), (6.5, 49.8), (6.1, 50.15), (6.2, 50.55), (6.0, 50.75), (6.1, 51.2), (6.2, 51.4), (5.98, 51.8),
    (6.8, 51.95), (7.05, 52.25), (6.7, 52.5), (7.05, 52.65), (7.2, 53.2), (7.0, 53.35), (7.1, 53.65), (8.0, 53.7),
    (8.2, 53.45), (8.6, 53.87), (9.2, 53.87), (8.9, 54.15), (8.65, 54.35), (8.85, 54.6),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dot:
    """A town on the map: its point has the centre `x`, `y` and the radius `radius`, in units of the drawing.

    `town` has the name of the town and the totals of its locations.
    """

    x: float
    y: float
    radius: float
    town: Group


@locations.get("/landkarte")
@login_required
def show_map() -> str:
    """Show the towns of the selected account and its sub-accounts on a map, and all of these towns as a list.

    Abort with 404 if no account is selected, or if it is a sub-account.
    """
    found = read_groups(GroupBy.CITY)
    with resources().database.transaction() as database:
        places = places_of(database)
    dots = _dots(found.groups, places)
    return render_template(
        "accounts/map.html",
        konto=found.konto,
        towns=found.groups,
        dots=dots,
        unplaced=len(found.groups) - len(dots),
        most=MOST_GROUPS,
        is_network_away=found.is_network_away,
        border=" ".join(
            f"{x:.0f},{y:.0f}" for x, y in (_place(latitude, longitude) for longitude, latitude in _BORDER)
        ),
        width=WIDTH,
        height=HEIGHT,
    )


def _dots(towns: Sequence[Group], places: Places) -> list[Dot]:
    """Return a point for each of the `towns`, the largest first, so that no point hides a smaller one.

    `places` has the positions of postal codes; a town without a known position is left out. A point's area grows with
    the number of locations in the town.
    """
    most = max((town.sums.sites for town in towns), default=1)
    dots = []
    for town in towns:
        position = places.position(town.postal_code)
        if position is not None:
            x, y = _place(*position)
            radius = max(_SMALLEST, _LARGEST * sqrt(town.sums.sites / most)) if most > 1 else _SMALLEST * 1.5
            dots.append(Dot(round(x, 1), round(y, 1), round(radius, 1), town))
    return sorted(dots, key=lambda dot: -dot.radius)


def _place(latitude: float, longitude: float) -> tuple[float, float]:
    """Convert latitude and longitude in degrees to x and y on the map, in units of the drawing.

    The projection is equirectangular: a degree of longitude has the same width everywhere, that of the middle latitude.
    """
    shrunk = cos(radians((_NORTH + _SOUTH) / 2))
    return (longitude - _WEST) * shrunk * _SCALE, (_NORTH - latitude) * _SCALE
