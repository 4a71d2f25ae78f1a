"""Tests of rules that hold for all pages: who has to sign in, which language is shown, what an outage looks like.

Also of the overview and the list of requests just after an order.
"""

from __future__ import annotations

import re
from secrets import token_hex

import pytest
from pydantic import SecretStr

from models.accounts.accounts import Account
from models.people.rights import Role
from models.people.users import User
from tasks.settings import SettingsError
from tests.factories import NOW, PASSWORD, an_order, join, make_account, make_main, make_user, submit_order
from tests.second_factor import enter_code
from tests.web.conftest import ORDER, SECRET, Front, FrontOf, form_token


def csrf(page: str) -> str:
    """Return the CSRF token of the first form on the page (HTML). Fails if there is none."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found is not None
    return found[1]


def sign_in(front: Front, email: str, password: str = PASSWORD, target: str = "") -> tuple[int, str, str]:
    """Submit the sign-in form, then the code of an authenticator app if it is asked for.

    `target` is the query string of the sign-in page, which may name the page to open afterwards. Return status,
    redirect target ("": none) and HTML of the last answer.
    """
    form = {"csrf_token": form_token(front.client), "email": email, "password": password}
    answer = front.client.post("/anmelden" + target, data=form)
    answer = enter_code(front.client, answer)
    return answer.status_code, answer.headers.get("Location", ""), answer.text


def test_the_overview_lists_a_fresh_order_in_the_seeds_words(front: Front) -> None:
    number = front.post("/orders", ORDER).get_json()["customer_number"]
    assert sign_in(front, front.manager.email.upper())[:2] == (302, "/standortverwaltung")
    page = front.client.get("/standortverwaltung").text
    assert "Unternehmensstandorte" in page
    assert f"Kundennummer: {front.main.customer_number}" in page
    assert f"Kundennummer: {number}" in page
    assert "Neu</span>" in page
    assert page.count("Wir haben den Auftrag erhalten und beginnen zeitnah mit der Umsetzung") == 1
    assert "Eingegangen" not in page and "Wir richten den neuen Account ein" not in page
    request = re.search(r"/anfragen/[0-9a-f-]+", page)
    assert request is not None
    assert "Verlauf" in front.client.get(request[0]).text


def test_the_history_leads_to_every_request_also_when_it_has_ended(front: Front) -> None:
    first = front.post("/orders", ORDER).get_json()
    front.post(f"/requests/{first['id']}/cancel")
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        others = [submit_order(session, front.manager, main, an_order(), NOW).customer_number for _ in range(25)]
    sign_in(front, front.manager.email)
    assert first["customer_number"] not in front.client.get("/standortverwaltung").text
    newest = front.client.get("/anfragen").text
    assert (
        re.findall(r"Bestellung · Kundennummer: (\d{7})</a> <span class=\"badge \">Eingegangen", newest) == others[::-1]
    )
    older = re.search(r'href="(/anfragen\?before=[0-9a-f-]+)"', newest)
    assert older is not None
    rest = front.client.get(older[1]).text
    assert re.findall(r"Kundennummer: (\d{7})</a> <span class=\"badge is-quiet\">(\w+)", rest) == [
        (first["customer_number"], "Storniert")
    ]
    assert f'<a href="/anfragen/{first["id"]}">' in rest and "Ältere anzeigen" not in rest
    assert "2. März 2026, 09:00 Uhr" in rest
    front.client.post("/sprache/en", data={"csrf_token": csrf(rest)})
    assert "History</h1>" in front.client.get("/anfragen").text
    assert front.client.get("/anfragen?before=x").status_code == 404


def test_the_history_of_others_is_not_shown(front: Front) -> None:
    front.post("/orders", ORDER)
    with front.database.transaction() as session:
        _, stranger = make_main(session)
    sign_in(front, stranger.email)
    assert "Keine Bestellungen und keine Verknüpfungsanfragen." in front.client.get("/anfragen").text


def test_wrong_address_and_wrong_password_are_one_answer(front: Front) -> None:
    wrong = sign_in(front, front.manager.email, "wrong")
    unknown = sign_in(front, "nobody@example.com", "wrong")
    assert wrong[0] == unknown[0] == 422
    assert "E-Mail-Adresse oder Passwort stimmt nicht" in wrong[2] or "is not right" in wrong[2]
    assert front.manager.email in wrong[2]
    assert "wrong" not in re.sub(r'type="password"[^>]*>', "", wrong[2])


@pytest.mark.parametrize("target", ["?next=//evil.example", "?next=https://evil.example/", "?next=/%5Cevil.example"])
def test_signing_in_leads_nowhere_else(front: Front, target: str) -> None:
    assert sign_in(front, front.manager.email, target=target)[1] == "/standortverwaltung"


def test_strangers_have_to_sign_in(front: Front) -> None:
    answer = front.client.get("/standortverwaltung")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/anmelden")


def test_a_form_without_its_token_does_nothing(front: Front) -> None:
    answer = front.client.post("/anmelden", data={"email": front.manager.email, "password": PASSWORD})
    assert answer.status_code == 400
    assert front.client.get("/standortverwaltung").status_code == 302


def test_a_local_member_sees_no_accounts(front: Front) -> None:
    with front.database.transaction() as session:
        member = make_user(session)
        account = make_account(session)
        join(session, member, account, Role.LOCAL_MEMBER)
    sign_in(front, member.email)
    page = front.client.get("/standortverwaltung", follow_redirects=True)
    assert page.request.path == f"/standortverwaltung/{account.customer_number}/rufweiterleitung"
    assert "Unternehmensstandorte" not in page.text


def test_who_belongs_to_no_account_is_told_so(front: Front) -> None:
    with front.database.transaction() as session:
        nobody = make_user(session)
    sign_in(front, nobody.email)
    assert "gehört zurzeit zu keinem Account" in front.client.get("/standortverwaltung").text


def test_the_language_is_the_persons_and_can_be_switched(front: Front) -> None:
    with front.database.transaction() as session:
        session.get_one(User, front.manager.user_id).locale = "en"
        make_user(session)
    sign_in(front, front.manager.email)
    page = front.client.get("/standortverwaltung").text
    assert "Company locations" in page
    front.client.post("/sprache/de", data={"csrf_token": csrf(page)})
    assert "Unternehmensstandorte" in front.client.get("/standortverwaltung").text


def test_signing_out_ends_the_session(front: Front) -> None:
    sign_in(front, front.manager.email)
    page = front.client.get("/standortverwaltung").text
    front.client.post("/abmelden", data={"csrf_token": csrf(page)})
    assert front.client.get("/standortverwaltung").status_code == 302


def test_without_the_database_a_page_says_that_nothing_is_lost(front: Front, front_of: FrontOf) -> None:
    sign_in(front, front.manager.email)
    cookie = front.client.get_cookie("session")
    assert cookie is not None
    away = front_of(database_url="postgresql+psycopg://127.0.0.1:1/away")
    away.set_cookie("session", cookie.value)
    for path in ("/standortverwaltung", "/gibt-es-nicht"):
        answer = away.get(path)
        assert answer.status_code == 503
        assert "Gerade nicht erreichbar" in answer.text and "Ihre Aufträge sind sicher" in answer.text


def test_a_new_key_signs_nobody_out(front: Front, front_of: FrontOf) -> None:
    sign_in(front, front.manager.email)
    session = front.client.get_cookie("session")
    assert session is not None
    another = f"{SECRET}, and a new one".replace(",", "")
    for keys, status in ((f"{another}, {SECRET}", 200), (another, 302)):
        client = front_of(secret_key=SecretStr(keys))
        client.set_cookie("session", session.value)
        assert client.get("/standortverwaltung").status_code == status


@pytest.mark.parametrize("keys", ["too short", f"{SECRET},too short", f"{SECRET},"])
def test_every_key_is_long(front_of: FrontOf, keys: str) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY must have at least 32 characters"):
        front_of(secret_key=SecretStr(keys))


def test_pages_are_closed_to_scripts_and_frames(front: Front) -> None:
    headers = front.client.get("/anmelden").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in headers["Permissions-Policy"]


def test_under_https_browsers_come_back_by_https_and_take_the_session_from_this_host_alone(
    front: Front, front_of: FrontOf
) -> None:
    plain = front.client.get("/anmelden")
    assert "Strict-Transport-Security" not in plain.headers and front.client.get_cookie("session") is not None
    client = front_of(base_url="https://portal.example", trusted_proxies=1, secret_key=SecretStr(token_hex(32)))
    answer = client.get("/anmelden", base_url="https://portal.example")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    [cookie] = answer.headers.getlist("Set-Cookie")
    attributes = set(cookie.split("; "))
    assert cookie.startswith("__Host-session=") and {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= attributes
    assert not any(attribute.startswith("Domain") for attribute in attributes)
