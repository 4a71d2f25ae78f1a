"""Tests of the response headers for browsers and caches, and of the log line of each request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from secrets import token_hex

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from pydantic import SecretStr

import web
from models.people.login_sessions import Login, begin_login
from models.people.users import User
from tests.factories import NOW, PASSWORD
from tests.web.conftest import ORDER, Front, FrontOf
from tests.web.portal.page.test_portal import csrf, sign_in

HTTPS = {"base_url": "https://portal.example"}
PAGES = ("/anmelden", "/standortverwaltung", "/benutzer", "/anmeldung", "/export.csv", "/gibt-es-nicht", "/healthz")
"""Paths of each kind: a public page, pages of an account and a person, a file, a missing page, a health check."""


@pytest.fixture
def client(front: Front, front_of: FrontOf) -> FlaskClient:
    """Provide a client in which the manager is signed in by HTTPS, of an application behind a proxy."""
    client = front_of(base_url="https://portal.example", trusted_proxies=1, secret_key=SecretStr(token_hex(32)))
    assert log_in(client, front.manager.email, PASSWORD) == 302
    return client


def log_in(client: FlaskClient, email: str, password: str) -> int:
    token = csrf(client.get("/anmelden", **HTTPS).text)
    form = {"csrf_token": token, "email": email, "password": password}
    return client.post("/anmelden", data=form, **HTTPS, headers={"Referer": HTTPS["base_url"]}).status_code


def answers(client: FlaskClient) -> Iterator[tuple[str, dict[str, str]]]:
    for path in PAGES:
        yield path, dict(client.get(path, **HTTPS).headers)
    yield "401", dict(client.get("/api/v1/requests", **HTTPS).headers)
    yield "405", dict(client.post("/healthz", **HTTPS).headers)


def test_every_answer_is_closed_to_foreign_scripts_frames_and_guesses(client: FlaskClient) -> None:
    for path, headers in answers(client):
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'", path
        assert set(policy.values()) <= {"'none'", "'self'"}, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["Strict-Transport-Security"].startswith("max-age=31536000"), path
        assert "Access-Control-Allow-Origin" not in headers, path
        kind = headers["Content-Type"]
        assert not kind.startswith("text/") or kind.endswith("charset=utf-8"), path


def test_no_answer_is_kept_by_browsers_and_proxies_but_what_everybody_may_have(client: FlaskClient) -> None:
    for path, headers in answers(client):
        assert headers["Cache-Control"] == "no-store", path
    assert client.get("/static/portal.css", **HTTPS).headers["Cache-Control"] != "no-store"


def test_every_cookie_is_for_this_host_over_https_and_not_for_scripts(front: Front, front_of: FrontOf) -> None:
    client = front_of(base_url="https://portal.example", trusted_proxies=1, secret_key=SecretStr(token_hex(32)))
    token = csrf(client.get("/anmelden", **HTTPS).text)
    form = {"csrf_token": token, "email": front.manager.email, "password": PASSWORD}
    signed_in = client.post("/anmelden", data=form, **HTTPS, headers={"Referer": HTTPS["base_url"]})
    cookies = signed_in.headers.getlist("Set-Cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {
        "__Host-session",
        f"__Host-browser_{front.manager.user_id}",
    }
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie


def test_a_browser_stays_known_under_https(client: FlaskClient, front: Front) -> None:
    stranger = client.application.test_client()
    tries = [log_in(stranger, front.manager.email, "wrong") for _ in range(11)]
    assert tries == [422] * 10 + [429]
    client.delete_cookie("__Host-session", domain="portal.example")
    assert log_in(client, front.manager.email, PASSWORD) == 302


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
def test_methods_that_nobody_needs_are_refused(front: Front, method: str) -> None:
    assert front.client.open("/anmelden", method=method).status_code == 405


def test_metrics_are_not_for_the_world(front: Front) -> None:
    assert front.client.get("/metrics").status_code == 200
    for header in ("X-Forwarded-For", "Forwarded", "Via"):
        assert front.client.get("/metrics", headers={header: "192.0.2.7"}).status_code == 404


def test_the_log_says_who_asked_and_from_which_login_or_token(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    front.get("/requests")
    assert re.search(rf"'user': {front.manager.user_id}\b", caplog.text) and re.search(r"'token': \d+", caplog.text)
    caplog.clear()
    token = csrf(front.client.get("/anmelden").text)
    sign_in = partial(front.client.post, "/anmelden")
    assert sign_in(data={"csrf_token": token, "email": front.manager.email, "password": "wrong"}).status_code == 422
    assert "try.failed" in caplog.text and "'of': 'password'" in caplog.text
    # No address, not even that which was typed, and no password.
    assert "@" not in caplog.text and "wrong" not in caplog.text
    caplog.clear()
    sign_in(data={"csrf_token": token, "email": front.manager.email, "password": PASSWORD})
    assert "login.began" in caplog.text
    caplog.clear()
    assert front.client.get("/backoffice/").status_code == 404
    assert re.search(rf"'user': {front.manager.user_id}\b.*'status': 404|'status': 404.*'user': ", caplog.text)


def test_the_log_names_refused_fields_and_not_what_was_typed(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> list[str]:
        [line] = re.findall(r"'refused': \[(.*?)\]", caplog.text)
        caplog.clear()
        return re.findall("'([^']*)'", line)

    wrong = {**ORDER, "channels": 4711, "contact": {**ORDER["contact"], "email": "kim.smith"}, "Kim Smith": 1}
    caplog.clear()
    assert front.post("/orders", wrong).status_code == 422
    assert "4711" not in caplog.text and not re.search("kim|smith", caplog.text, re.IGNORECASE)
    assert sorted(refused()) == ["?: extra_forbidden", "channels: less_than_equal", "contact.email: value_error"]
    sign_in(front, front.manager.email)
    page = "/anmeldung/passwort"
    caplog.clear()
    answer = front.client.post(page, data={"csrf_token": csrf(front.client.get(page).text), "password": "kim.smith"})
    assert answer.status_code == 422 and "kim.smith" not in caplog.text
    assert sorted(refused()) == ["current", "password"]
    assert front.client.get("/anfragen?suche=%00kim.smith").status_code == 422
    assert refused() == ["?: unreadable"]


@pytest.mark.parametrize("given", ['a","event":"forged', "a b", "\x1b[2J", "é", "x" * 65, ""])
def test_a_name_for_a_request_that_could_be_more_than_one_is_not_taken(
    front: Front, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    front.get("/requests", **{"X-Request-Id": given})
    assert given == "" or given not in caplog.text
    assert re.search(r"'http': '[0-9a-f]{32}'", caplog.text)
    front.get("/requests", **{"X-Request-Id": "gateway-7:b.3"})
    assert "'http': 'gateway-7:b.3'" in caplog.text


def test_a_bug_is_logged_and_tells_the_caller_nothing(front_of: FrontOf, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> str:
        raise RuntimeError("the password of the database is 4711")

    client = front_of()
    for path in ("/kaputt", "/api/v1/kaputt"):
        client.application.add_url_rule(path, path, broken)
    for path in ("/kaputt", "/api/v1/kaputt"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert not re.search(r"4711|RuntimeError|Traceback|test_answers", answer.text)
        assert "api.broke" in capsys.readouterr().err


def test_folders_are_not_listed(front: Front) -> None:
    for folder in ("/static/", "/static/css/", "/static/js", "/static/../"):
        assert front.client.get(folder).status_code == 404


def test_password_fields_are_masked_and_filled_in_by_password_managers(front: Front) -> None:
    log_in_here(front)
    fields = re.findall(
        r"<input[^>]*>",
        front.client.get("/anmeldung/passwort").text + front.client.application.test_client().get("/anmelden").text,
    )
    passwords = [field for field in fields if re.search(r'name="(?:password|current)"', field)]
    assert len(passwords) == 3
    for field in passwords:
        assert 'type="password"' in field and re.search(r'autocomplete="(?:current|new)-password"', field), field
        # Longer ones than the form takes are refused, never cut off.
        assert "maxlength" not in field and "onpaste" not in field


def log_in_here(front: Front) -> None:
    token = csrf(front.client.get("/anmelden").text)
    form = {"csrf_token": token, "email": front.manager.email, "password": PASSWORD}
    assert front.client.post("/anmelden", data=form).status_code == 302


def test_scripts_keep_nothing_in_the_browser() -> None:
    scripts = {path.name: path.read_text() for path in Path(web.__file__).parent.glob("static/js/*.js")}
    assert len(scripts) >= 6
    kept = re.compile(
        r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\b|serviceWorker"
        # Nor do they run text, listen to other windows, or set properties whose names were sent.
        r"|\beval\b|new Function|postMessage|__proto__|Object\.assign"
    )
    assert {name: kept.findall(text) for name, text in scripts.items() if kept.search(text)} == {}


def test_a_long_password_counts_to_its_last_character(front: Front) -> None:
    long = token_hex(100)
    log_in_here(front)
    token = csrf(front.client.get("/anmeldung/passwort").text)
    form = {"csrf_token": token, "current": PASSWORD, "password": long}
    assert front.client.post("/anmeldung/passwort", data=form).status_code == 303
    stranger = front.client.application.test_client()
    for password, status in ((long[:-1], 422), (long.upper(), 422), (long, 302)):
        form = {"csrf_token": csrf(stranger.get("/anmelden").text), "email": front.manager.email, "password": password}
        assert stranger.post("/anmelden", data=form).status_code == status


def test_signing_in_begins_a_new_session(front: Front) -> None:
    front.client.get("/anmelden")
    before = front.client.get_cookie("session")
    log_in_here(front)
    after = front.client.get_cookie("session")
    assert before is not None and after is not None and before.value != after.value
    # Somebody who has planted the first cookie has nothing of it.
    for cookie, status in ((before, 302), (after, 200)):
        planter = front.client.application.test_client()
        planter.set_cookie("session", cookie.value)
        assert planter.get("/anmeldung").status_code == status


def test_the_secret_of_a_login_is_random_and_only_its_hash_is_kept(front: Front) -> None:
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        made = [begin_login(session, user, "Firefox", "192.0.2.7", NOW) for _ in range(3)]
        secrets = {secret for _, secret in made}
        assert len(secrets) == 3
        for login, secret in made:
            # 256 bits as URL-safe text.
            assert re.fullmatch(r"[\w-]{43}", secret)
            assert login.secret_hash == hashlib.sha256(secret.encode()).digest()
            row = session.execute(sa.select(Login.__table__).where(Login.id == login.id)).one()
            assert secret not in str(row)
