"""Tests of the rule which town may have numbers of which local network (Ortsnetz)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.orders.orders import area_code_fits
from models.requests.requests import Request
from models.telephony.area_codes import AreaCode
from models.telephony.towns import FURTHER_TOWNS


def fits(database: Database, city: str, code: str) -> bool:
    """Return whether an order from the city may have numbers of the area code."""
    with database.transaction() as session:
        area = session.get_one(AreaCode, code)
    return area_code_fits(Request(account=Account(city=city), area=area))


@pytest.mark.parametrize(
    ("city", "code"),
    [
        ("Mannheim", "0621"),
        ("Ludwigshafen", "0621"),
        ("Ludwigshafen am Rhein", "0621"),
        ("Villingen-Schwenningen", "07720"),
        ("Villingen-Schwenningen", "07721"),
        ("Wittenberg", "03491"),
        ("Lutherstadt Wittenberg", "03491"),
        ("Eisleben", "03475"),
        ("Nürnberg", "0911"),
        ("Fürth", "0911"),
        ("Fürth (Bay.)", "0911"),
        ("Wuppertal", "0202"),
        ("Oberhausen", "0208"),
        ("Mülheim an der Ruhr", "0208"),
        ("Muelheim a. d. Ruhr", "0208"),
        ("Solingen", "0212"),
        ("Offenbach am Main", "069"),
        ("Neu-Ulm", "0731"),
    ],
)
def test_an_ortsnetz_reaches_into_all_its_towns(database: Database, city: str, code: str) -> None:
    assert fits(database, city, code)


@pytest.mark.parametrize(
    ("city", "code"),
    [
        ("Ludwigshafen/Bodensee", "0621"),
        ("Heidelberg", "0621"),
        ("Fürth (Odenwald)", "0911"),
        ("Erlangen", "0911"),
        ("Wittenberge", "03491"),
        ("Mülheim-Kärlich", "0208"),
        ("Ulm", "0711"),
        ("Mannheim", "0911"),
    ],
)
def test_and_into_no_others(database: Database, city: str, code: str) -> None:
    assert not fits(database, city, code)


def test_further_towns_belong_to_area_codes_that_exist(database: Database) -> None:
    with database.transaction() as session:
        assert set(FURTHER_TOWNS) <= set(session.scalars(sa.select(AreaCode.code)))
