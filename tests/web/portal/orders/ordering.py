"""Functions that order a sub-account through the portal's pages in tests, with usual values for each step."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.db.session import Database
from models.orders.drafts import Draft
from models.requests.requests import Request
from tests.web.conftest import Front
from tests.web.portal.page.test_portal import csrf, sign_in

NEW = "/standortverwaltung/neu"
STEPS: dict[str, dict[str, Any]] = {
    "produkt": {"product": "trunk-10", "channels": "4", "options": ["mobile-backup"], "mobile_number": "0151 23456789"},
    "standort": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "rufnummern": {"area_code": "030", "block_size": "10"},
    "kontakt": {"contact_name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "030 901820"},
}


def begin(front: Front) -> str:
    """Sign in as the manager and begin an order; return the path of its draft, such as /standortverwaltung/neu/ID.

    The paths of the order's pages begin with it.
    """
    sign_in(front, front.manager.email)
    return fresh(front)


def fresh(front: Front) -> str:
    """Begin an order as the signed-in user; return the path of its draft, with which the paths of its pages begin."""
    return front.client.get(NEW).headers["Location"].removesuffix("/produkt")


def fill(front: Front, draft: str, slug: str, **changes: Any) -> TestResponse:
    """Submit one step of the order with its usual values; return the answer.

    `draft` is the path of the order's draft, `slug` the step's name in paths, such as produkt. `changes` are fields
    with other values.
    """
    page = front.client.get(f"{draft}/{slug}").text
    return front.client.post(f"{draft}/{slug}", data={"csrf_token": csrf(page), **STEPS[slug], **changes})


def fill_all(front: Front, draft: str, *slugs: str) -> str:
    """Submit the named steps of the order (none: all) with their usual values; return the HTML of the summary.

    `draft` is the path of the order's draft. Fails unless each step is accepted.
    """
    for slug in slugs or STEPS:
        answer = fill(front, draft, slug)
        assert answer.status_code == 303, answer.text
    return front.client.get(f"{draft}/zusammenfassung").text


def order(client: FlaskClient, draft: str, summary: str, **ticked: str) -> TestResponse:
    """Press the button on an order's summary that places the order; return the answer.

    `draft` is the path of the order's draft, `summary` the HTML of its summary. `ticked` are the check boxes that are
    ticked, as name and value.
    """
    shown = re.search(r'name="shown" value="(\w+)"', summary)
    assert shown is not None, summary
    return client.post(f"{draft}/bestellen", data={"csrf_token": csrf(summary), "shown": shown[1], **ticked})


def plain(text: str) -> str:
    """Return the text with each run of white space, also of non-breaking spaces, replaced by one space."""
    return re.sub(r"\s+", " ", text.replace("\xa0", " ").replace("\u202f", " "))


def requests_in(database: Database) -> list[Request]:
    """Return all requests in the database."""
    with database.transaction() as session:
        return list(session.scalars(sa.select(Request)))


def drafts_in(database: Database) -> list[Draft]:
    """Return all drafts of orders in the database."""
    with database.transaction() as session:
        return list(session.scalars(sa.select(Draft)))
