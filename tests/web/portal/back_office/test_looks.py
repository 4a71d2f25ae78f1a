"""Tests that the audit logs say what staff have opened: requests, and accounts that a search has listed."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.looks import MOST_FOUND
from models.people.sign_in_log import begin_access_log
from models.people.users import User
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.portal.back_office.desk import HOUR, OFFICE, Desk, SitDown, held, of, request_of, with_document

SEARCH = f"{OFFICE}/suche?suche="


def named(front: Front, name: str, count: int) -> list[Account]:
    """Create `count` accounts with this name, and return them."""
    with front.database.transaction() as session:
        return [make_account(session, name=name) for _ in range(count)]


def an_hour_later(back: Back, desk: Desk) -> None:
    """Advance the clock by an hour. A page is opened halfway, so that the login of staff does not expire."""
    for _ in range(2):
        back.clock.advance(HOUR / 2)
        desk.page(OFFICE)


def looks(front: Front) -> list[tuple[AuditEvent, int | None, int | None, bool]]:
    """Return the entries of the audit log, without those about access, the oldest first.

    Each is event, user id, account's id, and whether the user acted as staff.
    """
    with front.database.transaction() as session:
        entries = entries_of_deeds(session)
        return [(entry.deed, entry.user_id, entry.account_id, entry.by_staff) for entry in entries]


def searches(
    desk: Desk, path: str, caplog: pytest.LogCaptureFixture, event: str = "office.searched"
) -> list[dict[str, Any]]:
    """Open the page at `path`; return the events named `event` that the program then logs, as dictionaries.

    Unless a name is given, they are the events of searches.
    """
    caplog.clear()
    desk.page(path)
    events: list[Any] = [record.msg for record in caplog.records]
    return [found for found in events if isinstance(found, dict) and found["event"] == event]


def test_a_look_at_a_request_is_in_the_log_of_its_main_account_once_an_hour(
    front: Front, back: Back, desk: Desk, bo: User, sit_down: SitDown
) -> None:
    first, second = held(front), held(front)
    for id in (first, first, second):
        desk.page(of(id))
    look = (AuditEvent.REQUEST_SEEN, bo.id, front.main.id, True)
    assert looks(front) == [look, look]
    with front.database.transaction() as session:
        facts = [entry.facts for entry in entries_of_deeds(session)]
    number = request_of(front, first).customer_number
    assert facts[0] == {"request": str(first), "customer_number": number} and facts[1]["request"] == str(second)
    log = sit_down(front.manager.email).page(f"/standortverwaltung/{front.main.customer_number}/protokoll")
    assert f"Hat die Anfrage zur Kundennummer {number} angesehen." in log and bo.name not in log
    assert "angesehen" not in desk.page(of(first))
    an_hour_later(back, desk)
    desk.page(of(first))
    assert looks(front) == [look] * 3


@pytest.mark.parametrize("page", ["/stornieren", "/dokument"])
def test_the_other_pages_of_a_request_are_looks_too(front: Front, back: Back, desk: Desk, bo: User, page: str) -> None:
    desk.page(of(with_document(front, back), page))
    assert looks(front) == [(AuditEvent.REQUEST_SEEN, bo.id, front.main.id, True)]


def test_a_look_at_a_request_of_one_s_own_company_is_none(front: Front, desk: Desk, bo: User) -> None:
    with front.database.transaction() as session:
        join(session, bo, session.get_one(Account, front.main.id))
    desk.page(of(held(front)))
    assert looks(front) == []


def test_a_search_that_names_few_accounts_is_in_the_log_of_each_once_an_hour(
    front: Front, back: Back, desk: Desk, bo: User, sit_down: SitDown
) -> None:
    found = named(front, "Seltsam & Söhne", MOST_FOUND)
    with front.database.transaction() as session:
        reader = make_user(session)
        join(session, reader, session.get_one(Account, found[0].id))
    for _ in range(2):
        desk.page(f"{SEARCH}Seltsam")
    found_each = [(AuditEvent.FOUND_IN_SEARCH, bo.id, account.id, True) for account in found]
    assert looks(front) == found_each
    log = sit_down(reader.email).page(f"/standortverwaltung/{found[0].customer_number}/protokoll")
    assert "Hat den Account oder eine Person daraus im Backoffice angezeigt bekommen." in log
    an_hour_later(back, desk)
    desk.page(f"{SEARCH}Seltsam")
    assert looks(front) == found_each * 2


def test_searches_are_no_looks_until_the_last_step_of_an_upgrade(
    front: Front, desk: Desk, bo: User, owner_database: Database
) -> None:
    [account] = named(front, "Seltsam & Söhne", 1)
    begin_access_log(owner_database, begun=False)
    try:
        desk.page(f"{SEARCH}Seltsam")
        assert looks(front) == []
    finally:
        begin_access_log(owner_database)
    desk.page(f"{SEARCH}Seltsam")
    assert looks(front) == [(AuditEvent.FOUND_IN_SEARCH, bo.id, account.id, True)]


def test_a_person_found_is_a_look_at_their_accounts_and_a_request_at_its_main_account(
    front: Front, desk: Desk, bo: User
) -> None:
    [account] = named(front, "Seltsam", 1)
    with front.database.transaction() as session:
        join(session, make_user(session, name="Änne Ölig"), session.get_one(Account, account.id))
    desk.page(f"{SEARCH}Ölig")
    assert looks(front) == [(AuditEvent.FOUND_IN_SEARCH, bo.id, account.id, True)]
    id = held(front)
    desk.page(f"{OFFICE}?suche={id}")
    assert looks(front)[1:] == [(AuditEvent.FOUND_IN_SEARCH, bo.id, front.main.id, True)]
    desk.page(OFFICE)
    desk.page(f"{SEARCH}niemand")
    assert len(looks(front)) == 2


def test_the_pages_of_one_person_and_of_the_administrators_are_looks(front: Front, desk: Desk, bo: User) -> None:
    [account] = named(front, "Seltsam", 1)
    desk.page(f"{OFFICE}/personen/{front.manager.user_id}/zweiter-faktor")
    assert looks(front) == [(AuditEvent.FOUND_IN_SEARCH, bo.id, front.main.id, True)]
    desk.page(f"{OFFICE}/konten/{account.customer_number}/administrator")
    assert looks(front)[1:] == [(AuditEvent.LOOKED_IN, bo.id, account.id, True)]


def test_every_search_is_logged_with_what_it_showed_and_not_with_what_was_typed(
    front: Front, desk: Desk, bo: User, caplog: pytest.LogCaptureFixture
) -> None:
    found = named(front, "Seltsam", MOST_FOUND + 1)
    numbers = sorted(account.customer_number for account in found)
    [event] = searches(desk, f"{SEARCH}Seltsam", caplog)
    assert event["by"] == bo.id and event["customer_numbers"] == numbers and event["people"] == []
    assert "Seltsam" not in str(event) and looks(front) == []
    with front.database.transaction() as session:
        person = make_user(session, name="Änne Ölig")
    [event] = searches(desk, f"{SEARCH}Ölig", caplog)
    assert event["people"] == [person.id] and event["customer_numbers"] == []
    id = held(front)
    [event] = searches(desk, f"{OFFICE}?suche={id}", caplog)
    assert set(event["customer_numbers"]) == {front.main.customer_number, request_of(front, id).customer_number}
    assert searches(desk, OFFICE, caplog) == searches(desk, f"{OFFICE}/suche", caplog) == []


def test_the_list_of_what_waits_is_logged_with_whom_it_named(
    front: Front, desk: Desk, bo: User, caplog: pytest.LogCaptureFixture
) -> None:
    assert searches(desk, OFFICE, caplog, "office.listed") == []
    request = request_of(front, held(front))
    [event] = searches(desk, f"{OFFICE}?status=held", caplog, "office.listed")
    assert event["by"] == bo.id
    assert event["customer_numbers"] == sorted({front.main.customer_number, request.customer_number})
    assert looks(front) == []
    assert searches(desk, f"{OFFICE}?status=failed", caplog, "office.listed") == []


def test_only_staff_are_said_to_have_looked_at_requests_and_searches(front: Front) -> None:
    facts = {"account_id": front.main.id, "user_id": front.manager.user_id, "by_staff": False, "facts": {}, "at": NOW}
    for deed in (AuditEvent.REQUEST_SEEN, AuditEvent.FOUND_IN_SEARCH):
        with pytest.raises(sa.exc.IntegrityError, match="staff_deeds"), front.database.transaction() as session:
            session.add(AuditEntry(deed=deed, **facts))
