"""Tests that invalid input of every kind gets an answer that names the error, never an error 500."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tasks.files.uploaded_cells import cell_fault, cell_text
from tests.factories import PASSWORD
from tests.web.conftest import ORDER, Front, form_token
from tests.web.portal.page.test_portal import csrf, sign_in

LINK: dict[str, Any] = {"customer_number": "1234567", "proof": {"method": "link_code", "code": "A"}}
DEEP = "[" * 100_000 + "]" * 100_000


def send(front: Front, path: str, body: str) -> tuple[int, list[str]]:
    """Post `body` (text) to a path under /api/v1; return the status and the names of the fields with errors.

    Fails unless the answer is a problem document with an explanation.
    """
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": uuid4().hex}
    answer = front.client.post("/api/v1" + path, data=body, headers=head, content_type="application/json")
    said = answer.get_json()
    assert answer.content_type == "application/problem+json" and said["detail"]
    return answer.status_code, [error["field"] for error in said.get("errors", [])]


@pytest.mark.parametrize("character", [r"\u0000", r"\ud800", r"x\udfff", r"\u0001", r"\ufffe", r"\uffff"])
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/orders", {**ORDER, "product": "?"}, "product"),
        ("/orders", {**ORDER, "options": ["mobile-backup", "?"], "mobile_number": "0151 23456789"}, "options.1"),
        ("/orders", {**ORDER, "location": {**ORDER["location"], "city": "?"}}, "location.city"),
        ("/orders", {**ORDER, "contact": {**ORDER["contact"], "email": "?@example.com"}}, "contact.email"),
        ("/orders", {**ORDER, "contact": {**ORDER["contact"], "?": 1}}, "contact"),
        ("/orders", {**ORDER, "?": 1}, "body"),
        ("/link-requests", {**LINK, "proof": {**LINK["proof"], "code": "?"}}, "proof.code"),
        (
            "/link-requests",
            {**LINK, "proof": {"method": "credentials", "email": "a@example.com", "password": "?"}},
            "proof.password",
        ),
    ],
)
def test_a_text_that_is_none_is_a_field_that_is_named(
    front: Front, path: str, body: dict[str, Any], field: str, character: str
) -> None:
    assert send(front, path, json.dumps(body).replace("?", character)) == (422, [field])


@pytest.mark.parametrize("path", ["/orders", "/requests/019a0000-0000-7000-8000-000000000000/cancel"])
@pytest.mark.parametrize("body", [DEEP, f'{{"a": {DEEP}}}', '{"a": ' * 20 + "1" + "}" * 20, f'{{"a": {"9" * 5000}}}'])
def test_a_body_that_is_nested_or_long_without_end_is_refused(front: Front, path: str, body: str) -> None:
    assert send(front, path, body)[0] == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", "3"), ("channels", 3.0), ("channels", True), ("channels", 3.5), ("channels", None),
     ("numbers.block_size", "10"), ("numbers.block_size", 10.0), ("numbers.block_size", True)],
)  # fmt: skip
def test_a_number_is_a_number(front: Front, field: str, value: object) -> None:
    group, _, name = field.rpartition(".")
    body = {**ORDER, group: {**ORDER[group], name: value}} if group else {**ORDER, name: value}
    assert send(front, "/orders", json.dumps(body)) == (422, [field])


@pytest.mark.parametrize(
    "path", ["/accounts/%00", "/accounts/%00/link-code", "/requests/%00", "/accounts/1234567%00", "/%00"]
)
def test_an_address_with_a_nul_does_not_exist(front: Front, path: str) -> None:
    assert front.get(path).status_code == 404
    assert front.delete(f"{path}/link").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/accounts?cursor=" + "9" * 19, "cursor"),
        ("/accounts?cursor=" + "9" * 5000, "cursor"),
        ("/accounts?cursor=%D9%A3", "cursor"),
        ("/accounts?cursor=-1", "cursor"),
        ("/accounts?cursor=", "cursor"),
        ("/accounts?cursor=%00", "cursor"),
        ("/accounts?limit=" + "9" * 5000, "limit"),
        ("/requests?cursor=%00", "cursor"),
        ("/requests?cursor=" + "9" * 5000, "cursor"),
        ("/requests?status=%00", "status"),
        ("/requests?%00=1", "body"),
    ],
)
def test_a_query_names_its_field(front: Front, query: str, field: str) -> None:
    answer = front.get(query)
    assert (answer.status_code, [error["field"] for error in answer.get_json()["errors"]]) == (422, [field])


def test_tens_of_thousands_of_unknown_keys_get_a_short_answer(front: Front) -> None:
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "many"}
    answer = front.client.post("/api/v1/orders", json={f"k{number}": 1 for number in range(70_000)}, headers=head)
    assert (answer.status_code, len(answer.get_json()["errors"])) == (422, 100)
    assert len(answer.data) < 20_000


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_number_is_finite(front: Front, value: str) -> None:
    body = json.dumps({**ORDER, "channels": 0}).replace('"channels": 0', f'"channels": {value}')
    assert send(front, "/orders", body) == (422, ["channels"])


def test_options_head_and_a_charset_are_answered(front: Front) -> None:
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "utf"}
    allowed = front.client.options("/api/v1/orders", headers=head).headers["Allow"]
    assert set(allowed.split(", ")) == {"OPTIONS", "POST"}
    answer = front.client.head("/api/v1/requests", headers=head)
    assert (answer.status_code, answer.data) == (200, b"")
    body = json.dumps(ORDER)
    charset = "application/json; charset=utf-8"
    assert front.client.post("/api/v1/orders", data=body, headers=head, content_type=charset).status_code == 202


def test_a_sign_in_page_with_line_breaks_in_its_address_does_not_break(front: Front) -> None:
    form = {"csrf_token": form_token(front.client), "email": front.manager.email, "password": PASSWORD}
    assert front.client.post("/anmelden?next=/%0d%0aX", data=form).status_code < 500
    assert front.client.get("/anmelden?next=/%0d%0aX").status_code < 500
    language = {"csrf_token": form_token(front.client), "next": "/\r\nX"}
    assert front.client.post("/sprache/en", data=language).status_code < 500
    assert front.client.get("/standortverwaltung/neu?city=%00").status_code < 500
    assert front.client.get("/standortverwaltung/neu/hinweise?city=%00&postal_code=10179").status_code == 422


@pytest.mark.parametrize("character", ["\x01", "\x1f", "\ufffe", "\uffff", "\ufdd0"])
def test_a_character_that_no_xml_may_have_gets_in_nowhere(front: Front, character: str) -> None:
    text = f"Filiale{character}Nord"
    place = {**ORDER["location"], "name": text}
    assert send(front, "/orders", json.dumps({**ORDER, "location": place})) == (422, ["location.name"])
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/einladen"
    form = {"csrf_token": csrf(front.client.get(path).text), "name": text, "email": "kim@example.com", "role": "reader"}
    answer = front.client.post(path, data=form)
    assert answer.status_code == 422 and "Das können wir nicht lesen" in answer.text
    assert front.client.get("/standortverwaltung", query_string={"suche": text}).status_code == 422
    # A file names its cell; a separator of records is a blank.
    cell = cell_text(text)
    assert cell_fault(cell) == "unreadable_character" or (character, cell) == ("\x1f", "Filiale Nord")


def paths(front: Front, method: str) -> Iterator[str]:
    """Yield one path for each route that has this HTTP method, with ids that do not exist.

    The route for static files is left out.
    """
    app = front.client.application
    values = {"UUIDConverter": uuid4(), "IdConverter": 1, "UnicodeConverter": front.main.customer_number}
    for rule in app.url_map.iter_rules():
        if method not in (rule.methods or ()) or rule.endpoint == "static":
            continue
        arguments = {name: values.get(type(kind).__name__, kind.regex) for name, kind in rule._converters.items()}
        # Of several words that a part of the path may be, the first.
        chosen: dict[str, Any] = {
            name: re.sub(r"[(?:)]", "", str(value)).split("|")[0] for name, value in arguments.items()
        }
        with app.test_request_context():
            yield app.url_for(rule.endpoint, **chosen)


def test_no_page_breaks_at_a_query_that_is_no_text(front: Front) -> None:
    sign_in(front, front.manager.email)
    asked = list(paths(front, "GET"))
    broken = [path for path in asked if front.client.get(f"{path}?x=%00").status_code >= 500]
    assert (broken, len(asked) > 60) == ([], True)


def test_no_form_breaks_without_its_fields(front: Front) -> None:
    sign_in(front, front.manager.email)
    token = form_token(front.client)
    asked = [path for path in paths(front, "POST") if not path.startswith("/api/") and path != "/abmelden"]
    broken = [path for path in asked if front.client.post(path, data={"csrf_token": token}).status_code >= 500]
    assert (broken, len(asked) > 30) == ([], True)


def test_the_portal_says_so_too(front: Front) -> None:
    token = form_token(front.client)
    form = {"csrf_token": token, "email": "a\0@example.com", "password": "x"}
    answer = front.client.post("/anmelden", data=form)
    assert answer.status_code == 422 and "Das können wir nicht lesen" in answer.text
    assert front.client.post("/anmelden", data={**form, "email": "a@example.com", "password": "\0"}).status_code == 422
    assert front.client.get(f"/zustimmung/{uuid4()}/{2**70}/x").status_code == 404
    sign_in(front, front.manager.email)
    for query in ("suche=%00", "konto=%00", "nach=%00"):
        assert front.client.get(f"/standortverwaltung?{query}").status_code == 422
    assert front.client.get("/verknuepfungscode/%00").status_code == 404
    token = form_token(front.client)
    assert front.client.post("/verknuepfungscode/%00", data={"csrf_token": token}).status_code == 404
    half = base64.urlsafe_b64encode(b'["\\ud800", 1]').decode()
    deep = base64.urlsafe_b64encode(DEEP.encode()).decode()
    for cursor in (half, deep, "9" * 5000, "x"):
        assert front.client.get(f"/standortverwaltung?sortierung=name&nach={cursor}").status_code == 404
