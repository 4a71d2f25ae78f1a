"""Tests of where emergency calls go: the registrar is told the postal code of the ordered address."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.session import Database
from models.errors import InvalidField
from models.orders.area_code_of_address import area_codes_for
from models.people.rights import Principal
from models.telephony.trunks import SipTrunk
from tasks.registrar.trunks import record_of
from tests.factories import NOW, VAULT, an_order, make_main, submit_order

TABLE = Path(__file__).with_name("emergency.csv")
"""The path of a CSV file of addresses, each with the postal code that its emergency calls carry.

The postal code is a dash if the address cannot be ordered.
"""


def destination(session: Session, principal: Principal, main: Account, street: str, postal_code: str, city: str) -> str:
    """Order a location at this address; return the postal code by which its emergency calls are routed.

    Return "-" if the order is refused.
    """
    fitting = area_codes_for(session, postal_code, city, 1)
    place = replace(an_order().location, street=street, postal_code=postal_code, city=city)
    draft = an_order(location=place, area_code=fitting[0].code if fitting else "030")
    try:
        account = submit_order(session, principal, main, draft, NOW).account
    except InvalidField:
        return "-"
    assert account is not None
    there = Account(street=account.street, postal_code=account.postal_code, city=account.city)
    trunk = SipTrunk(account=there, sip_user="t1", domain="sip.example", secret=VAULT.seal("x"), channels=2)
    return record_of(trunk, VAULT).postal_code


def test_where_the_emergency_calls_of_fifty_addresses_go(database: Database) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    with database.transaction() as session:
        main, principal = make_main(session)
        found = [destination(session, principal, main, row["street"], row["postal_code"], row["city"]) for row in rows]
    assert len(rows) == 50
    assert found == [row["destination"] for row in rows]
