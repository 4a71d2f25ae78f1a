"""Tests of the page that moves an account: its form, what it says before the order, and the request's page."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.company_limits import DailyUse, Limit
from models.accounts.hierarchy import attach
from models.people.audit_log import AuditEvent
from models.requests.requests import Request
from models.states import Origin, Status
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from tests.factories import NOW, make_account
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, give_numbers
from tests.web.portal.changes.contract_changes import (
    DAY,
    assert_asked_for,
    assert_planned_in_overview,
    confirm,
    follow_link,
    plain,
    send,
    show_prices,
)
from tests.web.portal.changes.test_more_numbers import KOELN, make_koeln
from tests.web.portal.telephony.test_suspension import press

MUNICH = {"street": "Marienplatz 8", "postal_code": "80331", "city": "München"}


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location in Köln with ten numbers; the pool has numbers in München."""
    return make_koeln(front, stocked="089")


def path_of(site: Site) -> str:
    """Return the path of the page that moves the site."""
    return f"{site.path}/umzug"


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_a_move_on_a_day_is_ordered_proved_seen_and_taken_back(front: Front, site: Site, back: Back, who: str) -> None:
    page = follow_link(front, site, path_of(site), who)
    assert_valid(page)
    assert "Jetzige Anschlussadresse: Alter Markt 1, 50667 Köln" in plain(page)
    shown = show_prices(front, path_of(site), page, **MUNICH, area_code="", effective_on=DAY.isoformat())
    text = plain(shown.text)
    assert "Zu Beginn des 1. April 2026" in text and "Neue Adresse Marienplatz 8, 80331 München" in text
    assert "in einem anderen Ortsnetz liegt: 0221 70034-0 … -9" in text
    assert "mit der Vorwahl 089" in text and "Brief mit einem Code an die neue Adresse" in text
    assert "Monatlich, netto 32,80 € 32,80 €" in text and "Einmalig, netto – 0,00 €" in text
    assert "Leitstelle für 80331 München" in text
    sent = confirm(front, path_of(site), shown)
    assert_asked_for(sent)
    assert AuditEvent.MOVE_ASKED in [deed[0] for deed in deeds(front)]
    if who == "administrator":
        log = plain(get(front, site.path + "/protokoll"))
        assert "Hat den Umzug nach 80331 München am 1. April 2026 beauftragt." in log
    back.advance()
    with front.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from == RESERVED)).one()
    waiting = get(front, sent.location)
    assert_valid(waiting)
    seen = plain(waiting)
    assert f"Für Sie reserviert: {block.display}" in seen and "Code aus dem Brief eingeben" in seen
    assert "Marienplatz 8, 80331 München" in seen
    typed = press(front, f"{sent.location}/brief", waiting, code=back.letter_code())
    assert typed.status_code in (302, 303)
    back.advance()
    seen = plain(get(front, sent.location))
    assert "Vorgemerkt" in seen and "Der Account zieht mit Beginn des 1. April 2026" in seen
    planned = "Zieht am 1. April 2026 um: Marienplatz 8, 80331 München"
    assert planned in plain(get(front, site.path))
    # Of several moves there is one at a time.
    assert front.client.get(path_of(site)).location == sent.location
    assert "Umzug" in plain(get(front, "/anfragen"))
    if who == "manager":
        assert_planned_in_overview(front, planned)
    asked = get(front, sent.location + "/stornieren")
    assert "Der Account bleibt an seiner Adresse" in plain(asked)
    assert press(front, sent.location + "/stornieren", asked).status_code in (302, 303)
    with front.database.transaction() as session:
        assert session.get_one(NumberBlock, block.id).available_from == NOW
        assert session.scalars(sa.select(Request.status).where(Request.kind == "move")).one() is Status.CANCELLED
    assert planned not in plain(get(front, site.path))
    assert "Erneut einen Umzug beauftragen" in plain(get(front, sent.location))


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_the_letter_is_asked_for_again_and_counts_for_the_side_that_asks(
    front: Front, site: Site, back: Back, who: str
) -> None:
    page = follow_link(front, site, path_of(site), who)
    sent = confirm(front, path_of(site), show_prices(front, path_of(site), page, **MUNICH, area_code=""))
    back.advance()
    back.clock.advance(timedelta(days=4))
    again = press(front, f"{sent.location}/erneut-senden", get(front, sent.location), what="letter")
    assert again.status_code == 303
    assert "Ein neuer Code ist unterwegs." in plain(get(front, sent.location))
    with front.database.transaction() as session:
        letters = sa.select(DailyUse.account_id).where(DailyUse.what == Limit.LETTERS)
        counting = set(session.scalars(letters))
    assert counting == {site.account.id if who == "administrator" else front.main.id}
    back.advance()
    press(front, f"{sent.location}/brief", get(front, sent.location), code=back.letter_code())
    back.advance()
    back.advance_to_the_network()
    assert "Der Account ist umgezogen." in plain(get(front, sent.location))


@pytest.mark.parametrize("day", ["", DAY.isoformat()])
def test_the_overview_says_that_a_move_waits_for_its_proof(front: Front, site: Site, back: Back, day: str) -> None:
    come_in(front, front.manager.email)
    sent = send(front, path_of(site), **MUNICH, area_code="", effective_on=day)
    back.advance()
    planned = f"Zieht {'am 1. April 2026 ' if day else ''}um: Marienplatz 8, 80331 München"
    waits = f"{planned} Der Adressnachweis fehlt"
    assert_planned_in_overview(front, waits)
    assert waits in plain(get(front, site.path))
    page = get(front, sent.location)
    press(front, f"{sent.location}/brief", page, code=back.letter_code())
    back.advance()
    assert "Der Adressnachweis fehlt" not in plain(get(front, "/standortverwaltung?ansicht=karten"))


def test_a_finished_move_stands_on_dashboard_and_page(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    sent = send(front, path_of(site), **MUNICH, area_code="089", effective_on="")
    back.advance()
    page = get(front, sent.location)
    press(front, f"{sent.location}/brief", page, code=back.letter_code())
    back.advance()
    assert "Abgeschlossen" not in plain(get(front, sent.location))
    back.advance_to_the_network()
    seen = plain(get(front, sent.location))
    assert "Abgeschlossen" in seen and "Der Account ist umgezogen." in seen
    with front.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == site.account.id)).one()
    dashboard = plain(get(front, site.path))
    assert block.area_code == "089" and block.display in dashboard and "Marienplatz 8 80331 München" in dashboard


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"street": ""}, "Geben Sie Straße und Hausnummer ein."),
        ({"street": "Marienplatz"}, "Hausnummer"),
        ({"postal_code": "50667"}, "Köln"),
        ({"postal_code": "x"}, "fünf Ziffern"),
        (KOELN, "Das ist die jetzige Anschlussadresse."),
        ({"area_code": "0221"}, "passt nicht zur Adresse"),
        ({"area_code": "x"}, "Vorwahl"),
        ({"effective_on": "2020-01-01"}, "ist vorbei"),
        ({"effective_on": "morgen"}, "kein Tag"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(front: Front, site: Site, typed: dict[str, str], says: str) -> None:
    come_in(front, front.manager.email)
    fields = {**MUNICH, "area_code": "", "effective_on": "", **typed}
    answer = press(front, path_of(site), get(front, path_of(site)), **fields)
    assert answer.status_code == 422
    assert_valid(answer.text)
    assert says in plain(answer.text)


def test_what_has_changed_since_is_shown_again(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    shown = show_prices(front, path_of(site), **MUNICH, area_code="", effective_on="")
    with front.database.transaction() as session:
        give_numbers(session, site, 49221700440)
    again = confirm(front, path_of(site), shown)
    assert again.status_code == 200
    text = plain(again.text)
    assert "Preise oder Rufnummern haben sich inzwischen geändert" in text and "0221 70044-0 … -9" in text
    assert_asked_for(confirm(front, path_of(site), again))


def test_in_english_it_says_the_same(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    front.client.post("/sprache/en", data={"csrf_token": form_token(front.client)})
    shown = show_prices(front, path_of(site), **MUNICH, area_code="", effective_on="")
    text = plain(shown.text)
    assert "These cannot stay, because the new address is in another Ortsnetz" in text and "Order the move" in text


def test_forwardings_that_are_deleted_or_lead_nowhere_are_named_first(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == site.account.id)).one()
        other = make_account(session, name="Lager")
        attach(session, front.main.id, other.id, Origin.LINK, NOW)
        own = {"first_number": block.first_number - 10, "last_number": block.last_number, "target": "+4915123456780"}
        session.add(CallForwarding(account_id=site.account.id, condition=Condition.BUSY, **own))
        to = f"+{block.first_number + 4}"
        session.add(CallForwarding(account_id=other.id, condition=Condition.ALWAYS, target=to))
    come_in(front, front.manager.email)
    text = plain(show_prices(front, path_of(site), **MUNICH, area_code="", effective_on="").text)
    assert "werden gelöscht, weil ihre Rufnummern nicht alle aus einem Block sind: 0221" in text
    assert f"niemanden, bis Sie ihnen eine neue Rufnummer geben: Lager ({other.customer_number}) → 0221" in text


def test_who_has_the_letter_needs_no_login(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    sent = send(front, path_of(site), **MUNICH, area_code="", effective_on="")
    back.advance()
    stranger = front.client.application.test_client()
    form = {"csrf_token": form_token(stranger), "customer_number": site.account.customer_number}
    assert stranger.post("/brief", data={**form, "code": "AAAAA-AAAAA"}).status_code == 422
    done = stranger.post("/brief", data={**form, "code": back.letter_code()})
    assert_valid(done.text)
    assert "Die Adresse Marienplatz 8, 80331 München ist" in plain(done.text)
    back.advance_to_the_network()
    come_in(front, front.manager.email)
    assert "Abgeschlossen" in plain(get(front, sent.location))


def test_all_that_is_wrong_is_said_at_once(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    wrong = {"street": "Marienplatz", "postal_code": "00000", "city": "München"}
    typed = {**wrong, "area_code": "0123456", "effective_on": "2020-01-01"}
    answer = press(front, path_of(site), get(front, path_of(site)), **typed)
    assert answer.status_code == 422
    assert_valid(answer.text)
    for field in ("street", "postal_code", "area_code", "effective_on"):
        assert f'id="{field}-says"' in answer.text, field
