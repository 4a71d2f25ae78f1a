"""Tests that a URL with the id of another customer's object is answered as if the object did not exist."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.messages.outbox import Recipient
from models.orders.drafts import DraftStep, begin_draft, new_draft_id
from models.people.api_tokens import ApiToken
from models.people.invitations import invite
from models.people.login_sessions import Login
from models.people.rights import Role, Scope
from models.people.second_factors import SecondFactor
from models.people.users import User
from models.states import Origin
from tests.factories import NOW, PASSWORD, VAULT, an_order, give_app, make_account, make_bulk, make_main, make_user
from tests.web.api.calls import PDF, a_link
from tests.web.conftest import ORDER, Back, Front, forget_attempts
from tests.web.portal.accounts.sites import give_numbers, make_site
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.test_row_security import enforced
from workers.stack.postgres import EmbeddedPostgres

MISSING = {"number": "9999998", "id": 987_654_321, "uuid": UUID("01a20000-0000-7000-8000-00000000beef")}
NOBODYS = {
    "static", "people.set_language", "carrier.show", "typeface.show", "typeface.other_scripts", "typeface.part",
    "bulks.template", "office.jobs_run",
}  # fmt: skip
"""Endpoints whose parameters name nothing that belongs to a customer; they are not tested here."""
CHOICES = {"token": "wrong", "issued": 1_700_000_000, "way": "code"}
INPUT = {
    "password": "wrong",
    "name": "Kim",
    "email": "kim@example.com",
    "role": "administrator",
    "code": "AAAAA AAAAA",
    "decision": "approve",
}
BODIES = {
    "api.give_proof": {"kind": "link_code", "code": "AAAAA AAAAA"},
    "api.resend": {"what": "email"},
    "api.correct_contact_address": {"email": "kim@example.com"},
}
"""Valid JSON bodies by endpoint; with an invalid one, the API would refuse the body before it looks for the id."""


@pytest.fixture(scope="module", autouse=True)
def first_wall_alone(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Switch row-level security off during this module's tests: it would hide that a page lacks its own check."""
    with enforced(postgres, on=False):
        yield


def foreign_things(front: Front, back: Back) -> dict[str, Any]:
    """Create objects of the client's main account, one of each kind: a draft, a trunk, a number block and so on.

    The test then requests these objects as another customer. Return lists of their ids, by the word that stands before
    the id in URLs: `drafts`, `sip`, `number` and so on.
    """
    order = front.post("/orders", ORDER).get_json()["id"]
    with front.database.transaction() as session:
        asked = make_account(session, administrator=make_user(session)).customer_number
        owner = make_user(session)
        moving = make_account(session, administrator=owner)
        attach(session, make_main(session)[0].id, moving.id, Origin.LINK, NOW)
    link = a_link(front, asked).get_json()["id"]
    proof = {"method": "credentials", "email": owner.email, "password": PASSWORD}
    body = {"customer_number": moving.customer_number, "proof": proof, "switch": True}
    switch = front.post("/link-requests", body).get_json()["id"]
    back.advance()
    sign_in(front, front.manager.email)
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        site = make_site(session, main)
        block = give_numbers(session, site)
        draft = begin_draft(session, new_draft_id(session, VAULT, front.manager), main, front.manager, NOW)
        draft.keep({"product": "trunk-10"}, DraftStep.PRODUCT, NOW)
        to = Recipient("Hanna", "hanna@example.com", "de")
        invitation = invite(session, front.manager, main, to, Role.ADMINISTRATOR, NOW)
        bulk = make_bulk(session, front.manager, main, [an_order()])
        session.flush()
        give_app(session, session.get_one(User, front.manager.user_id))
        return {
            "number": [site.account.customer_number],
            "requests": [UUID(order), UUID(link), UUID(switch)],
            "drafts": [draft.id],
            "bulks": [bulk.id],
            "sip": [site.trunk],
            "rufnummern": [block],
            "rufweiterleitung": [site.forwarding],
            "einladungen": [invitation.id],
            "einladung": [invitation.id],
            "api-token": list(session.scalars(sa.select(ApiToken.id))),
            "anmeldung": list(session.scalars(sa.select(Login.id))),
            "faktor": list(session.scalars(sa.select(SecondFactor.id))),
            "user": [front.manager.user_id],
        }


def kind_of(rule: Rule, name: str) -> tuple[str, str]:
    """Return two keys for the parameter `name` of a URL rule, under which values for it can be looked up.

    The first is a key of what `foreign_things` returns: ids of another customer's objects. The second is a key of
    `MISSING`: an id that no object has.
    """
    if name in ("customer_number", "number"):
        return "number", "number"
    before = rule.rule.split(f"{name}>")[0].rsplit("/", 2)[-2]
    if name == "user_id" or before == "personen":
        return "user", "id"
    if before in ("sammelauftrag", "datei", "neu"):
        return {"sammelauftrag": "bulks", "datei": "bulks", "neu": "drafts"}[before], "uuid"
    if before == "faktor":
        return before, "uuid"
    if before in ("requests", "anfragen", "email", "zustimmung", "freigaben", "vorwahlen"):
        return "requests", "uuid"
    return before, "id"


def fillings(rule: Rule, foreign: dict[str, Any], own_number: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return values for a URL's parameters, in pairs: with ids of another customer, and with ids that do not exist.

    `foreign` has lists of the other customer's ids, by the word that stands before the id in URLs. If the URL has a
    customer number and further parameters, some pairs have the visitor's own number (`own_number`); then only the other
    parameters differ.
    """
    fixed = {name: CHOICES[name] for name in rule.arguments if name in CHOICES}
    slugs = ("produkt", "kontakt", "zusammenfassung") if "slug" in rule.arguments else ()
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [({"slug": slug}, {"slug": slug}) for slug in slugs]
    pairs = pairs or [({}, {})]
    for name in sorted(rule.arguments - set(fixed) - {"slug"}):
        word, missing = kind_of(rule, name)
        places = [(thing, MISSING[missing]) for thing in foreign[word]]
        if word == "number" and len(rule.arguments) > 1 and not rule.rule.endswith(">/<way>"):
            # A foreign thing is asked for below the visitor's own account, too.
            places.append((own_number, own_number))
        pairs = [(before | {name: thing}, none | {name: other}) for before, none in pairs for thing, other in places]
    return [(fixed | there, fixed | none) for there, none in pairs]


def plain(answer: TestResponse, values: dict[str, Any]) -> tuple[int, str, str]:
    """Return status, redirect target and body of an answer, so that it can be compared with the answer for another id.

    `values` are the parameters of the URL: the ids and numbers among them are replaced by "ID" in the answer. CSRF
    tokens are left out.
    """
    body = re.sub(r'(name="csrf_token"[^>]*value=")[^"]+', r"\1", answer.text)
    location = answer.headers.get("Location") or ""
    for name, value in values.items():
        if name in ("number", "customer_number"):
            body, location = body.replace(value, "ID"), location.replace(value, "ID")
        elif name in ("id", "user_id"):
            # A short number stands for an id in addresses only.
            body, location = (re.sub(rf"/{value}\b", "/ID", text) for text in (body, location))
    return answer.status_code, location, body


def test_foreign_and_missing_things_answer_alike(front: Front, back: Back) -> None:
    foreign = foreign_things(front, back)
    app = front.client.application
    with front.database.transaction() as session:
        # Ids of users and logins that no other thing has.
        for _ in range(20):
            make_user(session)
        main, visitor = make_main(session)
        own = main.customer_number
    front.client, front.main, front.manager = app.test_client(), main, visitor
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    sign_in(front, visitor.email)
    form = {"csrf_token": csrf(front.client.get("/anmeldung").text), **INPUT}
    differ, walked = [], 0
    for rule in app.url_map.iter_rules():
        if not rule.arguments or rule.endpoint in NOBODYS or rule.arguments & {"form", "by", "kind"}:
            continue
        for there, none in fillings(rule, foreign, own):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                answers = [plain(ask(front, method, rule, values, form), values) for values in (there, none)]
                walked += 1
                if answers[0] != answers[1]:
                    differ.append((method, rule.rule, there))
    assert walked > 130
    assert differ == []


def ask(front: Front, method: str, rule: Rule, values: dict[str, Any], form: dict[str, str]) -> TestResponse:
    """Send a request to the URL of `rule` with these values of its parameters, as the visitor; return the answer.

    A call of the API has the visitor's token. A POST to a page sends the fields `form`.
    """
    forget_attempts(front.client.application)
    with front.client.application.test_request_context():
        path = front.client.application.url_map.bind("localhost").build(rule.endpoint, values, method=method)
    if rule.endpoint.startswith("api."):
        head = {"Authorization": f"Bearer {front.token}"}
        if method == "POST":
            head["Idempotency-Key"] = f"{method} {path}"
        if rule.endpoint in ("api.upload_address_document", "api.upload_certificate_of_need"):
            return front.client.post(
                path, data={"file": (io.BytesIO(PDF), "x.pdf")}, headers=head, content_type="multipart/form-data"
            )
        return front.client.open(path, method=method, headers=head, json=BODIES.get(rule.endpoint))
    answer = front.client.open(path, method=method, data=form if method == "POST" else None)
    if answer.status_code in (302, 303):
        # Shows the message that waits for the next page.
        front.client.get("/anmeldung")
    return answer
