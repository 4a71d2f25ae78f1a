"""Tests of the summary of what was ordered, on the order's page and as PDF."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

from pypdf import PdfReader

from models.accounts.accounts import Account, account_by_number
from models.accounts.contract_holders import put_holder
from models.accounts.hierarchy import detach
from models.people.rights import Role
from tasks.wording.formats import number_text
from tests.factories import ENTRY, HOLDER, MOBILE, NOW, join, make_user, prove_contact
from tests.web.api.calls import a_link, owned
from tests.web.conftest import ORDER, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in

EVERYTHING = {
    **ORDER,
    "options": ["mobile-backup", "directory-entry"],
    "mobile_number": MOBILE,
    "directory_entry": {"name": ENTRY.name, "show_address": True, "published_in": ["print"]},
    "local_user": {"name": "Lena Lokal", "email": "lena@example.com"},
    "request_uri": "contact",
}
SAID = (
    "Filiale Berlin", "Brückenstr. 5", "10179 Berlin", "Hanna Palmer", "hanna.palmer@example.com",
    "Muster Logistik GmbH, HRB 4711, Amtsgericht Bielefeld, Kontor 7, 33603 Bielefeld",
    number_text(MOBILE), "Muster Berlin, mit der Anschlussadresse (Gedrucktes Telefonbuch)", "Brutto",
    "Lena Lokal, lena@example.com",
    "SIP-Trunk mit 10 Kanälen", "29,90 €",
)  # fmt: skip


def plain(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").split())


def printed(content: bytes) -> str:
    return plain(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages))


def test_the_page_of_an_order_has_everything_that_was_ordered(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        put_holder(session, front.main.id, HOLDER, NOW)
    answer = front.post("/orders", EVERYTHING)
    assert answer.status_code == 202, answer.text
    id, number = answer.get_json()["id"], answer.get_json()["customer_number"]
    back.advance()
    sign_in(front, front.manager.email)
    page = front.client.get(f"/anfragen/{id}").text
    assert_valid(page)
    order = page.split('data-region="order"')[1]
    for words in SAID:
        assert words in plain(order), words
    assert "10 mit der Vorwahl 030 (Berlin)" in order and f'href="/standortverwaltung/{number}"' in order
    file = front.client.get(f"/anfragen/{id}/bestellung.pdf")
    assert (file.status_code, file.mimetype) == (200, "application/pdf")
    assert f"Bestellung-{number}.pdf" in file.headers["Content-Disposition"]
    for words in SAID:
        assert words in printed(file.data), words


def test_a_contract_holder_of_after_the_order_is_named_as_such(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        put_holder(session, front.main.id, HOLDER, back.clock())
    id = front.post("/orders", ORDER).get_json()["id"]
    sign_in(front, front.manager.email)
    page, file = f"/anfragen/{id}", f"/anfragen/{id}/bestellung.pdf"
    assert "nach dieser Bestellung" not in front.client.get(page).text
    back.clock.advance(timedelta(days=3))
    with front.database.transaction() as session:
        put_holder(session, front.main.id, replace(HOLDER, name="Andere AG"), back.clock())
    said = "33603 Bielefeld (eingetragen am 5. März 2026, nach dieser Bestellung)"
    assert said in plain(front.client.get(page).text)
    assert said in printed(front.client.get(file).data) and "Andere AG" in printed(front.client.get(file).data)


def test_only_people_of_the_main_account_read_it_and_only_of_orders(front: Front, back: Back) -> None:
    order = front.post("/orders", ORDER).get_json()["id"]
    link = a_link(front, owned(front)[0].customer_number).get_json()["id"]
    with front.database.transaction() as session:
        local = make_user(session)
        join(session, local, session.get_one(Account, front.main.id), Role.LOCAL_MEMBER)
    sign_in(front, local.email)
    for path in (f"/anfragen/{order}", f"/anfragen/{order}/bestellung.pdf"):
        assert front.client.get(path).status_code == 404
    front.client = front.client.application.test_client()
    sign_in(front, front.manager.email)
    assert front.client.get(f"/anfragen/{order}/bestellung.pdf").status_code == 200
    assert front.client.get(f"/anfragen/{link}/bestellung.pdf").status_code == 404
    assert "Was bestellt wurde" not in front.client.get(f"/anfragen/{link}").text


def test_of_an_account_that_was_detached_nothing_is_told_any_more(front: Front, back: Back) -> None:
    answer = front.post("/orders", ORDER).get_json()
    id, number = answer["id"], answer["customer_number"]
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    back.advance()
    sign_in(front, front.manager.email)
    dashboard = f'href="/standortverwaltung/{number}"'
    page = front.client.get(f"/anfragen/{id}").text
    assert "Was bestellt wurde" in page and dashboard in page
    with front.database.transaction() as session:
        account = account_by_number(session, number)
        assert account is not None
        detach(session, front.main.id, account.id)
    page = front.client.get(f"/anfragen/{id}").text
    assert "Was bestellt wurde" not in page and dashboard not in page
    assert front.client.get(f"/anfragen/{id}/bestellung.pdf").status_code == 404
    assert_valid(page)
