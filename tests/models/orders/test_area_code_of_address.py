"""Tests of the rule for addresses: the postal code must fit the town, and the area code must fit both."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from models.db.session import Database
from models.errors import InvalidField
from models.orders.area_code_of_address import area_codes_for, certainty_of, ensure_postal_code

TABLE = Path(__file__).with_name("addresses.csv")
"""CSV file of towns with postal code, area code and expected verdict, from public knowledge.

The area codes are right, neighbouring, wrong or ambiguous.
"""


def verdict(session: Session, postal_code: str, city: str, area_code: str) -> str:
    """Return how well address and area code fit: "certain", "plausible" or "impossible".

    If the postal code does not fit the town, return the code of that error instead, such as "unknown_postal_code".
    """
    try:
        ensure_postal_code(session, postal_code, city)
    except InvalidField as error:
        return error.code
    return certainty_of(session, postal_code, city, area_code)


def test_the_verdict_on_two_hundred_towns(database: Database) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    with database.transaction() as session:
        wrong = [
            (*row.values(), found)
            for row in rows
            if (found := verdict(session, row["postal_code"], row["city"], row["area_code"])) != row["verdict"]
        ]
    assert not wrong
    assert len({(row["postal_code"], row["city"]) for row in rows}) >= 200
    assert set(Counter(row["verdict"] for row in rows)) == {
        "certain", "plausible", "impossible", "postal_code_elsewhere", "unknown_postal_code", "unknown_postal_code_of",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("postal_code", "city", "fitting"),
    [
        ("60311", "Frankfurt", "069"),
        ("15230", "Frankfurt", "0335"),
        ("12529", "Schönefeld", "030"),
        ("85737", "Ismaning", "089"),
        ("85716", "Unterschleißheim", "089"),
        ("65760", "Eschborn", "06196"),
        ("30853", "Langenhagen", "0511"),
        ("01445", "Radebeul", "0351"),
        ("22885", "Barsbüttel", "040"),
        ("78048", "Villingen-Schwenningen", "07721"),
    ],
)
def test_the_area_code_of_a_town_is_offered_first(
    database: Database, postal_code: str, city: str, fitting: str
) -> None:
    with database.transaction() as session:
        offered = [area.code for area in area_codes_for(session, postal_code, city)]
    assert fitting in offered[:2] and len(offered) <= 5


def test_towns_of_one_name_are_offered_their_own_area_code_only(database: Database) -> None:
    with database.transaction() as session:
        main = {area.code for area in area_codes_for(session, "60311", "Frankfurt", 100)}
        oder = {area.code for area in area_codes_for(session, "15230", "Frankfurt", 100)}
    assert "069" in main and "0335" in oder and not main & oder
