"""Tests that staff find customers, people and phone numbers, and that the audit log says which accounts they open."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.links.account_closing import close_account
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.users import User
from models.states import Origin
from tests.factories import NOW, an_order, join, make_account, make_staff, make_user, submit_order
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, give_numbers, make_site
from tests.web.portal.accounts.test_overview import sub
from tests.web.portal.back_office.desk import Desk, SitDown

SEARCH, CUSTOMER = "/backoffice/suche", "/backoffice/kunden/{}"


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location with users, a trunk and numbers under the client's main account, and return it.

    Also create an account of another customer.
    """
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        main.name = "Mustermensch Größenwahn GmbH"
        facts = {"name": "Filiale Spree", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"}
        contact = {
            "contact_name": "Hanna Palmer",
            "contact_email": "hanna.palmer@example.de",
            "contact_phone": "+4930901820",
        }
        site = make_site(session, main, Origin.LINK, **facts, **contact)
        give_numbers(session, site)
        join(session, make_user(session, name="Änne Ölig", email="oelig@example.org"), site.account)
        make_account(session, name="Ganz woanders")
        return site


def accounts(page: str) -> set[str]:
    """Return the customer numbers of the accounts to which the page (HTML) has links."""
    return set(re.findall(r'href="/backoffice/kunden/(\d{7})"', page))


@pytest.mark.parametrize(
    ("typed", "group"),
    [
        ("{number}", "Accounts"), ("Filiale Spree", "Accounts"), ("spree berlin", "Accounts"),
        ("brueckenstr", "Accounts"), ("Bruckenstr. 5", "Accounts"), ("hanna.palmer@example.de", "Accounts"),
        ("030 901820", "Accounts"), ("+49 30 901820", "Accounts"),
        ("Ölig", "Personen"), ("anne oelig", "Personen"), ("oelig@example.org", "Personen"),
        ("0221 700340", "Rufnummern"), ("+49 221 700345", "Rufnummern"),
    ],
)  # fmt: skip
def test_one_field_finds_the_account_by_whatever_is_known(desk: Desk, site: Site, typed: str, group: str) -> None:
    number = site.account.customer_number
    page = desk.client.get(SEARCH, query_string={"suche": typed.format(number=number)}).text
    assert f"<h2>{group}</h2>" in page and accounts(page) == {number}, page


def test_what_is_not_there_is_not_found_and_short_texts_are_not_searched(desk: Desk, site: Site) -> None:
    assert "Nichts gefunden" not in desk.page(SEARCH)
    assert "mindestens 3 Zeichen" in desk.page(f"{SEARCH}?suche=sp")
    for typed in ("nirgends", "spree münchen", "%25%25%25", "___", "spree nirgends"):
        page = desk.page(f"{SEARCH}?suche={typed}")
        assert "Nichts gefunden" in page and accounts(page) == set(), typed


def test_more_hits_than_are_shown_are_said(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        for _ in range(21):
            sub(session, main, name="Gleichnamig")
    page = desk.page(f"{SEARCH}?suche=gleichnamig")
    assert len(accounts(page)) == 20 and "Es gibt mehr Treffer" in page


def test_requests_are_found_with_their_account(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        order = submit_order(session, front.manager, session.get_one(Account, front.main.id), an_order(), NOW)
        number, id = order.customer_number, order.id
    for typed in (number, str(id)):
        assert f'href="/backoffice/anfragen/{id}"' in desk.page(f"{SEARCH}?suche={typed}")
    page = desk.page(CUSTOMER.format(number))
    assert f'href="/backoffice/anfragen/{id}"' in page and "Bestellt" in page


def test_the_account_as_staff_see_it_and_their_look_is_logged(front: Front, desk: Desk, bo: User, site: Site) -> None:
    number = site.account.customer_number
    for _ in range(2):
        page = desk.page(CUSTOMER.format(number))
    for words in (
        "Filiale Spree", "Brückenstr. 5", "10179 Berlin", "Hanna Palmer", "hanna.palmer@example.de", "030 901820",
        "Mustermensch Größenwahn GmbH", "Lore Lokal", "oelig@example.org", "t000000000001", "0221 70034-0 … -9",
        f'href="/standortverwaltung/{number}"', f'href="/backoffice/kunden/{front.main.customer_number}"',
    ):  # fmt: skip
        assert words in page, words
    assert "<form" not in page.partition("<main")[2]
    with front.database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.account_id == site.account.id)).all()
        assert [(entry.deed, entry.user_id, entry.by_staff) for entry in entries] == [
            (AuditEvent.LOOKED_IN, bo.id, True)
        ]
    page = desk.page(CUSTOMER.format(front.main.customer_number))
    assert f'href="/backoffice/kunden/{number}"' in page and "Nebenaccounts</h2>" in page


def test_sub_accounts_are_listed_page_by_page(front: Front, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.back_office.customers._SUBS", 2)
    with front.database.transaction() as session:
        numbers = [sub(session, session.get_one(Account, front.main.id)) for _ in range(5)]
    path, seen = CUSTOMER.format(front.main.customer_number), []
    while path:
        page = desk.page(path)
        seen += re.findall(r'href="/backoffice/kunden/(\d{7})">', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == sorted(numbers)
    desk.page(CUSTOMER.format(front.main.customer_number) + "?nach=x", 404)


def test_a_closed_account_is_found_and_shown_without_its_dashboard(front: Front, desk: Desk, site: Site) -> None:
    number = site.account.customer_number
    with front.database.transaction() as session:
        account = detach(session, front.main.id, site.account.id)
        session.flush()
        close_account(session, account, NOW)
    assert "Geschlossen" in desk.page(f"{SEARCH}?suche={number}")
    page = desk.page(CUSTOMER.format(number))
    assert "Geschlossen" in page and f"/standortverwaltung/{number}" not in page
    desk.page(CUSTOMER.format("1000000"), 404)


def test_others_find_nothing(front: Front, site: Site, sit_down: SitDown) -> None:
    for email in (front.manager.email, site.administrator.email, None):
        visitor = sit_down(email)
        for path in (SEARCH, f"{SEARCH}?suche=spree", CUSTOMER.format(site.account.customer_number)):
            visitor.page(path, 404)


def test_it_speaks_english_too(front: Front, site: Site, sit_down: SitDown) -> None:
    with front.database.transaction() as session:
        english = make_staff(session, locale="en").email
    visitor = sit_down(english)
    assert "Find customers, people and numbers" in visitor.page(f"{SEARCH}?suche=spree")
    assert "See the dashboard as the customer does" in visitor.page(CUSTOMER.format(site.account.customer_number))
