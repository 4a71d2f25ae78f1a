"""Where towns are, by postal code."""

from __future__ import annotations

import pytest

from models.telephony.town_positions import position_of


@pytest.mark.parametrize(
    ("postal_code", "latitude", "longitude"),
    [("10179", 52.5, 13.4), ("80331", 48.1, 11.6), ("20095", 53.6, 10.0), ("50667", 50.9, 7.0), ("01067", 51.1, 13.7)],
)
def test_a_postal_code_is_where_its_town_is(postal_code: str, latitude: float, longitude: float) -> None:
    assert position_of(postal_code) == (pytest.approx(latitude, abs=0.1), pytest.approx(longitude, abs=0.1))


def test_an_unknown_code_is_among_those_alike_and_nonsense_is_nowhere() -> None:
    found = position_of("10100")
    assert found is None or found == (pytest.approx(52.5, abs=0.3), pytest.approx(13.4, abs=0.3))
    assert position_of("00001") is None and position_of("x") is None
