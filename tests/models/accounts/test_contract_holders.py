"""Tests of the contract holder: which data the law demands, and who holds the contracts of an account.

An ordered sub-account has the holder of its main account, a linked one its own.
"""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.contract_holders import (
    Addressee,
    ContractHolder,
    HolderData,
    LegalForm,
    accounts_without_holder,
    addressee_of,
    check_holder,
    holder_of,
    put_holder,
)
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.states import AccountState, Origin
from tests.factories import HOLDER, NOW, make_account, make_main
from tests.models.accounts.test_hierarchy import refused_by

TODAY = date(2026, 3, 2)
COMPANY = {
    "name": " Muster  GmbH ", "form": "company", "register_number": "HRB 1", "street": "Weg 1", "postal_code": "10115",
    "city": "Berlin",
}  # fmt: skip
PERSON = {**COMPANY, "form": "person", "born_on": "1.2.1980"}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (COMPANY, ("Muster GmbH", "company", "HRB 1", None, "10115")),
        (PERSON, ("Muster GmbH", "person", None, date(1980, 2, 1), "10115")),
        ({**PERSON, "born_on": "1980-02-01"}, ("Muster GmbH", "person", None, date(1980, 2, 1), "10115")),
        ({**COMPANY, "form": "other", "postal_code": "at-1010"}, ("Muster GmbH", "other", None, None, "AT-1010")),
    ],
)
def test_a_holder_has_what_its_form_asks_for(typed: dict[str, str], expected: tuple[object, ...]) -> None:
    found = check_holder(typed, TODAY)
    assert isinstance(found, HolderData)
    assert (found.name, found.form, found.register_number, found.born_on, found.postal_code) == expected


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"name": "", "city": " "}, {"name": "missing", "city": "missing"}),
        ({"form": ""}, {"form": "missing"}),
        ({"form": "baron"}, {"form": "unknown_form"}),
        ({"register_number": ""}, {"register_number": "missing"}),
        ({"form": "person"}, {"born_on": "missing"}),
        ({"form": "person", "born_on": "31.2.1980"}, {"born_on": "not_a_birth_date"}),
        ({"form": "person", "born_on": "3.3.2026"}, {"born_on": "not_a_birth_date"}),
        ({"form": "person", "born_on": "1.1.1899"}, {"born_on": "not_a_birth_date"}),
        ({"postal_code": "?"}, {"postal_code": "not_a_postal_code"}),
        ({"street": "x" * 201}, {"street": "too_long"}),
        ({"name": "Gewinn: http://evil.example"}, {"name": "web_address"}),
        ({"city": "Ber\x00lin", "name": "\ue000 GmbH"}, {"city": "unprintable", "name": "unprintable"}),
    ],
)
def test_what_is_missing_or_wrong_is_named(changes: dict[str, str], problems: dict[str, str]) -> None:
    found = check_holder({**COMPANY, **changes}, TODAY)
    assert isinstance(found, list)
    assert {problem.field: problem.code for problem in found} == problems


def test_an_ordered_account_is_under_its_main_accounts_holder_and_a_linked_one_has_its_own(database: Database) -> None:
    with database.transaction() as session:
        main, _ = make_main(session, name="Portalname")
        ordered, linked, single = (make_account(session, name=name) for name in ("Filiale", "Partner", "Allein"))
        attach(session, main.id, ordered.id, Origin.ORDER, NOW)
        attach(session, main.id, linked.id, Origin.LINK, NOW)
        make_account(session, state=AccountState.CLOSED)
        assert accounts_without_holder(session) == 3
        assert addressee_of(session, main) == Addressee("Portalname", "Alter Markt 1", "33602", "Bielefeld")
        put_holder(session, main.id, HOLDER, NOW)
        assert accounts_without_holder(session) == 2
    with database.transaction() as session:
        found = {
            account.name: (holder.name if (holder := holder_of(session, account)) is not None else None)
            for account in session.scalars(sa.select(Account).where(Account.state == AccountState.ACTIVE))
        }
        assert found == {"Portalname": HOLDER.name, "Filiale": HOLDER.name, "Partner": None, "Allein": None}
        assert addressee_of(session, session.get_one(Account, single.id)).name == "Allein"


@pytest.mark.parametrize("change", ["register_number = NULL", "born_on = '1980-01-01'", "form = 'person'"])
def test_the_database_asks_for_it_too(database: Database, change: str) -> None:
    with database.transaction() as session:
        put_holder(session, make_account(session).id, HOLDER, NOW)
        assert session.scalars(sa.select(ContractHolder.form)).all() == [LegalForm.COMPANY]
    assert refused_by(database, f"UPDATE contract_holders SET {change}") in {
        "ck_contract_holders_company_has_number", "ck_contract_holders_person_has_birth",
    }  # fmt: skip
