"""Makes bulk files for tests, uploads them through the portal's pages, and sends their rows as requests."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.requests.requests import Request
from tests.web.conftest import Back, Front
from tests.web.portal.page.test_portal import csrf

START = "/standortverwaltung/sammelauftrag"
HEAD = [
    "Name des Standorts", "Straße und Hausnummer", "Postleitzahl", "Ort", "Ansprechperson", "E-Mail", "Telefon",
    "Produkt", "Kanäle", "Vorwahl", "Anzahl Rufnummern", "Optionen",
]  # fmt: skip
FALLBACK = "Mobilnummer der Notfall-Umleitung"


def row(number: int, **changes: str) -> list[str]:
    """Return the cells of a valid row that orders the location "Filiale NUMBER"; `changes` replace cells by heading."""
    facts = dict(
        zip(
            HEAD,
            ["", "Brückenstr. 5", "10179", "Berlin", "Hanna Palmer", "hanna.palmer@example.com", "030 901820",
             "trunk-10", "4", "030", "10", ""],
            strict=True,
        )
    )  # fmt: skip
    return [*({**facts, "Name des Standorts": f"Filiale {number}"} | changes).values()]


def as_csv(rows: Sequence[Sequence[str]], *, delimiter: str = ";", encoding: str = "utf-8-sig") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode(encoding)


def upload(front: Front, content: bytes, *, kind: str = "order", name: str = "Filialen.csv") -> TestResponse:
    """Upload a bulk file with this content and name; `kind` is "order" or "link". Return the answer."""
    page = front.client.get(START).text
    account = page.partition('name="account" value="')[2].partition('"')[0]
    data = {"csrf_token": csrf(page), "account": account, "kind": kind, "file": (io.BytesIO(content), name)}
    return front.client.post(START, data=data, content_type="multipart/form-data")


def opened(front: Front, content: bytes, **more: str) -> str:
    """Upload a bulk file, and return the path of its page. Fails if the file is refused.

    `more` can be `kind` ("order" or "link") and `name`, the file's name.
    """
    answer = upload(front, content, **more)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def post(front: Front, address: str, **data: object) -> TestResponse:
    """Submit these fields with a CSRF token; return the answer.

    `address` is the path to which they are sent: that of a bulk file's page, or "/senden" below it.
    """
    page = front.client.get(address.removesuffix("/senden")).text
    return front.client.post(address, data={"csrf_token": csrf(page), **data})


def press(front: Front, address: str) -> TestResponse:
    """Press the button that sends the rows of a bulk file as requests; return the answer.

    `address` is the path of the bulk file's page. The page is opened first; its hidden field `shown`, a fingerprint of
    what it shows, is sent along.
    """
    page = front.client.get(address).text
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    return post(front, address + "/senden", shown=shown)


def orders(front: Front) -> int:
    with front.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Request)) or 0


def work(front: Front, back: Back) -> None:
    """Run the workers four times, five seconds apart: enough to complete the requests of the tests' bulk files."""
    for _ in range(4):
        back.advance()
        back.clock.advance(timedelta(seconds=5))
