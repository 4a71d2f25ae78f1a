"""Tests of a form that is sent after the session has ended: after a new sign-in the user can send it again.

Nobody else sees the input.
"""

from __future__ import annotations

import io
import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.people.login_sessions import Login
from tests.factories import PASSWORD, make_main, make_user
from tests.fakes import FakeClock
from tests.web.api.calls import owned
from tests.web.conftest import BASE_URL, Front, FrontOf
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import make_site
from tests.web.portal.orders.ordering import STEPS, begin, drafts_in
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.telephony.test_forwarding import BUSY
from web.text_input import PASSWORDS

HERE = {"Origin": "http://localhost"}
STILL_THERE = "Ihre Eingaben sind noch da"
WAYS = ("ended elsewhere", "cookies gone", "signed out in another tab")


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of the page (HTML), by name, without those in its top bar."""
    main = page[page.index("<main") :]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', main)
    return {name: unescape(value) for name, value in found}


def fields_of(front: Front, path: str) -> dict[str, str]:
    """Return the hidden fields, by name, of the page at this path, without those in its top bar.

    Fails if the path does not answer with a page (status 200).
    """
    answer = front.client.get(path)
    assert answer.status_code == 200, answer.location
    return hidden(answer.text)


def end_session(front: Front, way: str = "ended elsewhere") -> None:
    """End the browser's session.

    If `way` is "ended elsewhere", the login is deleted in the database; if it is "cookies gone", the cookie is deleted.
    Otherwise the browser signs out.
    """
    if way == "ended elsewhere":
        with front.database.transaction() as session:
            session.execute(sa.delete(Login))
    elif way == "cookies gone":
        front.client.delete_cookie("session")
    else:
        token = csrf(front.client.get("/anmeldung").text)
        front.client.post("/abmelden", data={"csrf_token": token})


def send(front: Front, path: str, page: str | None = None, **typed: Any) -> TestResponse:
    """Send the fields `typed` to `path`, as a browser does from a form on the page at `page` (None: at `path`).

    Return the answer.
    """
    return front.client.post(path, data=typed, headers={"Referer": f"http://localhost{page or path}", **HERE})


def sign_in_again(front: Front, asked: TestResponse, email: str | None = None, **changes: str) -> TestResponse:
    """Sign in on the sign-in page `asked`, with which the application has answered a form; return the answer.

    `email` is the user's address (None: the manager's), `changes` are fields with other values than on the page. Fails
    unless `asked` is a sign-in page that keeps the form's input.
    """
    assert asked.status_code == 401 and "Sie sind nicht mehr angemeldet" in asked.text
    assert_valid(asked.text)
    action = re.search(r'<form method="post" action="(/anmelden[^"]*)"', asked.text)
    assert action is not None
    login = {"email": email or front.manager.email, "password": PASSWORD}
    return front.client.post(unescape(action[1]), data={**hidden(asked.text), **login, **changes})


def send_again(front: Front, shown: TestResponse) -> TestResponse:
    """Press the button on the page `shown` that sends the kept form again; return the answer.

    Fails unless `shown` is the page that offers this after a new sign-in.
    """
    assert STILL_THERE in shown.text, shown.location
    assert_valid(shown.text)
    main = shown.text[shown.text.index("<main") :]
    action = re.search(r'<form method="post" action="([^"]+)"', main)
    assert action is not None
    return front.client.post(unescape(action[1]), data=hidden(shown.text))


@pytest.mark.parametrize("way", WAYS)
def test_what_was_typed_into_an_order_is_still_there_after_sign_in(front: Front, way: str) -> None:
    draft = begin(front)
    step = f"{draft}/standort"
    send(front, f"{draft}/produkt", **fields_of(front, f"{draft}/produkt"), **STEPS["produkt"])
    sent = {**fields_of(front, step), **STEPS["standort"], "name": "Filiale <Süd> & „Nord“", "go": "next"}
    end_session(front, way)
    asked = send(front, step, **sent)
    assert "bleibt eine Stunde lang erhalten" in asked.text
    # Not in clear: the sign-in page may be seen by somebody else.
    assert "Filiale" not in asked.text and "Brückenstr" not in asked.text
    # A wrong password in between loses nothing.
    wrong = sign_in_again(front, asked, password="wrong")
    assert wrong.status_code == 422
    shown = front.client.post(f"/anmelden?next={step}", data={**hidden(wrong.text), "email": front.manager.email,
                                                             "password": PASSWORD})  # fmt: skip
    assert drafts_in(front.database)[0].data.get("name") is None
    answer = send_again(front, shown)
    assert (answer.status_code, answer.location) == (303, f"{draft}/rufnummern")
    assert "Filiale &lt;Süd&gt; &amp; „Nord“" in front.client.get(step).text


def test_what_was_typed_is_shown_to_no_other_person(front: Front) -> None:
    step = f"{begin(front)}/produkt"
    sent = {**fields_of(front, step), **STEPS["produkt"]}
    with front.database.transaction() as session:
        _, stranger = make_main(session)
    end_session(front)
    answer = sign_in_again(front, send(front, step, **sent), stranger.email)
    assert (answer.status_code, answer.location) == (302, "/standortverwaltung")
    overview = front.client.get("/standortverwaltung").text
    assert "gehört zu einem anderen Zugang" in overview and "trunk-10" not in overview
    # A page that somebody else left open does not send its input as this person either.
    fresh = csrf(front.client.get("/anmeldung").text)
    assert send(front, step, **{**sent, "csrf_token": "old"}).status_code == 400
    # The id of the new order was given to the other person.
    assert send(front, step, **{**sent, "csrf_token": fresh}).status_code == 404


def test_what_was_typed_is_kept_for_an_hour(front: Front, clock: FakeClock) -> None:
    step = f"{begin(front)}/produkt"
    sent = {**fields_of(front, step), **STEPS["produkt"]}
    end_session(front)
    asked = send(front, step, **sent)
    clock.advance(timedelta(hours=1))
    answer = sign_in_again(front, asked)
    assert (answer.status_code, answer.location) == (302, step)
    assert "war eine Stunde lang erhalten" in front.client.get(step).text


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAA", "é"])
def test_forged_input_leads_to_nothing(front: Front, sealed: str) -> None:
    form = hidden(front.client.get("/anmelden").text)
    login = {"email": front.manager.email, "password": PASSWORD}
    answer = front.client.post("/anmelden", data={**form, **login, "kept": sealed})
    assert (answer.status_code, answer.location) == (302, "/standortverwaltung")


def test_a_link_request_keeps_all_but_the_password(front: Front) -> None:
    account, owner = owned(front)
    sign_in(front, front.manager.email)
    path = f"/standortverwaltung/hinzufuegen/{account.customer_number}/zugangsdaten"
    sent = {**fields_of(front, path), "email": owner.email, "password": "geheim-geheim"}
    end_session(front)
    asked = send(front, path, **sent)
    shown = sign_in_again(front, asked)
    assert "geheim-geheim" not in shown.text and "Passwörter bewahren wir nicht auf" in shown.text
    answer = send_again(front, shown)
    assert answer.status_code == 422 and owner.email in answer.text and "das Passwort" in answer.text


def test_a_forwarding_is_kept_with_fields_of_one_name(front: Front) -> None:
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
    sign_in(front, front.manager.email)
    path = f"{site.path}/rufweiterleitung/neu"
    sent: dict[str, Any] = {**fields_of(front, path), **BUSY, "condition": "not_registered", "when": "some"}
    sent |= {"windows-0-days": ["0", "4"], "windows-0-start": "18:00", "windows-0-end": "20:00"}
    end_session(front)
    asked = send(front, path, **sent)
    form = hidden(asked.text)
    login = {"email": front.manager.email, "password": PASSWORD}
    shown = front.client.post(f"/anmelden?next={path}", data={**form, **login})
    assert re.findall(r'name="windows-0-days" value="(\d)"', shown.text) == ["0", "4"]


def test_an_uploaded_file_has_to_be_chosen_again(front: Front) -> None:
    sign_in(front, front.manager.email)
    path = "/standortverwaltung/sammelauftrag"
    sent = fields_of(front, path)
    end_session(front)
    asked = send(front, path, **sent, kind="order", file=(io.BytesIO(b"a;b"), "Filialen 2026.csv"))
    answer = sign_in_again(front, asked)
    assert (answer.status_code, answer.location) == (302, path)
    assert "Bitte wählen Sie die Datei noch einmal aus: Filialen 2026.csv" in front.client.get(path).text


def test_an_action_is_repeated_only_by_a_press(front: Front) -> None:
    draft = begin(front)
    step = f"{draft}/produkt"
    send(front, step, **fields_of(front, step), **STEPS["produkt"])
    list_page = "/standortverwaltung/neu/entwuerfe"
    sent = fields_of(front, list_page)
    end_session(front)
    shown = sign_in_again(front, send(front, f"{draft}/loeschen", list_page, **sent))
    assert f'<a href="{list_page}">' in shown.text and len(drafts_in(front.database)) == 1
    assert send_again(front, shown).location == list_page
    assert drafts_in(front.database) == []


def test_a_page_of_the_session_before_sends_its_input_by_one_more_press(front: Front) -> None:
    step = f"{begin(front)}/produkt"
    sent = {**fields_of(front, step), **STEPS["produkt"]}
    end_session(front, "signed out in another tab")
    sign_in(front, front.manager.email)
    shown = send(front, step, **sent)
    assert shown.status_code == 400 and drafts_in(front.database) == []
    assert send_again(front, shown).status_code == 303
    assert drafts_in(front.database)[0].data["product"] == "trunk-10"


def test_the_page_says_that_the_session_has_ended(front: Front) -> None:
    sign_in(front, front.manager.email)
    end_session(front)
    asked = front.client.get("/anfragen?before=")
    assert asked.location == "/anmelden?next=/anfragen?before%3D"
    page = front.client.get(asked.location).text
    assert "Danach geht es dort weiter, wo Sie waren" in page
    answer = front.client.post(asked.location, data={"csrf_token": csrf(page), "email": front.manager.email,
                                                     "password": PASSWORD})  # fmt: skip
    assert answer.location == "/anfragen?before="
    # Who was never signed in is told nothing.
    stranger = front.client.application.test_client()
    assert "nicht mehr angemeldet" not in stranger.get("/anfragen", follow_redirects=True).text


@pytest.mark.parametrize("signed_in_elsewhere", [True, False])
def test_two_tabs_of_the_sign_in_page(front: Front, signed_in_elsewhere: bool) -> None:
    login = {"email": front.manager.email, "password": PASSWORD}
    first, second = (hidden(front.client.get("/anmelden?next=/anfragen").text) for _ in range(2))
    assert front.client.post("/anmelden", data={**first, **login}).status_code == 302
    if not signed_in_elsewhere:
        end_session(front, "signed out in another tab")
    answer = front.client.post("/anmelden?next=/anfragen", data={**second, **login})
    if not signed_in_elsewhere:
        # The form again, with a token of this session.
        assert answer.status_code == 400 and "abgelaufen" not in answer.text and front.manager.email in answer.text
        answer = front.client.post("/anmelden?next=/anfragen", data={**hidden(answer.text), **login})
    assert (answer.status_code, answer.location) == (302, "/anfragen")


def test_without_its_cookie_the_sign_in_page_comes_again(front: Front) -> None:
    form = hidden(front.client.get("/anmelden").text)
    front.client.delete_cookie("session")
    login = {"email": front.manager.email, "password": PASSWORD}
    answer = front.client.post("/anmelden", data={**form, **login})
    assert answer.status_code == 400 and "erlauben Sie Cookies" in answer.text and PASSWORD not in answer.text
    assert_valid(answer.text)
    assert front.client.post("/anmelden", data={**hidden(answer.text), **login}).status_code == 302


def test_signing_out_twice_leads_to_sign_in(front: Front) -> None:
    sign_in(front, front.manager.email)
    page = front.client.get("/anmeldung").text
    for _ in range(2):
        assert front.client.post("/abmelden", data={"csrf_token": csrf(page)}).location == "/anmelden"


def test_a_public_form_without_its_cookie_is_sent_by_one_more_press(front: Front) -> None:
    form = hidden(front.client.get("/brief").text)
    front.client.delete_cookie("session")
    typed = {"customer_number": "1234567", "code": "ABCDE FGHJK"}
    shown = send(front, "/brief", **form, **typed)
    assert shown.status_code == 400
    assert "Kundennummer oder Code" in send_again(front, shown).text
    # Another site can fill in nothing.
    front.client.delete_cookie("session")
    for origin in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}, {}):
        answer = front.client.post("/brief", data=typed, headers=origin)
        assert answer.status_code == 400 and "ABCDE" not in answer.text


PAGES = {
    "/standortverwaltung": True,
    "/anfragen?before=x": True,
    "/standortverwaltung/neu/entwuerfe": True,
    "/abmelden": False,  # answers to POST only
    "/sprache/de": False,
    "/anmeldung/andere/beenden": True,
    "/anmeldung/wiederherstellung": False,
    "/gibt-es-nicht": False,
    "/api/v1/requests": False,
    "/static/portal.css": False,
    "//evil.example": False,
    "/\\evil.example": False,
    "/\t/evil.example": False,
    "/\r\nX-Evil: 1": False,
    "/\r\nX": False,
    "/anfragen\nX": False,
    "/anfragen\\..": False,
    "\r\n/anfragen": False,
    "https://evil.example": False,
    "anfragen": False,
    "/[": False,
    "": False,
}


@pytest.mark.parametrize(("target", "is_page"), PAGES.items())
def test_signing_in_and_changing_the_language_lead_to_pages_only(front: Front, target: str, is_page: bool) -> None:
    form = hidden(front.client.get("/anmelden").text)
    login = {"email": front.manager.email, "password": PASSWORD}
    answer = front.client.post("/anmelden", query_string={"next": target}, data={**form, **login})
    expected = target if is_page else "/standortverwaltung"
    assert (answer.status_code, answer.location) == (302, expected)
    again = front.client.get("/anmelden", query_string={"next": target})
    assert (again.status_code, again.location) == (302, expected)
    token = csrf(front.client.get("/anmeldung").text)
    language = front.client.post("/sprache/de", data={"csrf_token": token, "next": target})
    assert (language.status_code, language.location) == (302, expected)


def test_no_form_that_needs_a_login_leads_to_405(front: Front) -> None:
    rules = front.client.application.url_map.iter_rules()
    only_sent = [rule for rule in rules if "POST" in (rule.methods or ()) and "GET" not in (rule.methods or ())]
    sign_in(front, front.manager.email)
    sent, without_cookie = fields_of(front, "/anmeldung/passwort"), front.client.application.test_client()
    checked = 0
    for rule in only_sent:
        if rule.rule.startswith("/api/") or rule.endpoint in ("people.set_language", "people.sign_out"):
            continue
        path = re.sub(r"<uuid:\w+>", str(UUID(int=1)), rule.rule)
        path = re.sub(r"<any\((\w+)[^>]*>", r"\1", re.sub(r"<int:\w+>", "1", path))
        path = re.sub(r"<[^>]+>", "1234567", path)
        # Without a Referer, as from a browser that sends none.
        answer = without_cookie.post(path, data=sent)
        assert answer.status_code == 401, path
        target = unescape(re.findall(r'action="/anmelden\?next=([^"]*)"', answer.text)[0])
        assert front.client.get(target).status_code != 405, path
        checked += 1
    assert checked > 15


def test_no_form_keeps_a_password() -> None:
    """Check that all password fields of the portal's forms are on the list of fields whose input is not kept."""
    portal = Path(__file__).parents[4] / "web" / "portal"
    made = r"^    (\w+) = (?:PasswordField|new_password_field)\("
    found = {name for file in portal.rglob("*.py") for name in re.findall(made, file.read_text(), flags=re.M)}
    assert found == PASSWORDS


def test_a_proxy_may_have_another_host_name(front_of: FrontOf, front: Front) -> None:
    client: FlaskClient = front_of(base_url=BASE_URL, secret_key=SecretStr(token_hex(32)))
    answer = client.post("/brief", data={"code": "ABCDE FGHJK"}, headers={"Origin": BASE_URL, "Host": "10.0.0.7"})
    assert answer.status_code == 400 and STILL_THERE in answer.text


def test_a_person_without_accounts_comes_back_too(front: Front) -> None:
    with front.database.transaction() as session:
        nobody = make_user(session)
    sign_in(front, nobody.email)
    sent = fields_of(front, "/anmeldung/passwort")
    end_session(front)
    asked = send(front, "/anmeldung/passwort", **sent, current=PASSWORD, password="ein neues langes Wort")
    shown = sign_in_again(front, asked, nobody.email)
    # Nothing but passwords was typed, which are not kept.
    assert (shown.status_code, shown.location) == (302, "/anmeldung/passwort")
    assert "ein neues langes Wort" not in front.client.get(shown.location).text
