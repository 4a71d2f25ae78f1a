"""Tests of ordering a new sub-account in the portal, step by step, without a browser."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from pypdf import PdfReader
from werkzeug.test import TestResponse

from models import retention
from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder
from models.accounts.hierarchy import attach
from models.calendar_days import berlin_day, end_of_day
from models.contracts.catalogue import Product, set_price
from models.contracts.costs import Amount
from models.contracts.terms import ContractTerms
from models.db.session import Database
from models.errors import InvalidField
from models.orders.drafts import Draft, new_draft_id, was_given_to
from models.people.rights import Role
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import AccountState, Origin
from models.vault import Vault
from tests.factories import (
    HOLDER,
    MOBILE,
    NOW,
    an_order,
    fill_pool,
    join,
    make_account,
    make_main,
    make_user,
    prove_contact,
    submit_order,
)
from tests.fakes import FakeClock
from tests.web.conftest import SECRET, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in

NEW = "/standortverwaltung/neu"
STEPS: dict[str, dict[str, Any]] = {
    "produkt": {"product": "trunk-10", "channels": "4", "options": ["mobile-backup"], "mobile_number": "0151 23456789"},
    "standort": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "rufnummern": {"area_code": "030", "block_size": "10"},
    "kontakt": {"contact_name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "030 901820"},
}


def begin(front: Front) -> str:
    """Sign in and begin an order; return the path of its draft, under which its pages are."""
    sign_in(front, front.manager.email)
    return fresh(front)


def fresh(front: Front) -> str:
    """Begin an order as the signed-in user; return the path of its draft, under which its pages are."""
    return front.client.get(NEW).headers["Location"].removesuffix("/produkt")


def fill(front: Front, draft: str, slug: str, **changes: Any) -> TestResponse:
    """Submit the step `slug` of the order with its usual values and `changes` of them; return the answer.

    `draft` is the path of the order's draft.
    """
    page = front.client.get(f"{draft}/{slug}").text
    return front.client.post(f"{draft}/{slug}", data={"csrf_token": csrf(page), **STEPS[slug], **changes})


def fill_all(front: Front, draft: str, *slugs: str) -> str:
    """Submit the steps `slugs` (none: all steps) with their usual values, and return the HTML of the summary.

    `draft` is the path of the order's draft. Fails unless each step is accepted.
    """
    for slug in slugs or STEPS:
        answer = fill(front, draft, slug)
        assert answer.status_code == 303, answer.text
    return front.client.get(f"{draft}/zusammenfassung").text


def order(client: FlaskClient, draft: str, summary: str, **ticked: str) -> TestResponse:
    """Press the button that places the order on its summary, with the boxes `ticked`; return the answer.

    `draft` is the path of the order's draft, `summary` the HTML of its summary.
    """
    shown = re.search(r'name="shown" value="(\w+)"', summary)
    assert shown is not None, summary
    return client.post(f"{draft}/bestellen", data={"csrf_token": csrf(summary), "shown": shown[1], **ticked})


def plain(text: str) -> str:
    """Return the text with normal spaces in place of non-breaking ones."""
    return re.sub(r"\s+", " ", text.replace("\xa0", " ").replace("\u202f", " "))


def requests_in(database: Database) -> list[Request]:
    """Return all requests."""
    with database.transaction() as session:
        return list(session.scalars(sa.select(Request)))


def drafts_in(database: Database) -> list[Draft]:
    """Return all drafts."""
    with database.transaction() as session:
        return list(session.scalars(sa.select(Draft)))


def test_a_typing_error_in_the_town_is_named_on_its_step_and_mended_with_one_button(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    typo = fill(front, draft, "standort", city="Berlinn")
    assert typo.status_code == 422
    assert_valid(typo.text)
    said = "Wir kennen Berlinn mit der Postleitzahl 10179 nicht; sie gehört zu Berlin. Ist das ein Tippfehler?"
    assert f'<a href="#city">{said}' in typo.text and f'id="city-says">{said}' in typo.text
    assert 'value="Berlinn"' in typo.text and 'value="Brückenstr. 5"' in typo.text
    assert front.client.get(f"{draft}/rufnummern").headers["Location"].startswith(f"{draft}/standort")
    taken = fill(front, draft, "standort", city="Berlinn", go="town:Berlin")
    assert taken.headers["Location"] == f"{draft}/rufnummern"
    assert 'value="Berlin"' in front.client.get(f"{draft}/standort").text
    # Who insists is not asked again, until another town is typed.
    kept = fill(front, draft, "standort", city="Berlinn", go="keep-town")
    assert kept.headers["Location"] == f"{draft}/rufnummern"
    assert fill(front, draft, "standort", city="Berlinn", city_kept="10179 Berlinn").status_code == 303
    assert fill(front, draft, "standort", city="Berlinnn", city_kept="10179 Berlinn").status_code == 422
    assert fill(front, draft, "standort", city="Berlinn", go="town:Atlantis").status_code == 422


def test_five_steps_lead_to_the_overview_with_the_new_account(front: Front) -> None:
    draft = begin(front)
    assert front.client.get(f"{draft}/produkt").status_code == 200
    for slug, target in zip(STEPS, [*list(STEPS)[1:], "zusammenfassung"], strict=True):
        assert fill(front, draft, slug).headers["Location"] == f"{draft}/{target}"
    summary = front.client.get(f"{draft}/zusammenfassung").text
    for words in ("Filiale Berlin", "10179 Berlin", "Hanna Palmer", "030 901820", "030 (Berlin)"):
        assert words in summary
    assert "Notfall-Umleitung auf Mobilfunk" in summary and "Notfall-Umleitung an 01512 3456789" in summary
    assert "4 gleichzeitige Gespräche" in summary and "zahlungspflichtig bestellen" in summary
    assert "muss innerhalb von 14 Tagen bestätigt werden" in summary and "einen Brief mit einem Code" in summary
    answer = order(front.client, draft, summary)
    [request] = requests_in(front.database)
    # The card is marked wherever it is, and the message leads to the sub-account.
    card = f"konto-{request.customer_number}"
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/standortverwaltung#{card}")
    overview = front.client.get("/standortverwaltung").text
    assert f'id="{card}"' in overview and f'id="{card}"' in front.client.get("/standortverwaltung?ansicht=tabelle").text
    assert f'<a href="/standortverwaltung/{request.customer_number}">Neuen Nebenaccount anzeigen</a>' in overview
    assert f"Der neue Nebenaccount hat die Kundennummer {request.customer_number}." in overview
    assert f"Kundennummer: {request.customer_number}" in overview and "Neu</span>" in overview
    assert (request.product_key, request.channels, request.area_code, request.block_size, request.option_keys) == (
        "trunk-10", 4, "030", 10, ["mobile-backup"],
    )  # fmt: skip
    assert request.option_details == {"mobile_number": MOBILE}
    assert request.locale == "de" and request.requested_by == front.manager.user_id


def test_nothing_is_written_down_before_something_was_typed(front: Front) -> None:
    draft = begin(front)
    front.client.get(f"{draft}/produkt")
    assert drafts_in(front.database) == []
    for slug in ("standort", "zusammenfassung", "angebot.pdf"):
        assert front.client.get(f"{draft}/{slug}").status_code == 404
    assert front.client.get(draft).status_code == 404


@pytest.mark.parametrize(
    ("slug", "changes", "complaint"),
    [
        ("produkt", {"product": ""}, "Wählen Sie ein Produkt."),
        ("produkt", {"product": "mobile-backup"}, "Wählen Sie ein Produkt."),
        ("produkt", {"channels": "11"}, "1 bis 10 gleichzeitige Gespräche"),
        ("produkt", {"channels": "0"}, "1 bis 10 gleichzeitige Gespräche"),
        ("produkt", {"channels": "0000000019999"}, "1 bis 10 gleichzeitige Gespräche"),
        ("produkt", {"channels": "²"}, "1 bis 10 gleichzeitige Gespräche"),
        ("produkt", {"options": ["trunk-2"]}, "nicht mehr bestellbar"),
        ("produkt", {"options": ["mobile-backup", "mobile-backup"]}, "nicht mehr bestellbar"),
        ("produkt", {"mobile_number": ""}, "Geben Sie die Mobilfunknummer für die Notfall-Umleitung ein."),
        ("produkt", {"mobile_number": "030 901820"}, "Das ist keine Mobilfunknummer."),
        ("standort", {"name": " "}, "Geben Sie einen Namen für den Standort ein."),
        ("standort", {"street": "x" * 121}, "Höchstens 120 Zeichen"),
        ("standort", {"name": "ལྷ་ས Büro"}, "Wir können ལྷ (U+0F63 U+0FB7) nicht drucken"),
        ("standort", {"name": "www.evil.example/login"}, "lassen Sie Internet- und E-Mail-Adressen weg"),
        ("standort", {"postal_code": "1017"}, "fünf Ziffern"),
        ("standort", {"city": ""}, "Geben Sie den Ort ein."),
        ("rufnummern", {"area_code": ""}, "Geben Sie die Vorwahl ein."),
        ("rufnummern", {"area_code": "30"}, "drei bis sechs Ziffern"),
        ("rufnummern", {"area_code": "0999"}, "Es gibt kein Ortsnetz mit dieser Vorwahl."),
        ("rufnummern", {"block_size": "7"}, "Wählen Sie, wie viele Rufnummern Sie brauchen."),
        ("kontakt", {"contact_name": ""}, "Geben Sie den Namen der Ansprechperson ein."),
        ("kontakt", {"email": "hanna@"}, "keine vollständige E-Mail-Adresse"),
        ("kontakt", {"phone": "call me"}, "keine Rufnummer"),
        ("kontakt", {"phone": "030 901820 App. 12"}, "eine einzige Rufnummer"),
        ("kontakt", {"phone": "110"}, "Notruf- und Servicenummern"),
        ("kontakt", {"email": "jörg@example.com"}, "vor dem @"),
    ],
)
def test_each_step_is_judged_and_nothing_typed_is_lost(
    front: Front, slug: str, changes: dict[str, Any], complaint: str
) -> None:
    draft = begin(front)
    fill_all(front, draft)
    answer = fill(front, draft, slug, **changes)
    assert answer.status_code == 422
    assert "Bitte prüfen Sie Ihre Eingaben" in answer.text and answer.text.count(complaint) == 2
    [field] = changes
    place = f"{field}-0" if field in ("product", "options", "block_size") else field
    assert f'href="#{place}"' in answer.text and f'id="{place}"' in answer.text
    kept = drafts_in(front.database)[0].data[field]
    assert kept == (changes[field].strip() if isinstance(changes[field], str) else changes[field])
    again = front.client.get(f"{draft}/zusammenfassung")
    assert again.headers["Location"] == f"{draft}/{slug}?pruefen=1"
    assert complaint in front.client.get(again.headers["Location"]).text
    assert requests_in(front.database) == []


@pytest.mark.usefixtures("changing_products")
def test_the_terms_of_the_contract_are_shown_and_an_order_has_those_that_were_shown(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    assert "Keine Mindestlaufzeit. Der Vertrag kann mit einer Frist von einem Monat gekündigt werden." in summary
    with front.database.transaction() as session:
        facts = {"monthly_cents": 2990, "one_off_cents": 2900}
        set_price(session, "trunk-10", berlin_day(NOW), NOW, **facts, orderable=True, terms=ContractTerms(24, 1, 12))
    refused = order(front.client, draft, summary)
    assert refused.status_code == 409 and requests_in(front.database) == []
    assert "Mindestlaufzeit in Monaten: 24." in refused.text
    assert order(front.client, draft, refused.text).status_code == 303
    [placed] = requests_in(front.database)
    assert placed.contract_terms == {"term_months": 24, "notice_months": 1, "renewal_months": 12}


ANNA = {"local_user": "somebody_else", "local_user_name": "Anna Filiale", "local_user_email": "Anna@filiale.example"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"local_user_name": " "}, "Geben Sie den Namen der Person ein, die sich anmelden soll."),
        ({"local_user_email": ""}, "Geben Sie die E-Mail-Adresse der Person ein, die sich anmelden soll."),
        ({"local_user_email": "anna@"}, "keine vollständige E-Mail-Adresse"),
    ],
)
def test_somebody_else_who_signs_in_has_a_name_and_an_address(
    front: Front, changes: dict[str, str], complaint: str
) -> None:
    draft = begin(front)
    fill_all(front, draft)
    answer = fill(front, draft, "kontakt", **ANNA | changes)
    [field] = changes
    assert answer.status_code == 422 and answer.text.count(complaint) == 2 and f'href="#{field}"' in answer.text
    # What is wrong does not matter if somebody else signs in, or nobody yet.
    assert fill(front, draft, "kontakt", **ANNA | changes | {"local_user": "nobody_yet"}).status_code == 303


@pytest.mark.parametrize(
    ("changes", "shown", "named"),
    [
        ({}, "laden wir Hanna Palmer per E-Mail ein", ("Hanna Palmer", "hanna.palmer@example.com")),
        ({"local_user": "contact"}, "laden wir Hanna Palmer per", ("Hanna Palmer", "hanna.palmer@example.com")),
        (ANNA, "laden wir Anna Filiale per E-Mail ein", ("Anna Filiale", "anna@filiale.example")),
        ({"local_user": "nobody_yet"}, "Vorerst niemand", (None, None)),
    ],
)
def test_the_order_asks_who_shall_sign_in_and_that_is_the_contact_unless_said_otherwise(
    front: Front, changes: dict[str, str], shown: str, named: tuple[str | None, str | None]
) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt", "standort", "rufnummern")
    assert 'value="contact" checked' in front.client.get(f"{draft}/kontakt").text
    fill(front, draft, "kontakt", **changes)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert shown in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert (request.local_user_name, request.local_user_email) == named


@pytest.mark.parametrize(
    ("chosen", "shown"), [("", ""), ("contact", "So, wie sich das Telefon"), ("number", "Unter der gewählten")]
)
def test_an_order_may_say_how_calls_reach_the_phone_system(front: Front, chosen: str, shown: str) -> None:
    draft = begin(front)
    fill_all(front, draft)
    assert 'name="request_uri" value="" checked' in front.client.get(f"{draft}/rufnummern").text
    refused = fill(front, draft, "rufnummern", request_uri="to")
    assert refused.status_code == 422 and 'href="#request_uri-0"' in refused.text
    fill(front, draft, "rufnummern", request_uri=chosen)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert ("Wie Anrufe bei der Telefonanlage ankommen" in summary) == bool(chosen) and shown in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.request_uri == (chosen or None)


def test_a_person_of_the_main_account_needs_no_invitation_and_the_summary_says_so(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    fill(front, draft, "kontakt", email=front.manager.email)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "Hat über den Hauptaccount schon Zugang" in summary and "laden wir" not in summary


def test_what_is_right_at_the_edges(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    fill(front, draft, "produkt", channels="", options=[])
    fill(front, draft, "kontakt", phone="")
    order(front.client, draft, front.client.get(f"{draft}/zusammenfassung").text)
    [request] = requests_in(front.database)
    assert request.channels == 10 and request.option_keys == []
    # What was typed for an option that is not chosen is no part of the order.
    assert request.option_details is None


def test_back_and_forth_and_later_keep_what_was_typed_even_if_it_is_wrong(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    half = {"name": "Halb", "street": "", "postal_code": "12", "city": "Berlin"}
    assert fill(front, draft, "standort", **half, go="back").headers["Location"] == f"{draft}/produkt"
    page = front.client.get(f"{draft}/standort").text
    assert 'value="Halb"' in page and 'value="12"' in page and 'value="Berlin"' in page
    assert 'role="alert"' not in page
    later = fill(front, draft, "standort", **half, go="later")
    assert later.headers["Location"] == f"{NEW}/entwuerfe"
    listed = front.client.get(f"{NEW}/entwuerfe").text
    assert "Halb" in listed and "Die Bestellung ist gespeichert." in listed and f'href="{draft}"' in listed
    assert front.client.get(draft).headers["Location"] == f"{draft}/standort"
    # The list of steps leads no further than the first invalid step.
    assert fill(front, draft, "standort", go="kontakt").headers["Location"] == f"{draft}/rufnummern"
    assert 'aria-current="step"' in front.client.get(f"{draft}/rufnummern").text


def test_a_draft_that_nothing_was_typed_into_is_not_listed(front: Front) -> None:
    draft = begin(front)
    assert fill(front, draft, "produkt", product="", channels="", options=[], mobile_number="").status_code == 422
    assert "Es gibt keine gespeicherten Bestellungen." in front.client.get(f"{NEW}/entwuerfe").text


def test_typing_is_saved_and_the_basket_counts_along(front: Front) -> None:
    draft = begin(front)
    token = csrf(front.client.get(f"{draft}/produkt").text)
    typed = {"csrf_token": token, "product": "trunk-2", "channels": "99"}
    answer = front.client.post(f"{draft}/produkt/merken", data=typed).get_json()
    assert answer["saved"] == "Gespeichert." and "9,90" in answer["basket"]
    assert drafts_in(front.database)[0].data["channels"] == "99"
    assert "Es gibt eine gespeicherte Bestellung" in front.client.get(fresh(front) + "/produkt").text


def test_the_totals_are_net_tax_and_gross(front: Front) -> None:
    draft = begin(front)
    page = plain(fill_all(front, draft))
    # 29,90 + 2,90 + 4,90 monthly; 29,00 + 9,90 once.
    for price in ("37,70 €", "7,16 €", "44,86 €", "38,90 €", "7,39 €", "46,29 €"):
        assert price in page
    front.client.post("/sprache/en", data={"csrf_token": csrf(page)})
    english = plain(front.client.get(f"{draft}/zusammenfassung").text)
    assert "You pay €37.70 a month and €38.90 once, net" in english and "Order with obligation to pay" in english


def test_a_page_names_the_tax_that_is_reckoned_with(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(front.client.application.jinja_env.globals, "VAT_PERCENT", 7)
    summary = plain(fill_all(front, begin(front)))
    assert summary.count("zuzüglich 7 % Umsatzsteuer") == 2 and "19 %" not in summary


def test_tax_is_rounded_to_the_cent() -> None:
    assert [(Amount(net).vat, Amount(net).gross) for net in (0, 1, 50, 2990)] == [
        (0, 0), (0, 1), (10, 60), (568, 3558),
    ]  # fmt: skip


def test_what_is_wrong_with_the_address_is_named_on_its_field_with_what_fits(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    for changes, complaint in (
        ({"postal_code": "80331"}, "Diese Postleitzahl gehört zu München, nicht zu Berlin. Postleitzahlen von Berlin:"),
        ({"postal_code": "99999"}, "Diese Postleitzahl gibt es nicht. Postleitzahlen von Berlin: 10115"),
        ({"postal_code": "99999", "city": "Atlantis"}, "Diese Postleitzahl gibt es nicht."),
        ({"street": "Brückenstr."}, "Geben Sie die Hausnummer an."),
    ):
        answer = fill(front, draft, "standort", **changes)
        assert answer.status_code == 422 and answer.text.count(complaint) == 2, complaint
        assert_valid(answer.text)
    assert fill(front, draft, "standort", street="Brückenstr. ohne Hausnummer").status_code == 303
    answer = fill(front, draft, "rufnummern", area_code="089")
    complaint = "Diese Vorwahl passt nicht zur Adresse. Passende Vorwahlen: 030 (Berlin)"
    assert answer.status_code == 422 and answer.text.count(complaint) == 2
    # An address that is changed afterwards has to fit as well.
    assert fill(front, draft, "rufnummern").status_code == 303
    fill(front, draft, "kontakt")
    fill(front, draft, "standort", postal_code="80331", city="München")
    assert front.client.get(f"{draft}/zusammenfassung").headers["Location"] == f"{draft}/rufnummern?pruefen=1"


def test_a_town_is_ordered_in_the_spelling_of_the_directory(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    assert fill(front, draft, "standort", city="berlin").status_code == 303
    summary = fill_all(front, draft, "rufnummern", "kontakt")
    assert "10179 Berlin" in summary and "10179 berlin" not in summary
    order(front.client, draft, summary)
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Account.city).order_by(Account.id.desc())).first() == "Berlin"


def test_a_wrong_area_code_is_told_above_and_at_its_field_and_nowhere_else(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt", "standort")
    page = fill(front, draft, "rufnummern", area_code="089").text
    assert page.count("Passende Vorwahlen:") == 2 and "Vorwahl für Berlin" not in page


def test_a_town_without_an_ortsnetz_of_its_own_gets_those_nearby_offered(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    fill(front, draft, "standort", street="Bahnhofstr. 1", postal_code="85737", city="Ismaning")
    page = front.client.get(f"{draft}/rufnummern").text
    assert 'value="089"' in page and "Vorwahl für Ismaning: 089 (München), " in page
    assert_valid(page)
    for area_code, unsure in (("089", False), ("08122", True)):
        assert fill(front, draft, "rufnummern", area_code=area_code).headers["Location"] == f"{draft}/kontakt"
        fill(front, draft, "kontakt")
        summary = front.client.get(f"{draft}/zusammenfassung").text
        assert ("Ob Ismaning in diesem Ortsnetz liegt, prüfen wir nach der Bestellung" in summary) is unsure
    for words in ("110 und 112", "Leitstelle für 85737 Ismaning", "Maßgeblich ist die Anschlussadresse Bahnhofstr. 1"):
        assert words in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.area_code == "08122"


def test_hints_while_typing(front: Front) -> None:
    sign_in(front, front.manager.email)

    def hints(**typed: str) -> Any:
        return front.client.get(f"{NEW}/hinweise", query_string=typed).get_json()

    berlin = {"postal_code": "10179", "city": "Berlin"}
    found = hints(**berlin, area_code="030", block_size="10")
    assert (found["fits"], found["free_blocks"], found["free_numbers"]) == (True, 20, 200)
    assert found["suggestions"][0] == {"area_code": "030", "town": "Berlin"} and found["towns"] == ["Berlin"]
    assert found["free_text"] == "Unter 030 sind 20 Blöcke mit je 10 Rufnummern frei."
    assert found["area_text"] == "030 ist die Vorwahl von Berlin und passt zu Berlin."
    wrong = hints(**berlin, area_code="089", block_size="100")
    assert wrong["fits"] is False and wrong["free_blocks"] == 0 and "030 (Berlin)" in wrong["area_text"]
    elsewhere = hints(postal_code="80331", city="Berlin", area_code="030")
    assert (elsewhere["wrong"], elsewhere["fits"]) == (True, None) and "gehört zu München" in elsewhere["city_text"]
    assert hints(postal_code="80331")["city_text"] == "80331 gehört zu München."
    nothing = hints(city="", area_code="9", block_size="x")
    assert (nothing["fits"], nothing["free_blocks"], nothing["suggestions"]) == (None, None, [])
    assert hints(city="Berlin", area_code="030")["area_text"] == "030 ist die Vorwahl von Berlin."
    nowhere = hints(postal_code="10179", city="Atlantis", area_code="030")
    assert "Wir kennen Atlantis mit der Postleitzahl 10179 nicht; sie gehört zu Berlin." in nowhere["city_text"]
    assert nowhere["fits"] is True and "prüfen wir nach der Bestellung" in nowhere["area_text"]


def test_the_offer_says_everything_and_leads_back(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    fill(front, draft, "kontakt", contact_name="Łukasz Żółć-Ștefan")
    answer = front.client.get(f"{draft}/angebot.pdf")
    assert answer.mimetype == "application/pdf" and "Angebot-" in answer.headers["Content-Disposition"]
    reader = PdfReader(io.BytesIO(answer.data))
    assert len(reader.pages) == 1
    text = plain(reader.pages[0].extract_text())
    for words in (
        "Angebot ", front.main.customer_number, "SIP-Trunk mit 10 Kanälen", "Rufnummernblock mit 10 Nummern",
        "Notfall-Umleitung auf Mobilfunk", "37,70 €", "44,86 €", "46,29 €", "Gültig bis", "16. März 2026",
        "Preise netto in Euro, gültig bis 16. März 2026; der Umsatzsteuersatz beträgt heute 19 %.", "Filiale Berlin",
        "Brückenstr. 5", "10179 Berlin", "Łukasz Żółć-Ștefan", "hanna.palmer@example.com", "Noch ist nichts bestellt.",
        "Vertragslaufzeit: Keine Mindestlaufzeit.",
        "Vertragsinhaber: Noch nicht eingetragen.", "Notfall-Umleitung auf Mobilfunk: 01512 3456789",
        "Anmeldung für den Standort: Łukasz Żółć-Ștefan, hanna.palmer@example.com",
    ):  # fmt: skip
        assert words in text, words
    links = [note.get_object()["/A"]["/URI"] for note in reader.pages[0].annotations or ()]
    assert links == [f"http://localhost:8000{draft}"]
    assert front.client.get(draft).headers["Location"] == f"{draft}/zusammenfassung"


@pytest.mark.usefixtures("changing_products")
def test_the_prices_of_an_offer_hold_until_the_end_of_its_day(front: Front, clock: FakeClock) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    clock.now = datetime(2026, 3, 16, 22, 59, tzinfo=UTC)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "37,70\xa0€" in summary and "Zu den Preisen Ihres Angebots, das bis 16. März 2026 gilt." in summary
    # Downloading it again is no new offer.
    again = plain(PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text())
    assert "37,70 €" in again and "16. März 2026" in again
    clock.now = datetime(2026, 3, 16, 23, 0, tzinfo=UTC)
    late = front.client.get(f"{draft}/zusammenfassung").text
    assert "75,40\xa0€" in late and "Ihres Angebots" not in late
    order(front.client, draft, summary)
    assert requests_in(front.database) == []
    clock.now = datetime(2026, 3, 16, 22, 59, tzinfo=UTC)
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.price_lines is not None
    prices = {line["product_key"]: (line["monthly_cents"], line["one_off_cents"]) for line in request.price_lines}
    assert prices == {"trunk-10": (2990, 2900), "block-10": (290, 990), "mobile-backup": (490, 0)}


def set_prices(front: Front, factor: int) -> None:
    """Multiply all prices of the price list by the factor."""
    with front.database.transaction() as session:
        prices = {"monthly_cents": Product.monthly_cents * factor, "one_off_cents": Product.one_off_cents * factor}
        session.execute(sa.update(Product).values(**prices))


@pytest.mark.usefixtures("changing_products")
def test_an_offer_promises_what_it_named_and_nothing_else(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    # A product that the offer did not name has today's price, in a second offer too.
    fill(front, draft, "produkt", product="trunk-50", channels="12", options=["mobile-backup"])
    other = front.client.get(f"{draft}/zusammenfassung").text
    assert "199,80\xa0€" in other and "Ihres Angebots" not in other
    front.client.get(f"{draft}/angebot.pdf")
    set_prices(front, 2)
    fill(front, draft, "produkt", product="trunk-10", channels="5", options=["mobile-backup"])
    back = front.client.get(f"{draft}/zusammenfassung").text
    assert "37,70\xa0€" in back and "Ihres Angebots" in back
    fill(front, draft, "produkt", product="trunk-50", channels="12", options=["mobile-backup"])
    assert "199,80\xa0€" in front.client.get(f"{draft}/zusammenfassung").text


@pytest.mark.usefixtures("changing_products")
def test_an_offer_makes_nothing_dearer(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    front.client.get(f"{draft}/angebot.pdf")
    with front.database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(monthly_cents=2000))
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "27,80\xa0€" in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.price_lines is not None and request.price_lines[0]["monthly_cents"] == 2000


def test_an_offer_needs_everything(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt")
    assert front.client.get(f"{draft}/angebot.pdf").headers["Location"] == f"{draft}/standort?pruefen=1"


def test_who_is_known_is_not_asked_again(front: Front) -> None:
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    draft = begin(front)
    summary = fill_all(front, draft)
    assert "ist uns schon bekannt" in summary and "Die Anschlussadresse ist schon nachgewiesen." in summary
    assert "einen Brief mit einem Code" not in summary
    own = fill(front, draft, "kontakt", go="own")
    assert own.headers["Location"] == f"{draft}/kontakt"
    assert f'value="{front.manager.email}"' in front.client.get(f"{draft}/kontakt").text


def test_the_second_submit_finds_the_same_request(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    card = f"/standortverwaltung#konto-{request.customer_number}"
    assert order(front.client, draft, summary).headers["Location"] == card
    assert front.client.get("/standortverwaltung").text.count("Vielen Dank für Ihre Bestellung.") == 1
    for address in (draft, f"{draft}/produkt", f"{draft}/zusammenfassung", f"{draft}/angebot.pdf"):
        assert front.client.get(address).headers["Location"] == card
    assert f"schon aufgegeben. Der neue Nebenaccount hat die Kundennummer {request.customer_number}." in (
        front.client.get("/standortverwaltung").text
    )
    token = csrf(front.client.get("/standortverwaltung").text)
    late = front.client.post(f"{draft}/produkt/merken", data={"csrf_token": token, "product": "trunk-2"})
    assert late.status_code == 200 and drafts_in(front.database)[0].data["product"] == "trunk-10"
    assert "Filiale Berlin" not in front.client.get(f"{NEW}/entwuerfe").text


def test_two_submits_at_once_make_one_order(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    cookie = front.client.get_cookie("session")
    assert cookie is not None
    barrier, answers = Barrier(4, timeout=30), []

    def press() -> None:
        client = front.client.application.test_client()
        client.set_cookie("session", cookie.value)
        barrier.wait()
        answers.append(order(client, draft, summary).headers.get("Location"))

    threads = [Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [request] = requests_in(front.database)
    assert answers == [f"/standortverwaltung#konto-{request.customer_number}"] * 4


def test_what_has_changed_since_it_was_shown_is_not_ordered(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    fill(front, draft, "produkt", product="trunk-50")
    answer = order(front.client, draft, summary)
    assert answer.status_code == 409 and "hat sich geändert" in answer.text
    assert 'class="notice is-warning"' in answer.text
    assert requests_in(front.database) == []
    order(front.client, draft, answer.text)
    assert len(requests_in(front.database)) == 1


@pytest.mark.usefixtures("changing_products")
def test_a_withdrawn_product_is_said_where_it_was_chosen(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    with front.database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(orderable=False))
    assert order(front.client, draft, summary).headers["Location"] == f"{draft}/produkt?pruefen=1"
    assert requests_in(front.database) == []


def test_a_draft_with_an_option_that_was_withdrawn_goes_on_without_it_and_says_so(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    with front.database.transaction() as session:
        kept = session.scalars(sa.select(Draft)).one()
        kept.data = {**kept.data, "options": ["fax2mail", "mobile-backup"]}
    taken_out = "„Fax per E-Mail“ ist nicht mehr bestellbar. Wir haben es aus dieser Bestellung herausgenommen"
    assert front.client.get(draft).headers["Location"] == f"{draft}/zusammenfassung"
    for slug in STEPS:
        page = front.client.get(f"{draft}/{slug}").text
        assert taken_out in page and 'value="fax2mail"' not in page and 'role="alert"' not in page
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert taken_out in summary and "37,70\xa0€" in summary and summary.count("Fax per E-Mail") == 1
    offer = PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text()
    assert "Fax per E-Mail" not in offer
    assert order(front.client, draft, summary).headers["Location"].startswith("/standortverwaltung#konto-")
    [request] = requests_in(front.database)
    assert request.option_keys == ["mobile-backup"]


def test_drafts_are_the_accounts_and_nobody_elses(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    with front.database.transaction() as session:
        _, stranger = make_main(session)
        colleague = make_user(session)
        join(session, colleague, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    front.client.delete_cookie("session")
    assert front.client.get(draft).headers["Location"].startswith("/anmelden")
    sign_in(front, stranger.email)
    for address in (draft, f"{draft}/produkt", f"{draft}/zusammenfassung", f"{draft}/angebot.pdf"):
        assert front.client.get(address).status_code == 404
    token = csrf(front.client.get("/standortverwaltung").text)
    for address in ("produkt", "produkt/merken", "bestellen", "loeschen"):
        sent = {"csrf_token": token, "product": "trunk-2", "shown": re.findall(r'"shown" value="(\w+)"', summary)[0]}
        assert front.client.post(f"{draft}/{address}", data=sent).status_code == 404
    assert "Filiale Berlin" not in front.client.get(f"{NEW}/entwuerfe").text
    front.client.delete_cookie("session")
    sign_in(front, colleague.email)
    assert front.client.get(draft).headers["Location"] == f"{draft}/zusammenfassung"
    assert "Filiale Berlin" in front.client.get(f"{NEW}/entwuerfe").text
    assert drafts_in(front.database)[0].data["product"] == "trunk-10"


def test_drafts_can_be_deleted_and_expire(front: Front, clock: FakeClock) -> None:
    first = begin(front)
    fill_all(front, first, "produkt")
    token = csrf(front.client.get(f"{NEW}/entwuerfe").text)
    front.client.post(f"{first}/loeschen", data={"csrf_token": token})
    assert drafts_in(front.database) == [] and front.client.get(first).status_code == 404
    old = fresh(front)
    fill_all(front, old, "produkt")
    clock.now = end_of_day(clock.now + retention.DRAFTS)
    # By then the login has expired, too.
    sign_in(front, front.manager.email)
    assert front.client.get(old).status_code == front.client.get(f"{old}/produkt").status_code == 404
    assert "Es gibt keine gespeicherten Bestellungen." in front.client.get(f"{NEW}/entwuerfe").text


def test_who_may_not_order_is_told_why(front: Front) -> None:
    with front.database.transaction() as session:
        nobody, owner, closed = make_user(session), make_user(session), make_user(session)
        sub = make_account(session, administrator=owner)
        attach(session, front.main.id, sub.id, Origin.LINK, NOW)
        make_account(session, administrator=closed, state=AccountState.CLOSED)
    for person, words in (
        (owner, "Ihr Account ist ein Nebenaccount. Nur einem Hauptaccount können Nebenaccounts zugeordnet werden"),
        (nobody, "Ihr Zugang umfasst keine Bestellungen."),
        (closed, "Ihr Account ist geschlossen."),
    ):
        front.client.delete_cookie("session")
        sign_in(front, person.email)
        with front.database.transaction() as session:
            begun = new_draft_id(session, Vault(SECRET), principal_of(session, session.get_one(User, person.id)))
        for address in (NEW, f"{NEW}/{begun}/produkt", f"{NEW}/entwuerfe"):
            answer = front.client.get(address)
            assert answer.status_code == 403 and words in answer.text


def test_an_order_begins_only_under_an_id_that_was_given_to_the_person(front: Front) -> None:
    with front.database.transaction() as session:
        _, other = make_main(session)
        of_another = new_draft_id(session, Vault(SECRET), other)
    # Also after a new key was put in front of the one that made the id.
    assert was_given_to(Vault("new", SECRET), of_another, other)
    assert not was_given_to(Vault("new"), of_another, other)
    own = begin(front)
    token = csrf(front.client.get(f"{own}/produkt").text)
    for id in (of_another, uuid4()):
        assert front.client.get(f"{NEW}/{id}/produkt").status_code == 404
        for way in ("", "/merken"):
            typed = front.client.post(f"{NEW}/{id}/produkt{way}", data={"csrf_token": token, "product": "trunk-10"})
            assert typed.status_code == 404
    assert drafts_in(front.database) == []
    assert (
        front.client.post(f"{own}/produkt/merken", data={"csrf_token": token, "product": "trunk-10"}).status_code == 200
    )


def test_an_account_that_became_a_sub_account_cannot_order_its_draft(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    with front.database.transaction() as session:
        other, _ = make_main(session, subs=1)
        attach(session, other.id, front.main.id, Origin.LINK, NOW)
    answer = order(front.client, draft, summary)
    assert answer.status_code == 403 and "Ihr Account ist ein Nebenaccount." in answer.text
    assert requests_in(front.database) == []


def test_one_request_belongs_to_one_draft(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        request = submit_order(session, front.manager, main, an_order(), NOW)
        facts = {"account_id": main.id, "user_id": front.manager.user_id, "data": {}, "request_id": request.id}
        session.add(Draft(**facts, created_at=NOW, updated_at=NOW))
        session.flush()
        session.add(Draft(**facts, created_at=NOW, updated_at=NOW))
        with pytest.raises(sa.exc.IntegrityError, match="uq_order_drafts_request_id"):
            session.flush()
        session.rollback()


def test_free_single_numbers_are_counted_in_their_words(front: Front) -> None:
    with front.database.transaction() as session:
        fill_pool(session, size=1, count=1, first="2900001")
    sign_in(front, front.manager.email)
    found = front.client.get(f"{NEW}/hinweise?postal_code=10179&city=Berlin&area_code=030&block_size=1").get_json()
    assert found["free_text"] == "Unter 030 ist 1 Einzelrufnummer frei."


COMPANY = {
    "holder_name": "Muster Logistik GmbH", "holder_form": "company",
    "holder_register_number": "HRB 4711, Amtsgericht Bielefeld", "holder_street": "Kontor 7",
    "holder_postal_code": "33603", "holder_city": "Bielefeld",
}  # fmt: skip


def _refuse_postal_code(*_: object) -> None:
    raise InvalidField("location.postal_code", "unknown_postal_code")


def test_the_contract_holder_is_asked_for_before_the_button_and_shown_from_then_on(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    sign_in(front, colleague.email)
    draft = fresh(front)
    summary = fill_all(front, draft)
    assert "Mit wem schließen wir den Vertrag?" in summary and 'name="holder_name"' in summary
    shown = re.search(r'name="shown" value="(\w+)"', summary)
    assert shown is not None
    sent = {"csrf_token": csrf(summary), "shown": shown[1]}
    wrong = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY, "holder_city": ""})
    assert wrong.status_code == 422 and wrong.text.count("Geben Sie den Ort ein.") == 2
    assert 'value="Kontor 7"' in wrong.text and requests_in(front.database) == []
    assert_valid(wrong.text)
    changed = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY, "shown": "another"})
    assert changed.status_code == 409 and "seit diese Seite angezeigt wurde" in changed.text
    assert 'value="Kontor 7"' in changed.text and requests_in(front.database) == []
    assert_valid(changed.text)
    with monkeypatch.context() as patch:
        # Something that the forms let pass.
        patch.setattr("web.portal.orders.summary.place_order", _refuse_postal_code)
        refused = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY})
    assert refused.status_code == 422 and "nicht möglich" in refused.text
    assert 'value="Kontor 7"' in refused.text and requests_in(front.database) == []
    with front.database.transaction() as session:
        assert session.get(ContractHolder, front.main.id) is None
    assert front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY}).status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(ContractHolder, front.main.id).data == HOLDER
    assert len(requests_in(front.database)) == 1
    # Known now: shown on the next summary and on its offer, and not changed by a location manager.
    draft = fresh(front)
    summary = fill_all(front, draft)
    assert "Kontor 7" in summary and 'name="holder_name"' not in summary and "/vertragsinhaber" not in summary
    offer = PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text()
    assert "Muster Logistik GmbH" in offer and "Kontor 7" in offer and "Alter Markt 1" not in offer
    sent = {"csrf_token": csrf(summary), "shown": re.findall(r'name="shown" value="(\w+)"', summary)[0]}
    again = requests_in(front.database)[0].customer_number
    other = {**COMPANY, "holder_name": "Andere AG", "again": again}
    assert front.client.post(f"{draft}/bestellen", data={**sent, **other}).status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(ContractHolder, front.main.id).name == "Muster Logistik GmbH"


def test_a_directory_entry_is_asked_for_with_its_option(front: Front) -> None:
    draft = begin(front)
    option = {"options": ["directory-entry"]}
    empty = fill(front, draft, "produkt", **option)
    assert empty.status_code == 422
    for said in ("den Namen für das Telefonbuch", "ob die Adresse genannt wird", "mindestens einen Ort der Veröff"):
        assert empty.text.count(said) == 2, said
    assert_valid(empty.text)
    entry = {"directory_name": "Muster Berlin", "directory_address": "yes", "directory_in": ["online", "print"]}
    assert fill(front, draft, "produkt", **option, **entry).status_code == 303
    again = front.client.get(f"{draft}/produkt").text
    assert "Alle Preise netto, zuzüglich 19 % Umsatzsteuer." in again.replace("\xa0", " ")
    assert again.count("checked") == 5 and 'value="Muster Berlin"' in again
    summary = fill_all(front, draft, "standort", "rufnummern", "kontakt")
    assert "Telefonbucheintrag als „Muster Berlin“, mit der Anschlussadresse (" in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert request.option_details == {
        "directory_entry": {"name": "Muster Berlin", "show_address": True, "published_in": ["print", "online"]}
    }


def test_a_fallback_to_a_high_risk_destination_is_not_ordered(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    said = "auf dem Dashboard eine Rufweiterleitung zu dieser Nummer"
    answer = fill(front, draft, "produkt", mobile_number="+8816 12345678")
    assert answer.status_code == 422 and said in answer.text and 'value="+8816 12345678"' in answer.text
    assert_valid(answer.text)
    # It is saved as typed, and neither offered nor ordered.
    assert front.client.get(f"{draft}/angebot.pdf").headers["Location"].endswith("/produkt?pruefen=1")
    answer = order(front.client, draft, summary)
    assert answer.headers["Location"].endswith("/produkt?pruefen=1")
    assert said in front.client.get(answer.headers["Location"]).text
    assert requests_in(front.database) == []
