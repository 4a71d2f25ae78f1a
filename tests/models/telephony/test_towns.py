"""Tests of the portal's own list of towns that lie in the local exchange area (Ortsnetz) of another town."""

from __future__ import annotations

import sqlalchemy as sa

from models.db.session import Database
from models.telephony.area_codes import AreaCode
from models.telephony.place_answers import KnownPlace, load_towns
from models.telephony.towns import FURTHER_TOWNS
from tests.factories import NOW


def test_further_towns_belong_to_area_codes_that_exist(database: Database) -> None:
    with database.transaction() as session:
        assert set(FURTHER_TOWNS) <= set(session.scalars(sa.select(AreaCode.code)))


def test_every_further_town_is_known_from_the_start_with_its_postal_codes(database: Database) -> None:
    with database.transaction() as session:
        before = session.scalar(sa.select(sa.func.count()).select_from(KnownPlace))
        load_towns(session, NOW)
        known = session.execute(sa.select(KnownPlace.area_code, KnownPlace.town, KnownPlace.postal_code)).all()
    assert len(known) == before
    assert {(code, town) for code, town, _ in known} == {
        (code, town) for code, towns in FURTHER_TOWNS.items() for town in towns
    }
    # The town near the Ortsnetz, not another one of that name.
    assert ("0911", "Fürth", "90762") in known and ("0911", "Fürth", "64658") not in known
