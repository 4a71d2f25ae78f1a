"""Tests of the page on which an account's administrators see and change its contract holder.

An ordered sub-account shows the holder of its main account instead. Changes are recorded in the audit log and in the
history of the numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, put_holder
from models.accounts.hierarchy import attach
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Role
from models.people.users import User
from models.states import Origin
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import NumberPool
from tests.factories import HOLDER, NOW, join, make_account, make_staff, make_user
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import come_in, get
from tests.web.portal.page.test_portal import csrf

TYPED = {
    "holder_name": "Muster Logistik GmbH",
    "holder_form": "company",
    "holder_register_number": "HRB 4711, Amtsgericht Bielefeld",
    "holder_street": "Kontor 7",
    "holder_postal_code": "33603",
    "holder_city": "Bielefeld",
}


def page_of(number: str) -> str:
    return f"/standortverwaltung/{number}/vertragsinhaber"


def save(front: Front, **changes: Any) -> TestResponse:
    address = page_of(front.main.customer_number)
    token = csrf(front.client.get(address).text)
    return front.client.post(address, data={"csrf_token": token, **TYPED, **changes})


def holders(front: Front) -> list[ContractHolder]:
    with front.database.transaction() as session:
        return list(session.scalars(sa.select(ContractHolder)))


def test_an_administrator_enters_and_changes_it_and_the_log_tells(front: Front) -> None:
    come_in(front, front.manager.email)
    dashboard = f"/standortverwaltung/{front.main.customer_number}"
    assert "Noch nicht eingetragen." in get(front, dashboard) and "Vertragsinhaber eintragen" in get(front, dashboard)
    empty = get(front, page_of(front.main.customer_number))
    assert "noch nicht eingetragen" in empty and f'value="{front.main.name}"' in empty
    assert save(front).headers["Location"] == dashboard
    [found] = holders(front)
    assert found.data == HOLDER
    shown = get(front, dashboard)
    assert "Der Vertragsinhaber ist gespeichert." in shown and "Kontor 7" in shown and "HRB 4711" not in shown
    person = {"holder_name": "Kim Muster", "holder_form": "person", "holder_born_on": "31.12.1980"}
    save(front, **person)
    assert 'value="31.12.1980"' in get(front, page_of(front.main.customer_number))
    save(front, **person)
    with front.database.transaction() as session:
        changes = sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.HOLDER_CHANGED)
        entries = session.scalars(changes.order_by(AuditEntry.id)).all()
        assert [(entry.user_id, entry.facts) for entry in entries] == [
            (front.manager.user_id, {"name": HOLDER.name, "before": None}),
            (front.manager.user_id, {"name": "Kim Muster", "before": HOLDER.name}),
        ]
    log = get(front, dashboard + "/protokoll")
    assert "Hat den Vertragsinhaber eingetragen: Muster Logistik GmbH." in log
    assert "Hat den Vertragsinhaber geändert: Kim Muster; vorher: Muster Logistik GmbH." in log
    assert "1980" not in log


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(front: Front) -> None:
    come_in(front, front.manager.email)
    answer = save(front, holder_form="person", holder_born_on="gestern", holder_city="")
    assert answer.status_code == 422
    assert_valid(answer.text)
    for said in ("Das ist kein Geburtsdatum. Ein Beispiel: 31.12.1980", "Geben Sie den Ort ein."):
        assert answer.text.count(said) == 2
    assert 'value="gestern"' in answer.text and 'value="Kontor 7"' in answer.text and holders(front) == []
    missing = save(front, holder_form="", holder_name="")
    assert "Wählen Sie die Rechtsform." in missing.text and 'href="#holder_form-0"' in missing.text


def test_only_administrators_reach_it_and_an_ordered_site_shows_its_main_accounts(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        put_holder(session, main.id, HOLDER, NOW)
        manager, local = make_user(session), make_user(session)
        join(session, manager, main, Role.LOCATION_MANAGER)
        site = make_account(session, administrator=local, name="Filiale")
        attach(session, main.id, site.id, Origin.ORDER, NOW)
        linked = make_account(session, administrator=local, name="Partner")
        attach(session, main.id, linked.id, Origin.LINK, NOW)
        staff = make_staff(session)
        stranger = session.get_one(User, local.id)
        numbers = {"main": main.customer_number, "site": site.customer_number, "linked": linked.customer_number}
        people = {"manager": manager.email, "local": stranger.email, "staff": staff.email}
    reached = {"manager": set(), "local": {"linked"}, "staff": set()}
    for who, expected in reached.items():
        come_in(front, people[who])
        found = {name for name, number in numbers.items() if front.client.get(page_of(number)).status_code == 200}
        assert found == expected, who
    come_in(front, people["local"])
    shown = get(front, f"/standortverwaltung/{numbers['site']}")
    assert HOLDER.name in shown and f"Der des Hauptaccounts {numbers['main']}" in shown
    assert "Vertragsinhaber ändern" not in shown
    assert "Vertragsinhaber eintragen" in get(front, f"/standortverwaltung/{numbers['linked']}")
    come_in(front, people["manager"])
    shown = get(front, f"/standortverwaltung/{numbers['linked']}")
    assert "Eintragen kann ihn nur ein Administrator des Nebenaccounts selbst." in shown
    shown = get(front, f"/standortverwaltung/{numbers['main']}")
    assert HOLDER.name in shown and "Vertragsinhaber ändern" not in shown
    come_in(front, front.manager.email)
    assert front.client.get(page_of(numbers["main"])).status_code == 200
    assert front.client.get(page_of(numbers["site"])).status_code == 404


def test_the_detach_page_says_who_goes_on_paying(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        put_holder(session, main.id, HOLDER, NOW)
        local = make_user(session)
        site, linked, unknown = (make_account(session, administrator=local) for _ in range(3))
        for account, origin in ((site, Origin.ORDER), (linked, Origin.LINK), (unknown, Origin.LINK)):
            attach(session, main.id, account.id, origin, NOW)
        put_holder(session, linked.id, replace(HOLDER, name="Partner AG"), NOW)
        numbers = [account.customer_number for account in (site, linked, unknown)]
    come_in(front, front.manager.email)
    ordered, own, missing = (get(front, f"/standortverwaltung/{number}/loesen") for number in numbers)
    assert f"Vertragsinhaber bleibt {HOLDER.name}, {HOLDER.postal_code} {HOLDER.city}, und bezahlt weiter" in ordered
    assert "richtet sich nicht mehr nach dem Hauptaccount" in ordered
    assert "Vertragsinhaber bleibt Partner AG" in own and "richtet sich nicht mehr" not in own
    assert "Es ist kein Vertragsinhaber eingetragen." in missing


@pytest.mark.parametrize("changes", [{}, {"holder_name": "Andere AG"}])
def test_the_numbers_history_follows_the_holder(front: Front, changes: dict[str, str]) -> None:
    with front.database.transaction() as session:
        site = make_account(session)
        attach(session, front.main.id, site.id, Origin.ORDER, NOW)
        session.flush()
        NumberPool(session, NOW, {}).take("030", 10, site.id)
    come_in(front, front.manager.email)
    save(front)
    save(front, **changes)
    with front.database.transaction() as session:
        rows = session.scalars(sa.select(NumberAssignment).order_by(NumberAssignment.id)).all()
        names = [(row.holder_name, row.holder_street, row.city, row.until is None) for row in rows]
    expected = [
        (front.main.name, "Alter Markt 1", "Bielefeld", False), (HOLDER.name, "Kontor 7", "Bielefeld", not changes),
    ]  # fmt: skip
    assert names == expected + [("Andere AG", "Kontor 7", "Bielefeld", True)] * bool(changes)
