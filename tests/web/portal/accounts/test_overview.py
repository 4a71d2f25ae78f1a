"""Tests of the overview, the list of a company's locations as cards or as a table.

Users find locations by search and filters, sort them, and turn pages. Each location says what it waits for, and until
when. The number of SQL statements does not grow with the number of locations.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.links.collective_invoices import put_on_invoice
from models.links.links import submit_detach, submit_link
from models.orders.orders import Location
from models.people.users import User
from models.requests.requests import Request
from models.states import Actor, Kind, Origin, Reason
from models.vault import Vault
from tests.factories import NOW, a_link, an_order, join, make_account, make_main, make_user, submit_order
from tests.statements import recorded_statements
from tests.web.conftest import ORDER, SECRET, Back, Front, form_token
from tests.web.portal.links.test_link_wizard import add
from tests.web.portal.orders.ordering import fill_all, order
from tests.web.portal.page.test_portal import sign_in

OVERVIEW = "/standortverwaltung"


def signed_in(front: Front) -> Front:
    """Sign the manager in, and return the client."""
    assert sign_in(front, front.manager.email)[0] == 302
    return front


def get(front: Front, path: str = OVERVIEW, status: int = 200) -> str:
    """Return the HTML of the page at `path`. Fail unless it has this status."""
    answer = front.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def listed(page: str) -> list[str]:
    """Return the customer numbers of the cards on the page (HTML), from top to bottom."""
    return re.findall(r'id="konto-(\d{7})"', page)


def sub(session: Session, main: Account, origin: Origin = Origin.LINK, days: int = 0, **facts: Any) -> str:
    """Create a sub-account of `main`, and return its customer number.

    `origin` says how it became a sub-account, which was `days` days after `NOW`. `facts` are values of its columns.
    With the origin `COLLECTIVE_INVOICE` it is also put on a collective invoice.
    """
    account = make_account(session, **facts)
    attach(session, main.id, account.id, origin, NOW + timedelta(days=days))
    session.flush()
    if origin is Origin.COLLECTIVE_INVOICE:
        put_on_invoice(session, "SR-1", main, account, NOW)
    return account.customer_number


def test_a_card_says_what_the_seed_says(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        number = sub(session, main, contact_name="Hanna Palmer", street="Brückenstr.", city="Berlin")
    page = get(signed_in(front))
    assert listed(page) == [front.main.customer_number, number]
    [_, card] = re.findall(r'<li class="card.*?</li>', page, re.DOTALL)
    said = " ".join(re.sub("<[^>]+>", " ", card).split())
    for words in (
        "Nebenaccount",
        f"Kundennummer: {number}",
        "Hanna Palmer",
        "Brückenstr., Berlin",
        "Dashboard anzeigen",
    ):
        assert words in said
    assert "1 Nebenaccount<" in page and ">Nebenaccount hinzufügen</a>" in page


def test_the_two_ways(front: Front) -> None:
    page = get(signed_in(front), OVERVIEW + "/nebenaccount")
    assert re.search(r'href="/standortverwaltung/neu">Neuen Nebenaccount erstellen', page)
    assert re.search(r'href="/standortverwaltung/hinzufuegen">Bestehendes Konto hinzufügen', page)


def test_an_empty_overview_explains_itself_with_the_two_ways(front: Front) -> None:
    page = get(signed_in(front))
    assert "Noch keine Nebenaccounts" in page and "0 Nebenaccounts" not in page
    assert "/standortverwaltung/neu" in page and "/standortverwaltung/hinzufuegen" in page


def test_the_first_order_makes_it_the_main_account_in_every_view(front: Front) -> None:
    with front.database.transaction() as session:
        submit_order(session, front.manager, session.merge(front.main), an_order(), NOW)
    page = get(signed_in(front))
    assert '<p class="kind">Hauptaccount</p>' in page
    assert f'href="{OVERVIEW}/nebenaccount"' in page
    assert "<td>Hauptaccount</td>" in get(front, OVERVIEW + "?ansicht=tabelle")
    assert f"{front.main.customer_number};Hauptaccount;" in get(front, OVERVIEW + "/export.csv")
    assert "Hauptaccount · Kundennummer" in get(front, f"{OVERVIEW}/{front.main.customer_number}")


def test_a_sub_accounts_own_administrator_cannot_add(front: Front) -> None:
    with front.database.transaction() as session:
        person = make_user(session)
        number = sub(session, session.get_one(Account, front.main.id))
        account = session.scalars(sa.select(Account).where(Account.customer_number == number)).one()
        join(session, person, account)
    sign_in(front, person.email)
    assert front.client.get(OVERVIEW).location == f"{OVERVIEW}/{number}"
    assert "Nebenaccount hinzufügen" not in get(front, f"{OVERVIEW}/{number}")
    get(front, OVERVIEW + "/nebenaccount", 404)
    get(front, f"{OVERVIEW}/{front.main.customer_number}", 404)
    assert "Zuordnung" in get(front, f"{OVERVIEW}/{number}")


@pytest.mark.parametrize(
    ("typed", "finds"),
    [
        ("münchen", ["m"]), ("MUENCHEN", ["m"]), ("Munchen", ["m"]), ("palmer", ["h"]), ("brückenstr", ["h"]),
        ("Brueckenstr", ["h"]), ("palmer berlin", ["h"]), ("palmer münchen", []), ("er", ["h", "m"]), ("%", []),
        ("10179", ["h"]), ("ÄPFEL", ["m"]), ("Mu\u0308nchen", ["m"]),
    ],
)  # fmt: skip
def test_search_finds_any_part_whatever_the_spelling(front: Front, typed: str, finds: list[str]) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        facts: dict[str, Any] = {
            "contact_name": "Hanna Palmer",
            "street": "Brückenstr. 5",
            "city": "Berlin",
            "postal_code": "10179",
        }
        named = {
            sub(session, main, name="Zentrale", **facts): "h",
            sub(session, main, name="Bäcker Äpfel", city="München", contact_name="Bo Bo", street="Tal 1"): "m",
        }
    page = get(signed_in(front), f"{OVERVIEW}?suche={typed.replace('%', '%25')}")
    assert sorted(named[number] for number in listed(page)[1:]) == finds
    if not finds:
        assert "Nichts gefunden" in page


def test_search_by_a_part_of_the_customer_number(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        number, _ = sub(session, main, name="A"), sub(session, main, name="B")
    assert number in listed(get(signed_in(front), f"{OVERVIEW}?suche={number[2:]}"))
    assert listed(get(front, f"{OVERVIEW}?suche={number}"))[1:] == [number]


def test_filters_and_their_combination(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        calm = sub(session, main, city="Frankfurt am Main")
        billed = sub(session, main, Origin.COLLECTIVE_INVOICE, city="Köln")
        leaving = sub(session, main, city="Köln", administrator=make_user(session))
        fresh = submit_order(session, front.manager, main, an_order(), NOW)
        waits = submit_order(session, front.manager, main, an_order(), NOW)
        waits.wait_for(
            Actor.REQUESTER, Reason.ADDRESS_NOT_PROVED, NOW + timedelta(days=14), NOW, NOW + timedelta(days=7)
        )
        account = session.scalars(sa.select(Account).where(Account.customer_number == leaving)).one()
        submit_detach(session, front.manager, account, "de", NOW)
        new, waiting = fresh.customer_number, waits.customer_number
    signed_in(front)
    for query, expected in {
        "status=new": {new, waiting},
        "status=waiting": {waiting},
        "status=running": {new, leaving},
        "status=active": {calm, billed},
        "herkunft=collective_invoice": {billed},
        "ort=koeln": {billed, leaving},
        "ort=KÖLN": {billed, leaving},
        "ort=frankfurt": {calm},
        "ort=Köln&status=active": {billed},
        "status=nonsense": {calm, billed, leaving, new, waiting},
    }.items():
        page = get(front, f"{OVERVIEW}?{query}")
        assert set(listed(page)[1:]) == expected, query
        if expected:
            assert f"{len(expected)} Nebenaccount" in page
    assert '<option value="Köln">' in get(front) and '<option value="Frankfurt am Main">' in get(front)


@pytest.mark.parametrize("order", ["need", "newest", "name", "city", "number"])
def test_every_order_pages_through_all_accounts_once(front: Front, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    monkeypatch.setattr("web.portal.accounts.overview.PAGE", 4)
    names = ["Äpfel", "apfel 2", "Birne", "Öl", "Ofen", "Zug", "Zug", "Zug", "alpha"]
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        facts = {
            sub(session, main, days=place % 3, name=name, city=name[::-1]): (name, place)
            for place, name in enumerate(names)
        }
        ordered = submit_order(session, front.manager, main, an_order(), NOW).customer_number
    signed_in(front)
    path, seen, pages = f"{OVERVIEW}?sortierung={order}", [], 0
    while path:
        page = get(front, path)
        seen += [number for number in listed(page) if number != front.main.customer_number]
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
        pages += 1
    assert pages == 3 and len(seen) == len(set(seen)) == 10
    rest = [number for number in seen if number != ordered]
    if order == "name":
        assert [facts[number][0] for number in rest] == [
            "alpha", "Äpfel", "apfel 2", "Birne", "Ofen", "Öl", "Zug", "Zug", "Zug",
        ]  # fmt: skip
    if order == "number":
        assert seen == sorted(seen)
    if order in ("need", "newest"):
        assert [facts[number][1] % 3 for number in rest] == [2, 2, 2, 1, 1, 1, 0, 0, 0]


def test_a_place_that_we_have_not_given_out_is_not_found(front: Front) -> None:
    signed_in(front)
    for place in ("x", "bnVsbA", "WyJhIiwxXQ", "WzEsMl0"):
        get(front, f"{OVERVIEW}?nach={place}", 404)
    get(front, f"{OVERVIEW}?sortierung=name&nach=WyJhIiwxXQ")


def test_the_number_of_statements_does_not_grow_with_the_accounts(front: Front) -> None:
    signed_in(front)
    counts = []
    for more in (5, 295):
        with front.database.transaction() as session:
            main = session.get_one(Account, front.main.id)
            for _ in range(more):
                sub(session, main)
            submit_order(session, front.manager, main, an_order(), NOW)
        for path in (OVERVIEW, OVERVIEW + "?suche=standort&sortierung=city", OVERVIEW + "?ansicht=tabelle"):
            with recorded_statements() as statements:
                get(front, path)
            counts.append(len(statements))
    assert "301 Nebenaccounts" not in get(front, OVERVIEW + "?status=active")
    # Each of the three transactions says first for whom it works.
    assert counts[:3] == counts[3:] and max(counts) < 18, counts


def test_the_table_is_kept_for_the_session(front: Front) -> None:
    with front.database.transaction() as session:
        number = sub(session, session.get_one(Account, front.main.id))
    assert "<table>" not in get(signed_in(front))
    assert f'<span class="number">{number}</span></th>' in get(front, OVERVIEW + "?ansicht=tabelle")
    assert "<table>" in get(front)
    assert "<table>" not in get(front, OVERVIEW + "?ansicht=karten")


def test_what_waits_says_who_what_and_until_when(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        found = submit_order(session, front.manager, main, an_order(), NOW)
        found.wait_for(
            Actor.REQUESTER, Reason.ADDRESS_NOT_PROVED, NOW + timedelta(days=14), NOW, NOW + timedelta(days=7)
        )
    page = get(signed_in(front))
    assert "Die Anschlussadresse muss nachgewiesen werden" in page
    assert "<dd>Sie oder jemand am Standort</dd>" in page
    assert "<dd>16. März 2026</dd>" in page
    assert f'href="/anfragen/{found.id}">Jetzt erledigen' in page
    assert 'data-poll="15000"' in page


def test_link_requests_are_shown_without_a_word_about_the_account(front: Front) -> None:
    with front.database.transaction() as session:
        other = make_account(session, name="Geheim GmbH")
        main = session.get_one(Account, front.main.id)
        found = submit_link(session, Vault(SECRET), front.manager, main, a_link(other), NOW)
    page = get(signed_in(front))
    assert "Verknüpfungsanfrage" in page and f"/anfragen/{found.id}" in page and other.customer_number in page
    assert "Geheim" not in page


def test_the_live_part_follows_a_request_to_its_end(front: Front, back: Back) -> None:
    first = front.post("/orders", ORDER).get_json()
    page = get(signed_in(front))
    assert 'data-poll="3000"' in page
    path = f"{OVERVIEW}/stand?konto={front.main.customer_number}&id={first['id']}"
    assert f'data-request="{first["id"]}"' in get(front, path)
    back.advance()
    waiting = get(front, path)
    assert 'data-poll="15000"' in waiting and "Wartet auf Antwort" in waiting
    front.post(f"/requests/{first['id']}/cancel")
    ended = get(front, path)
    assert 'data-poll="0"' in ended and "Storniert" in ended and "data-new" not in ended
    with front.database.transaction() as session:
        _, stranger = make_main(session)
    front.client.post("/abmelden", data={"csrf_token": form_token(front.client)})
    sign_in(front, stranger.email)
    assert "data-request" not in get(front, path)


def test_a_person_with_several_accounts_chooses_which_to_look_at(front: Front) -> None:
    with front.database.transaction() as session:
        person = session.get_one(User, front.manager.user_id)
        second = make_account(session, administrator=person, name="Zweite GmbH")
        below = sub(session, second)
        make_main(session)
        second_number = second.customer_number
    page = get(signed_in(front))
    assert listed(page)[0] == second_number  # the only main account so far
    page = get(front, f"{OVERVIEW}?konto={front.main.customer_number}")
    assert listed(page) == [front.main.customer_number]
    assert listed(get(front)) == [front.main.customer_number]
    # Polling does not switch the selected account.
    get(front, f"{OVERVIEW}/stand?konto={second_number}")
    assert listed(get(front)) == [front.main.customer_number]
    page = get(front, f"{OVERVIEW}?konto={second_number}&suche=Standort")
    assert listed(page) == [second_number, below]
    assert f"export.csv?suche=Standort&amp;konto={second_number}" in page
    assert listed(get(front, f"{OVERVIEW}?konto=9999999")) == [second_number, below]


def test_what_is_ordered_and_added_comes_under_the_account_that_is_looked_at(front: Front) -> None:
    with front.database.transaction() as session:
        chosen = make_account(session, administrator=session.get_one(User, front.manager.user_id))
        # The other account is a main account, so it comes first.
        sub(session, session.get_one(Account, front.main.id))
    other, chosen_id = front.main.customer_number, chosen.id
    signed_in(front)

    def followed(way: str) -> str:
        page = get(front, f"{OVERVIEW}/nebenaccount?konto={chosen.customer_number}")
        # Meanwhile another page of this user selects another account.
        get(front, f"{OVERVIEW}?konto={other}")
        found = re.search(rf'href="({way}[^"]*)"', page)
        assert found is not None
        return found[1]

    draft = front.client.get(followed(f"{OVERVIEW}/neu")).headers["Location"].removesuffix("/produkt")
    assert order(front.client, draft, fill_all(front, draft)).status_code == 303
    start = followed(f"{OVERVIEW}/hinzufuegen")
    assert chosen.customer_number in get(front, start)
    assert add(front, "9876543", "zustimmung").status_code == 303
    with front.database.transaction() as session:
        made = session.execute(sa.select(Request.kind, Request.main_id).order_by(Request.id)).all()
    assert [tuple(row) for row in made] == [(Kind.ORDER, chosen_id), (Kind.LINK, chosen_id)]
    get(front, f"{OVERVIEW}?konto={other}")
    assert f"{OVERVIEW}/neu?konto={other}" in get(front, f"{OVERVIEW}/nebenaccount")


def test_the_overview_in_english(front: Front) -> None:
    with front.database.transaction() as session:
        session.get_one(User, front.manager.user_id).locale = "en"
        main = session.get_one(Account, front.main.id)
        number = sub(session, main, administrator=make_user(session))
        submit_order(session, front.manager, main, an_order(location=Location("X", "Y 1", "10115", "Berlin")), NOW)
    page = get(signed_in(front))
    assert "2 sub-accounts" in page and "Add sub-account" in page and "Show dashboard" in page
    page = get(front, f"{OVERVIEW}/{number}/loesen")
    assert "To confirm, type the customer number" in page and "What changes" in page
