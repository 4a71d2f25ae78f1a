"""Tests of the summary above the overview's list of locations.

It has counts that filter the list, what to do first, totals, groups, and whether phone systems are registered.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.links.links import submit_detach, submit_link
from models.orders.drafts import DraftStep, begin_draft, new_draft_id
from models.requests.requests import Request
from models.states import Actor, Kind, Origin, Reason
from models.telephony.suspension import suspend_for_carrier
from models.telephony.trunks import SipTrunk, TrunkState
from models.vault import Vault
from tests.factories import NOW, VAULT, a_link, an_order, make_account, make_bulk, submit_order
from tests.fakes import FakeClock
from tests.web.conftest import SECRET, Front, FrontOf
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, give_numbers, make_site, make_trunk
from tests.web.portal.accounts.test_overview import OVERVIEW, get, listed, signed_in, sub
from tests.web.portal.telephony.network import Network
from workers.gateways.registrar import plain_url

LATER = NOW + timedelta(days=14)


def strip(page: str) -> list[str]:
    """Return the texts of the links above the overview's list that count and filter locations, such as "1 gesperrt"."""
    found = re.search(r'<ul class="strip">(.*?)</ul>', page, re.S)
    assert found is not None
    return [html.unescape(word) for word in re.findall(r">([^<>]+)</a>", found[1])]


def totals(page: str) -> dict[str, str]:
    """Return the totals above the overview's list: their labels, each with its value as text."""
    return {
        name: html.unescape(value).replace("\xa0", " ")
        for name, value in re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page)
    }


def ordered(session: Session, front: Front, actor: Actor | None = None, **facts: Any) -> Request:
    """Create an order whose request waits for `actor` (None: for nobody), and return the request.

    `facts` are values of the request's columns.
    """
    main = session.get_one(Account, front.main.id)
    request = submit_order(session, front.manager, main, an_order(), NOW)
    session.flush()
    reasons = {
        Actor.REQUESTER: Reason.ADDRESS_NOT_PROVED,
        Actor.CONTACT: Reason.EMAIL_NOT_CONFIRMED,
        Actor.CARRIER: Reason.DOCUMENT_IN_REVIEW,
    }
    if actor is not None:
        request.wait_for(actor, reasons[actor], LATER, NOW, NOW + timedelta(days=7))
    for name, value in facts.items():
        setattr(request, name, value)
    session.flush()
    return request


@dataclass
class Sites:
    """The customer numbers of locations, one in each state that the overview counts.

    `yours`, `confirmation` and `carrier` have orders that wait for the requester, the contact or the carrier; `fresh`
    has an order that waits for nobody, `suspended` a suspended trunk, and `calm` needs nothing.
    """

    fresh: str
    yours: str
    suspended: str
    confirmation: str
    carrier: str
    calm: str


@pytest.fixture
def sites(front: Front) -> Sites:
    """Create one location in each state that the overview counts; return their customer numbers."""
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        calm = sub(session, main, days=300)
        suspended = make_site(session, main, name="Lager Süd", city="Köln").account.customer_number
        suspend_for_carrier(session, "t000000000001", "Rechnung offen", NOW)
        numbers = [
            ordered(session, front, actor).customer_number
            for actor in (Actor.REQUESTER, Actor.CONTACT, Actor.CARRIER, None)
        ]
    yours, confirmation, carrier, fresh = numbers
    return Sites(fresh, yours, suspended, confirmation, carrier, calm)


def test_what_needs_doing_comes_first_and_the_counts_filter(front: Front, sites: Sites) -> None:
    page = get(signed_in(front))
    assert listed(page)[1:] == [
        sites.fresh, sites.yours, sites.suspended, sites.confirmation, sites.carrier, sites.calm,
    ]  # fmt: skip
    assert strip(page) == [
        "7 Standorte", "1 wartet auf Sie", "1 auf Bestätigung", "2 in Bearbeitung", "1 gesperrt",
    ]  # fmt: skip
    for status, found in {
        "yours": [sites.yours],
        "confirmation": [sites.confirmation],
        "waiting": [sites.yours, sites.confirmation],
        "running": [sites.fresh, sites.carrier],
        "suspended": [sites.suspended],
        "in_service": [sites.calm],
        "active": [sites.suspended, sites.calm],
        "new": [sites.fresh, sites.yours, sites.confirmation, sites.carrier],
        "offline": [],
    }.items():
        page = get(front, f"{OVERVIEW}?status={status}")
        assert_valid(page)
        assert listed(page)[1:] == found, status
        assert len(found) == 0 or f"{len(found)} Nebenaccount" in page
    assert 'href="/standortverwaltung?status=suspended"' in get(front)
    assert '" aria-current="true">1 gesperrt</a>' in get(front, f"{OVERVIEW}?status=suspended")


def test_the_order_of_need_pages_through_every_state_once(
    front: Front, sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        for _ in range(2):
            ordered(session, front, Actor.CONTACT)
            sub(session, main, days=5)
    whole = listed(get(signed_in(front)))[1:]
    for size in (1, 2, 3):
        monkeypatch.setattr("web.portal.accounts.overview.PAGE", size)
        path, seen = OVERVIEW, []
        while path:
            page = get(front, path)
            seen += [number for number in listed(page) if number != front.main.customer_number]
            following = re.search(r'href="([^"]+)" rel="next"', page)
            path = following[1].replace("&amp;", "&") if following else ""
        assert seen == whole and len(seen) == 10


def test_a_bulk_does_not_push_what_waits_for_the_requester_down(front: Front) -> None:
    with front.database.transaction() as session:
        yours = ordered(session, front, Actor.REQUESTER).customer_number
        main = session.get_one(Account, front.main.id)
        bulk = make_bulk(session, front.manager, main, [an_order()])
        many = [ordered(session, front, bulk_id=bulk.id) for _ in range(2)]
        numbers = [request.customer_number for request in many]
    assert listed(get(signed_in(front)))[1:] == [yours, *numbers[::-1]]


def test_every_card_has_its_name_as_heading_and_one_state(front: Front, sites: Sites) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        sub(session, main, Origin.COLLECTIVE_INVOICE, name="Büro Köln", city="Köln")
    page = get(signed_in(front))
    cards = re.findall(r'<li class="card.*?</li>', page, re.S)
    assert len(cards) == 8 and all(card.count('class="state') == 1 for card in cards)
    headings = [re.sub(r"<[^>]+>", "", heading) for card in cards for heading in re.findall("<h2>.*?</h2>", card)]
    assert "Lager Süd, Köln" in headings and "Büro Köln" in headings
    billed, leased = (next(card for card in cards if name in card) for name in ("Büro Köln", "Lager Süd"))
    assert "Sammelrechnung</span>" in billed and "Sammelrechnung" not in leased
    assert '<p class="state is-warning">Gesperrt</p>' in leased and '<p class="state">Aktiv</p>' in billed


def test_sums_and_groups_by_town_and_state(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        site = make_site(session, main, name="Lager", city="Köln")
        sub(session, main, city="KÖLN"), sub(session, main, city="Köln-Porz")
        give_numbers(session, site)
        trunk = session.get_one(SipTrunk, site.trunk)
        for product, cents in (("trunk-10", 2990), ("block-10", 290)):
            session.add(
                ContractItem(contract_id=trunk.contract_id, product_key=product, monthly_cents=cents, one_off_cents=0)
            )
        suspend_for_carrier(session, trunk.sip_user, "Rechnung offen", NOW)
        channels = trunk.channels
        ordered(session, front)
    page = get(signed_in(front))
    assert totals(page) == {
        "pro Monat, netto": "32,80 €", "Kanäle": str(channels), "Rufnummern": "10", "SIP-Trunks": "1",
    }  # fmt: skip
    towns = get(front, f"{OVERVIEW}/gruppen/ort")
    assert_valid(towns)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall("<tr>(.*?)</tr>", towns, re.S)]
    plain = [[re.sub("<[^>]+>", "", cell).replace("\xa0", " ") for cell in row] for row in rows]
    assert [row[:4] for row in plain[1:]] == [
        ["Berlin", "1", "–", "0,00 €"],
        ["Bielefeld", "1", "–", "0,00 €"],
        ["KÖLN", "2", "1", "32,80 €"],
        ["Köln-Porz", "1", "–", "0,00 €"],
        ["Zusammen", "5", "1", "32,80 €"],
    ]
    [path] = re.findall(r'href="([^"]+)">KÖLN', towns)
    assert len(listed(get(front, path.replace("&amp;", "&")))) == 3
    states = get(front, f"{OVERVIEW}/gruppen/status")
    assert re.findall(r'href="/standortverwaltung\?status=(\w+)', states) == ["suspended", "running", "in_service"]
    for group, count in (("suspended", 1), ("running", 1), ("in_service", 2)):
        assert len(listed(get(front, f"{OVERVIEW}?status={group}"))) == count + 1


def test_the_file_says_of_the_main_account_what_the_overview_says(front: Front) -> None:
    with front.database.transaction() as session:
        make_trunk(session, session.get_one(Account, front.main.id))
        suspend_for_carrier(session, "t000000000001", "Rechnung offen", NOW)
    page = get(signed_in(front))
    assert '<p class="state is-warning">Gesperrt</p>' in page
    [row] = [line for line in get(front, f"{OVERVIEW}/export.csv").splitlines() if front.main.customer_number in line]
    assert ";Gesperrt;" in row


def test_the_map_shows_every_town_also_as_a_list(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        for city, code in (("Hamburg", "20095"), ("Hamburg", "20097"), ("München", "80331"), ("Nirgends", "00001")):
            sub(session, main, city=city, postal_code=code)
    page = get(signed_in(front), f"{OVERVIEW}/landkarte")
    assert_valid(page)
    places = {
        html.unescape(title): (float(x), float(y), float(radius))
        for x, y, radius, title in re.findall(r'cx="(.*?)" cy="(.*?)" r="(.*?)"><title>(.*?)</title>', page)
    }
    assert set(places) == {"Hamburg: 2 Standorte", "München: 1 Standort", "Bielefeld: 1 Standort"}
    hamburg, munich, bielefeld = (places[name] for name in (*sorted(places)[1:], sorted(places)[0]))
    assert hamburg[1] < bielefeld[1] < munich[1] and bielefeld[0] < hamburg[0] < munich[0]
    assert hamburg[2] > munich[2] == bielefeld[2]
    listed_towns = re.findall(r'<li><a href="([^"]+)">([^<]+)</a>: (\d+)', page)
    assert [(town, count) for _, town, count in listed_towns] == [
        ("Bielefeld", "1"), ("Hamburg", "2"), ("München", "1"), ("Nirgends", "1"),
    ]  # fmt: skip
    assert "Zu 1 Ort wissen wir nicht, wo sein Punkt liegt." in page
    assert len(listed(get(front, listed_towns[1][0].replace("&amp;", "&")))) == 3


def test_the_table_comes_first_from_fifty_locations_on(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.accounts.list_filters.TABLE_FROM", 4)
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        for _ in range(2):
            sub(session, main)
    assert "<table>" not in get(signed_in(front))
    with front.database.transaction() as session:
        sub(session, session.get_one(Account, front.main.id))
    assert "<table>" in get(front)
    assert "<table>" not in get(front, OVERVIEW + "?ansicht=karten") and "<table>" not in get(front)


def test_many_link_requests_do_not_push_the_locations_off_the_screen(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        calm = sub(session, main)
        links = [
            submit_link(session, Vault(SECRET), front.manager, main, a_link(f"765432{place}"), NOW)
            for place in range(5)
        ]
        session.flush()
        links[0].wait_for(Actor.REQUESTER, Reason.OWNERSHIP_NOT_PROVEN, LATER, NOW, NOW + timedelta(days=7))
    page = get(signed_in(front))
    assert page.count("card is-request") == 1 and "7654320" in page and calm in listed(page)
    assert "Alle 5 laufenden Verknüpfungsanfragen anzeigen" in page and "art=link&amp;status=laufend" in page
    assert strip(page) == ["2 Standorte", "1 wartet auf Sie", "4 in Bearbeitung"]
    page = get(front, f"{OVERVIEW}?status=running&ansicht=tabelle")
    assert_valid(page)
    assert [f"765432{place}" in page for place in range(5)] == [False, True, True, True, True]


def test_the_detachment_of_the_account_itself_stands_on_its_card(front: Front) -> None:
    with front.database.transaction() as session:
        other = make_account(session)
        main = session.get_one(Account, front.main.id)
        request = Request(
            kind=Kind.DETACH, main_id=other.id, account_id=main.id, customer_number=main.customer_number, locale="de",
            requested_by=front.manager.user_id, created_at=NOW, updated_at=NOW, due_at=NOW,
        )  # fmt: skip
        session.add(request)
        sub(session, main)
    page = get(signed_in(front))
    [first, _] = re.findall(r'<li class="card.*?</li>', page, re.S)
    assert f'data-request="{request.id}"' in first and first.count('class="state') == 1


def test_the_export_has_the_main_accounts_own_state_and_the_german_day(front: Front, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        make_trunk(session, session.get_one(Account, front.main.id))
        suspend_for_carrier(session, "t000000000001", "Rechnung offen", NOW)
    # Half past eleven in the evening in UTC is the next day in Germany.
    clock.advance(timedelta(hours=15, minutes=30))
    answer = signed_in(front).client.get(f"{OVERVIEW}/export.csv")
    assert "-2026-03-03.csv" in answer.headers["Content-Disposition"]
    assert answer.text.splitlines()[1].split(";")[7] == "Gesperrt"


def test_drafts_are_found_from_the_overview(front: Front) -> None:
    assert "noch nicht abgeschickt" not in get(signed_in(front))
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        draft = begin_draft(session, new_draft_id(session, VAULT, front.manager), main, front.manager, NOW)
        draft.keep({"name": "Filiale Nord"}, DraftStep.LOCATION, NOW)
    page = get(front)
    assert "1 Bestellung ist angefangen und noch nicht abgeschickt." in page
    [path] = re.findall(r'href="([^"]+)">Gespeicherte Bestellungen', page)
    assert "Filiale Nord" in get(front, path)


@pytest.fixture
def network(registrar_url: str) -> Iterator[Network]:
    """Provide an object that writes registrations to Kamailio's database, which is empty at first."""
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as connection:
        yield Network(connection)


@pytest.fixture
def wired(front: Front, front_of: FrontOf, registrar_url: str) -> Front:
    """Provide a client, with the manager signed in, of a web application that reads Kamailio's database."""
    return signed_in(Front(front_of(registrar_url=registrar_url), front.database, front.main, front.manager, ""))


@pytest.fixture
def site(wired: Front) -> Site:
    """Create two sub-accounts of the client's main account; return the one that has a trunk."""
    with wired.database.transaction() as session:
        main = session.get_one(Account, wired.main.id)
        sub(session, main, days=9)
        return make_site(session, main)


def test_who_is_not_registered_is_counted_found_and_comes_before_who_is(
    wired: Front, site: Site, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = site.account.customer_number
    page = get(wired)
    assert strip(page) == ["3 Standorte", "1 nicht angemeldet"]
    assert totals(page)["SIP-Trunks"] == "0 von 1 angemeldet"
    assert listed(page)[1] == number and '<p class="state is-warning">Telefonanlage nicht angemeldet</p>' in page
    assert listed(get(wired, f"{OVERVIEW}?status=offline"))[1:] == [number]
    assert ";Telefonanlage nicht angemeldet;" in get(wired, f"{OVERVIEW}/export.csv?status=offline")
    assert "<strong>1</strong>" in get(wired, f"{OVERVIEW}/gruppen/ort")
    # For very many trunks the network is asked only if the user asks.
    monkeypatch.setattr("web.portal.accounts.registrations.MOST_TRUNKS", 0)
    assert strip(get(wired)) == ["3 Standorte"]
    assert listed(get(wired, f"{OVERVIEW}?status=offline"))[1:] == [number]
    monkeypatch.undo()
    network.register()
    page = get(wired)
    assert strip(page) == ["3 Standorte"] and totals(page)["SIP-Trunks"] == "1 von 1 angemeldet"
    assert listed(page)[2] == number and "nicht angemeldet" not in page
    network.connection.execute("ALTER TABLE location RENAME TO gone")
    try:
        page = get(wired)
        assert "Welche Telefonanlagen angemeldet sind, ist im Moment nicht bekannt." in page
        assert totals(page)["SIP-Trunks"] == "1" and len(listed(page)) == 3
        drawn = get(wired, f"{OVERVIEW}/landkarte")
        assert "Welche Telefonanlagen angemeldet sind, ist im Moment nicht bekannt." in drawn
    finally:
        network.connection.execute("ALTER TABLE gone RENAME TO location")


def test_a_suspended_trunk_is_not_missed_by_the_network(wired: Front, site: Site) -> None:
    with wired.database.transaction() as session:
        suspend_for_carrier(session, "t000000000001", "Rechnung offen", NOW)
        assert session.get_one(SipTrunk, site.trunk).state is TrunkState.SUSPENDED
        account = session.get_one(Account, site.account.id)
    assert strip(get(wired)) == ["3 Standorte", "1 gesperrt"]
    with wired.database.transaction() as session:
        submit_detach(session, wired.manager, session.merge(account), "de", NOW)
    assert strip(get(wired)) == ["3 Standorte", "1 in Bearbeitung"]
