"""Tests of ordering a new sub-account in the portal, step by step, without a browser.

A wrong entry is explained at its step, and nothing typed is lost. The summary shows prices and terms; if they have
changed, nothing is ordered. However often the form is sent, there is one order.
"""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.hierarchy import attach
from models.calendar_days import berlin_day
from models.contracts.catalogue import Product, set_price
from models.contracts.costs import Amount
from models.contracts.terms import ContractTerms
from models.orders.drafts import new_draft_id
from models.people.users import User, principal_of
from models.states import AccountState, Origin
from models.vault import Vault
from tests.factories import MOBILE, NOW, make_account, make_user
from tests.web.conftest import SECRET, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.orders.ordering import NEW, STEPS, begin, drafts_in, fill, fill_all, order, plain, requests_in
from tests.web.portal.page.test_portal import csrf, sign_in


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


WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "produkt": [
        ({"product": ""}, "Wählen Sie ein Produkt."),
        ({"product": "mobile-backup"}, "Wählen Sie ein Produkt."),
        ({"channels": "11"}, "1 bis 10 gleichzeitige Gespräche"),
        ({"channels": "0"}, "1 bis 10 gleichzeitige Gespräche"),
        ({"channels": "0000000019999"}, "1 bis 10 gleichzeitige Gespräche"),
        ({"channels": "²"}, "1 bis 10 gleichzeitige Gespräche"),
        ({"options": ["trunk-2"]}, "nicht mehr bestellbar"),
        ({"options": ["mobile-backup", "mobile-backup"]}, "nicht mehr bestellbar"),
        ({"mobile_number": ""}, "Geben Sie die Mobilfunknummer für die Notfall-Umleitung ein."),
        ({"mobile_number": "030 901820"}, "Das ist keine Mobilfunknummer."),
    ],
    "standort": [
        ({"name": " "}, "Geben Sie einen Namen für den Standort ein."),
        ({"street": "x" * 121}, "Höchstens 120 Zeichen"),
        ({"name": "ལྷ་ས Büro"}, "Wir können ལྷ (U+0F63 U+0FB7) nicht drucken"),
        ({"name": "www.evil.example/login"}, "lassen Sie Internet- und E-Mail-Adressen weg"),
        ({"postal_code": "1017"}, "fünf Ziffern"),
        ({"city": ""}, "Geben Sie den Ort ein."),
    ],
    "rufnummern": [
        ({"area_code": ""}, "Geben Sie die Vorwahl ein."),
        ({"area_code": "30"}, "drei bis sechs Ziffern"),
        ({"area_code": "0999"}, "Es gibt kein Ortsnetz mit dieser Vorwahl."),
        ({"block_size": "7"}, "Wählen Sie, wie viele Rufnummern Sie brauchen."),
    ],
    "kontakt": [
        ({"contact_name": ""}, "Geben Sie den Namen der Ansprechperson ein."),
        ({"email": "hanna@"}, "keine vollständige E-Mail-Adresse"),
        ({"phone": "call me"}, "keine Rufnummer"),
        ({"phone": "030 901820 App. 12"}, "eine einzige Rufnummer"),
        ({"phone": "110"}, "Notruf- und Servicenummern"),
        ({"email": "jörg@example.com"}, "vor dem @"),
    ],
}
"""Invalid input by step of the order: fields with other values than usual, and the error that the page must show."""


@pytest.mark.parametrize("slug", WRONG)
def test_each_step_is_judged_and_nothing_typed_is_lost(front: Front, subtests: pytest.Subtests, slug: str) -> None:
    draft = begin(front)
    fill_all(front, draft)
    for changes, complaint in WRONG[slug]:
        with subtests.test(**changes):
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


def test_up_to_how_many_numbers_make_sense_for_the_channels_is_proposed(front: Front) -> None:
    draft = begin(front)
    fill(front, draft, "produkt", channels="3")
    fill(front, draft, "standort")
    proposal = "Für die gewählten Kanäle schlagen wir bis zu 30 Rufnummern vor."
    assert proposal in plain(front.client.get(f"{draft}/rufnummern").text)
    fill(front, draft, "rufnummern", block_size="100")
    fill(front, draft, "kontakt")
    assert f"{proposal} Vielleicht genügt ein kleinerer Block" in plain(
        front.client.get(f"{draft}/zusammenfassung").text
    )
    fill(front, draft, "rufnummern", block_size="10")
    assert proposal not in plain(front.client.get(f"{draft}/zusammenfassung").text)


def test_tax_is_rounded_to_the_cent() -> None:
    assert [(Amount(net).vat, Amount(net).gross) for net in (0, 1, 50, 2990)] == [
        (0, 0), (0, 1), (10, 60), (568, 3558),
    ]  # fmt: skip


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
    token = form_token(front.client)
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
