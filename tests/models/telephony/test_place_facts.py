"""Tests of the facts about places: the position of each postal code, and how the name of its town is spelled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import hypot
from threading import Barrier

import pytest

from models.db.session import Database
from models.telephony import place_facts
from models.telephony.place_facts import places_of

MIDDLES = {
    "10179": (52.5, 13.4), "80331": (48.1, 11.6), "20095": (53.6, 10.0), "50667": (50.9, 7.0), "01067": (51.1, 13.7),
}  # fmt: skip


@pytest.mark.parametrize("postal_code", MIDDLES)
def test_a_postal_code_is_where_its_town_is(database: Database, postal_code: str) -> None:
    with database.transaction() as session:
        found = places_of(session).position(postal_code)
    assert found is not None
    latitude, longitude = MIDDLES[postal_code]
    assert hypot(found[0] - latitude, found[1] - longitude) < 0.15


def test_a_code_that_does_not_exist_is_nowhere(database: Database) -> None:
    with database.transaction() as session:
        places = places_of(session)
    assert places.position("00001") is None and places.position("x") is None


@pytest.mark.parametrize(
    ("postal_code", "typed", "expected"),
    [
        ("10179", "berlin", "Berlin"),
        ("10179", "BERLIN", "Berlin"),
        ("80331", "muenchen", "München"),
        ("80331", "münchen", "München"),
        ("60311", "frankfurt", "Frankfurt"),
        ("60311", "frankfurt AM main", "Frankfurt am Main"),
        ("10179", "köln", "köln"),
        ("10179", "berlinn", "berlinn"),
        ("00001", "nirgends", "nirgends"),
        ("10179", "", ""),
    ],
)
def test_a_town_is_spelled_as_in_the_directory(database: Database, postal_code: str, typed: str, expected: str) -> None:
    with database.transaction() as session:
        assert places_of(session).spelled(postal_code, typed) == expected


def test_threads_that_need_the_facts_at_once_read_them_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[place_facts.Places] = []
    monkeypatch.setattr(place_facts, "_known", known)
    together = Barrier(3)

    def read(_: int) -> None:
        with database.transaction() as session:
            together.wait(30)
            places_of(session)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(read, range(3)))
    assert len(known) == 1
