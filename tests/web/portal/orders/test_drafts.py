"""Tests of drafts of orders: which input they save, who may open them, and when they end."""

from __future__ import annotations

import io
import re
from uuid import uuid4

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from models import retention
from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import end_of_day
from models.orders.drafts import Draft, new_draft_id, was_given_to
from models.people.rights import Role
from models.states import Origin
from models.vault import Vault
from tests.factories import NOW, an_order, join, make_main, make_user, submit_order
from tests.fakes import FakeClock
from tests.web.conftest import SECRET, Front, form_token
from tests.web.portal.orders.ordering import NEW, STEPS, begin, drafts_in, fill, fill_all, fresh, order, requests_in
from tests.web.portal.page.test_portal import csrf, sign_in


def test_nothing_is_written_down_before_something_was_typed(front: Front) -> None:
    draft = begin(front)
    front.client.get(f"{draft}/produkt")
    assert drafts_in(front.database) == []
    for slug in ("standort", "zusammenfassung", "angebot.pdf"):
        assert front.client.get(f"{draft}/{slug}").status_code == 404
    assert front.client.get(draft).status_code == 404


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
    token = form_token(front.client)
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


def test_a_draft_that_was_ordered_is_kept_and_the_page_says_so(front: Front) -> None:
    draft = begin(front)
    summary = fill_all(front, draft)
    token = csrf(front.client.get(f"{NEW}/entwuerfe").text)
    assert order(front.client, draft, summary).status_code == 303
    page = front.client.post(f"{draft}/loeschen", data={"csrf_token": token}, follow_redirects=True).text
    assert "schon aufgegeben" in page and "Entwurf ist gelöscht" not in page
    assert len(drafts_in(front.database)) == 1


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
