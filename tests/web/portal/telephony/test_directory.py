"""Tests of the pages on which users fill in, change and withdraw an account's directory entry.

Only those who may manage the account can do so, and only if it has booked the option. If the entry's number is
released, the entry is withdrawn.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.contracts.contracts import Contract, ContractItem
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.telephony.directory import DirectoryData, DirectoryEntry, put_entry
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, give_numbers, make_site
from tests.web.portal.page.test_portal import csrf

FIRST = 49221700340
ENTRY = DirectoryData("Muster Köln", show_address=False, published_in=("online",))
TYPED = {
    "directory_number": "0221 700341",
    "directory_name": " Muster Logistik ",
    "directory_address": "yes",
    "directory_in": ["print", "enquiries"],
}


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location with ten numbers whose contract has the options directory entry and mobile fallback."""
    with front.database.transaction() as session:
        made = make_site(session, session.get_one(Account, front.main.id))
        give_numbers(session, made, FIRST)
        contract = session.scalars(sa.select(Contract.id).where(Contract.account_id == made.account.id)).one()
        for key in ("directory-entry", "mobile-backup"):
            session.add(ContractItem(contract_id=contract, product_key=key, monthly_cents=0, one_off_cents=990))
        return made


def save(front: Front, site: Site, **changes: Any) -> TestResponse:
    address = f"{site.path}/telefonbuch"
    token = csrf(front.client.get(address).text)
    return front.client.post(address, data={"csrf_token": token, **TYPED, **changes})


def entry(front: Front) -> DirectoryEntry | None:
    with front.database.transaction() as session:
        return session.scalar(sa.select(DirectoryEntry))


def test_an_entry_is_filled_in_changed_withdrawn_and_published_again(
    front: Front, site: Site, clock: FakeClock
) -> None:
    come_in(front, front.manager.email)
    dashboard = get(front, site.path)
    assert "Dem Eintrag fehlen die Angaben." in dashboard and "Es ist keine Nummer gesetzt" in dashboard
    empty = get(front, f"{site.path}/telefonbuch")
    assert 'value="0221 700340"' in empty and 'value="Filiale Köln"' in empty
    assert save(front, site).headers["Location"] == site.path
    found = entry(front)
    assert found is not None and (found.number, found.created_at) == (FIRST + 1, NOW)
    assert found.data == DirectoryData("Muster Logistik", show_address=True, published_in=("print", "enquiries"))
    shown = get(front, site.path)
    assert "0221 700341" in shown and "Gedrucktes Telefonbuch, Telefonauskunft" in shown
    later = clock.advance(timedelta(hours=1))
    assert "Muster Logistik" in get(front, f"{site.path}/telefonbuch/zurueckziehen")
    token = csrf(get(front, f"{site.path}/telefonbuch/zurueckziehen"))
    front.client.post(f"{site.path}/telefonbuch/zurueckziehen", data={"csrf_token": token})
    found = entry(front)
    assert found is not None and (found.withdrawn_at, found.changed_at) == (later, later)
    assert "Zurückgezogen." in get(front, site.path)
    assert "Zurückgezogen am 2. März 2026" in get(front, f"{site.path}/telefonbuch")
    save(front, site, directory_address="no")
    found = entry(front)
    assert found is not None and (found.withdrawn_at, found.show_address, found.created_at) == (None, False, NOW)
    with front.database.transaction() as session:
        told = [(entry.deed, entry.facts) for entry in entries_of_deeds(session)]
    changed = (AuditEvent.DIRECTORY_CHANGED, {"name": "Muster Logistik", "number": f"+{FIRST + 1}"})
    deeds = [row for row in told if row[0] is not AuditEvent.LOOKED_IN]
    assert deeds == [changed, (AuditEvent.DIRECTORY_WITHDRAWN, {"name": "Muster Logistik"}), changed]
    come_in(front, site.administrator.email)
    log = get(front, f"{site.path}/protokoll")
    assert "Hat den Telefonbucheintrag gespeichert: Muster Logistik, 0221 700341." in log
    assert "Hat den Telefonbucheintrag zurückgezogen: Muster Logistik." in log


def test_what_is_wrong_is_said_at_its_field(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    for changes, said in (
        ({"directory_number": "030 901820"}, "Das ist keine Rufnummer dieses Accounts."),
        ({"directory_number": "Rathaus"}, "Das ist keine Rufnummer dieses Accounts."),
        ({"directory_name": " "}, "Geben Sie den Namen für das Telefonbuch ein."),
        ({"directory_name": "ལྷ་ས GmbH"}, "Wir können ལྷ (U+0F63 U+0FB7) nicht drucken"),
        ({"directory_address": ""}, "Wählen Sie, ob die Adresse genannt wird."),
        ({"directory_in": []}, "Wählen Sie mindestens einen Ort der Veröffentlichung."),
    ):
        answer = save(front, site, **changes)
        assert answer.status_code == 422 and answer.text.count(said) == 2, said
        assert_valid(answer.text)
    assert save(front, site, directory_in=["neon"]).status_code == 422
    assert entry(front) is None


def test_it_is_for_those_who_may_change_the_account_and_only_with_the_option(front: Front, site: Site) -> None:
    pages = [f"{site.path}/telefonbuch", f"{site.path}/telefonbuch/zurueckziehen"]
    with front.database.transaction() as session:
        manager, staff, stranger = make_user(session), make_staff(session), make_user(session)
        join(session, manager, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
        other = make_account(session, administrator=stranger).customer_number
        put_entry(session, site.account.id, FIRST, ENTRY, NOW)
    reached = {
        site.administrator.email: 200, manager.email: 200, site.member.email: 404, staff.email: 404,
        stranger.email: 404,
    }  # fmt: skip
    for email, status in reached.items():
        come_in(front, email)
        assert [front.client.get(page).status_code for page in pages] == [status] * 2, email
    assert front.client.get(f"/standortverwaltung/{other}/telefonbuch").status_code == 404
    come_in(front, manager.email)
    token = csrf(get(front, pages[0]))
    with front.database.transaction() as session:
        session.execute(sa.update(ContractItem).values(ended_at=NOW))
    for page in pages:
        assert front.client.get(page).status_code == 404
        assert front.client.post(page, data={"csrf_token": token, **TYPED}).status_code == 404


def test_the_entry_of_a_number_that_is_given_back_is_withdrawn(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        other = give_numbers(session, site, FIRST + 10)
        put_entry(session, site.account.id, FIRST + 4, ENTRY, NOW)
        release_block(session.get_one(NumberBlock, other), NOW)
    found = entry(front)
    assert found is not None and found.withdrawn_at is None
    with front.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == site.account.id)).one()
        release_block(block, NOW + timedelta(days=1))
    found = entry(front)
    assert found is not None and found.withdrawn_at == NOW + timedelta(days=1)
