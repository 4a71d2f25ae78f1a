"""Where towns are, by postal code."""

from __future__ import annotations

from math import hypot

import pytest

from models.telephony.town_positions import position_of


@pytest.mark.parametrize(
    ("postal_code", "latitude", "longitude"),
    [("10179", 52.5, 13.4), ("80331", 48.1, 11.6), ("20095", 53.6, 10.0), ("50667", 50.9, 7.0), ("01067", 51.1, 13.7)],
)
def test_a_postal_code_is_where_its_town_is(postal_code: str, latitude: float, longitude: float) -> None:
    assert _degrees_between(postal_code, latitude, longitude) < 0.15


def test_an_unknown_code_is_among_those_alike_and_nonsense_is_nowhere() -> None:
    assert _degrees_between("10198", 52.5, 13.4) < 0.3
    assert position_of("00001") is None and position_of("x") is None


def _degrees_between(postal_code: str, latitude: float, longitude: float) -> float:
    found = position_of(postal_code)
    assert found is not None
    return hypot(found[0] - latitude, found[1] - longitude)
