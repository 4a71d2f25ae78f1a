"""Tests that naughty strings in all input of the API are stored as sent, or refused with the field's name.

The fields of bodies, queries and paths are found in the API's OpenAPI document. With `NAUGHTY_STRINGS=all` in the
environment each string is tried in each field; otherwise each field gets a few of them.
"""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from werkzeug.test import TestResponse

from models.accounts.hierarchy import attach
from models.invisible_characters import typed_text
from models.states import Origin
from tests.factories import NOW, fill_pool, make_account
from tests.naughty_strings import NAUGHTY
from tests.web.api.calls import a_link, an_order, owned
from tests.web.conftest import ORDER, Back, Front, forget_attempts

ALL = os.environ.get("NAUGHTY_STRINGS") == "all"

WHOLE_ORDER: dict[str, Any] = {
    **ORDER,
    "options": ["mobile-backup", "directory-entry"],
    "mobile_number": "+4915123456789",
    "directory_entry": {"name": "Muster Berlin", "show_address": True, "published_in": ["print"]},
    "local_user": {"name": "Lore Lokal", "email": "lore@example.com"},
    "request_uri": "number",
    "countries": ["AT"],
}
BODIES: dict[str, list[Any]] = {
    "/api/v1/orders": [WHOLE_ORDER],
    "/api/v1/link-requests": [
        {"customer_number": "9999998", "locale": "de", "proof": proof}
        for proof in (
            {"method": "link_code", "code": "AAAAA AAAAA"},
            {"method": "credentials", "email": "kim@example.com", "password": "x"},
        )
    ],
    "/api/v1/changes": [
        {
            "customer_number": "9999998",
            "product": "trunk-50",
            "channels": 50,
            "effective_on": "2026-04-01",
            "sip_user": "t1",
        }
    ],
    "/api/v1/numbers": [
        {
            "customer_number": "9999998",
            "numbers": {"area_code": "030", "block_size": 10},
            "effective_on": "2026-04-01",
            "sip_user": "t1",
        }
    ],
    "/api/v1/moves": [
        {
            "customer_number": "9999998",
            "location": {"street": "Marienplatz 8", "postal_code": "80331", "city": "München"},
            "numbers": {"area_code": "089"},
            "effective_on": "2026-04-01",
        }
    ],
    "/api/v1/cancellations": [{"customer_number": "9999998", "last_day": "2026-04-01"}],
    "/api/v1/requests/{id}/proofs": [
        {"kind": "letter_code", "code": "AAAAA AAAAA"},
        {"kind": "credentials", "email": "kim@example.com", "password": "x"},
    ],
    "/api/v1/requests/{id}/resend": [{"what": "email"}],
    "/api/v1/requests/{id}/contact": [{"email": "kim@example.com"}],
    "/api/v1/accounts/{number}/tags": [{"tags": ["Nord"]}],
}
"""JSON bodies by the path of the operation; together they contain every text field that the operation takes."""
AS_STORED = {
    "location.name": "name",
    "location.street": "street",
    "location.city": "city",
    "contact.name": "contact_name",
}
"""Text fields of an order, with the columns of the account in which their values are stored."""


def texts_of(schema: dict[str, Any], document: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the path of every field in a JSON schema that may be a string, such as contact.name.

    The items of a list have the path of the list. `document` is the whole OpenAPI document, in which each `$ref` is
    looked up. `path` is the path of `schema` in the body, as names.
    """
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        yield from texts_of(document["components"]["schemas"][name], document, path)
    constants = [*schema.get("enum", []), schema.get("const")]
    if schema.get("type") == "string" or any(isinstance(constant, str) for constant in constants):
        yield ".".join(path)
    for group in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(group, []):
            yield from texts_of(one, document, path)
    if "items" in schema:
        yield from texts_of(schema["items"], document, path)
    for name, inner in schema.get("properties", {}).items():
        yield from texts_of(inner, document, (*path, name))


def texts_in(body: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the path of every string in a JSON body, such as contact.name.

    The items of a list have the path of the list. `path` is the path of `body` itself, as names.
    """
    match body:
        case str():
            yield ".".join(path)
        case dict():
            for name, inner in body.items():
                yield from texts_in(inner, (*path, name))
        case list():
            for inner in body:
                yield from texts_in(inner, path)


def with_text(body: dict[str, Any], path: str, text: str) -> dict[str, Any]:
    """Return a copy of the JSON body in which the field at this path, such as contact.name, has the value `text`."""
    made = copy.deepcopy(body)
    *groups, name = path.split(".")
    inner = made
    for group in groups:
        inner = inner[group]
    inner[name] = [text] if isinstance(inner[name], list) else text
    return made


def test_no_text_of_a_body_is_forgotten(front: Front) -> None:
    document = front.get("/openapi.json").get_json()
    taken = {}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                taken[path.replace("{customer_number}", "{number}")] = set(
                    texts_of(content["application/json"]["schema"], document)
                )
    here = {path: {text for body in bodies for text in texts_in(body)} for path, bodies in BODIES.items()}
    assert here.keys() == taken.keys()
    assert {path: taken[path] ^ here[path] for path in here if taken[path] != here[path]} == {}


def test_every_string_in_every_text_is_stored_or_refused_by_its_field(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        fill_pool(session, count=20_000 if ALL else 200, first="30000000")
        sub = make_account(session)
        attach(session, front.main.id, sub.id, Origin.LINK, NOW)
        number = sub.customer_number
    account, _ = owned(front)
    ids = {"letter_code": an_order(front, back), "credentials": a_link(front, account.customer_number).get_json()["id"]}
    strings, tried, wrong = cycle(NAUGHTY), Counter[int](), list[str]()
    for path, bodies in BODIES.items():
        for body in bodies:
            address = path.removeprefix("/api/v1").format(id=ids[body.get("kind", "letter_code")], number=number)
            for text in dict.fromkeys(texts_in(body)):
                for kind in NAUGHTY if ALL else [next(strings) for _ in range(2)]:
                    answer = send(front, address, with_text(body, text, NAUGHTY[kind]))
                    tried[answer.status_code] += 1
                    if fault := fault_of(front, answer, text, NAUGHTY[kind]):
                        wrong.append(f"{path} {text}: {kind}: {fault}")
    assert not wrong, "\n".join(wrong)
    assert tried[422] > 20 and tried[202] > 5, tried


def send(front: Front, address: str, body: dict[str, Any]) -> TestResponse:
    """Send the body as JSON to the path `address` of the API, with a new idempotency key; return the answer.

    It is a PUT for tags, otherwise a POST. Lone surrogates are sent as JSON escapes.
    """
    forget_attempts(front.client.application)
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": uuid4().hex}
    method = "PUT" if address.endswith("/tags") else "POST"
    data = json.dumps(body)
    return front.client.open(
        "/api/v1" + address, method=method, data=data, headers=head, content_type="application/json"
    )


def fault_of(front: Front, answer: TestResponse, path: str, text: str) -> str:
    """Return what is wrong with the answer to a body whose field at `path` is `text`; "" if nothing is.

    Wrong are a status from 500 on, a refusal that does not name the field, and a value that is not stored as sent.
    """
    if answer.status_code >= 500:
        return f"answer {answer.status_code}"
    if answer.status_code == 422:
        fields = [error["field"] for error in answer.get_json()["errors"]]
        # A list item has its number behind the name, and one error may be about a whole group.
        is_named = any(f"{field}.".startswith(f"{path}.") or f"{path}.".startswith(f"{field}.") for field in fields)
        return "" if is_named else f"names {fields}"
    if answer.status_code == 202 and path in AS_STORED:
        stored = front.get(f"/accounts/{answer.get_json()['customer_number']}").get_json()[AS_STORED[path]]
        wanted = typed_text(text).strip()
        return "" if stored == wanted else f"stored as {stored!r}, not {wanted!r}"
    return ""


def test_every_string_in_queries_and_paths_is_answered(front: Front) -> None:
    document = front.get("/openapi.json").get_json()
    strings, wrong, tried = cycle(NAUGHTY), list[str](), 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for place, name in {(one["in"], one["name"]) for one in operation.get("parameters", [])}:
                for kind in NAUGHTY if ALL else [next(strings) for _ in range(2)]:
                    tried += 1
                    text = NAUGHTY[kind][:2_000]
                    answer = ask(front, method, path, place, name, text)
                    # An address with two slashes in it leads to the one without.
                    if answer.status_code >= 500 or (answer.status_code != 308 and not answer.is_json):
                        wrong.append(f"{method} {path} {place} {name}: {kind}: {answer.status_code}")
    assert wrong == []
    assert tried > 20


def ask(front: Front, method: str, path: str, place: str, name: str, text: str) -> TestResponse:
    """Call the API with `text` in one `place` of its input; return the answer.

    `place` is "query" (the parameter `name`), "path" (the part for an id or customer number) or "header" (the header
    `name`).
    """
    forget_attempts(front.client.application)
    head = {"Authorization": f"Bearer {front.token}"}
    query = urlencode({name: text}, errors="surrogatepass") if place == "query" else ""
    if place == "header":
        head[name] = text.encode("latin-1", "replace").decode("latin-1").translate(dict.fromkeys(map(ord, "\r\n\0")))
    segment = quote(text, safe="", errors="surrogatepass") or "x" if place == "path" else "x"
    # A dot alone is no name of anything in an address.
    for part in ("{id}", "{customer_number}"):
        path = path.replace(part, segment)
    return front.client.open(path, method=method.upper(), headers=head, query_string=query)
