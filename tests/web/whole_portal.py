"""A portal in which every page has something to show, and visitors of all kinds who can open its pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.contracts.contracts import Contract, ContractItem
from models.messages.outbox import Recipient
from models.orders.drafts import DraftStep, begin_draft, new_draft_id
from models.people.api_tokens import ApiToken
from models.people.invitations import invite
from models.people.login_sessions import Login
from models.people.rights import Role
from models.people.second_factors import SecondFactor
from models.people.users import User, principal_of
from models.states import Actor, Kind, Origin, Reason
from models.telephony.directory import DirectoryData, put_entry
from models.telephony.place_answers import ask, question_id
from tests.factories import (
    NOW,
    PASSWORD,
    VAULT,
    an_order,
    give_app,
    join,
    make_account,
    make_bulk,
    make_staff,
    make_user,
    submit_order,
)
from tests.second_factor import enter_code
from tests.web.api.calls import PDF, a_link, new_link_code, upload
from tests.web.conftest import ORDER, Back, Front, form_token
from tests.web.portal.accounts.sites import Site, give_numbers, make_site
from tests.web.portal.bulk.uploading import FALLBACK, HEAD, as_csv, row
from tests.web.portal.page.test_portal import csrf
from web.portal.bulk.columns import COLUMNS
from web.portal.links.wizard import Way

_ALL_STEPS: dict[DraftStep, dict[str, Any]] = {
    DraftStep.PRODUCT: {"product": "trunk-10", "channels": "4", "options": ["directory-entry", "mobile-backup"],
                        "mobile_number": "0151 23456789", "directory_name": "Muster Berlin",
                        "directory_address": "yes", "directory_in": ["online"]},
    DraftStep.LOCATION: {"name": "Filiale Süd", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    DraftStep.NUMBERS: {"area_code": "030", "block_size": "10"},
    DraftStep.CONTACT: {"contact_name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "030 901820",
                        "local_user": "somebody_else", "local_user_name": "Lore Lokal",
                        "local_user_email": "lore@example.com"},
}  # fmt: skip
_NO_PAGES = ("/api/", "/static/", "/schrift/", "/healthz", "/readyz", "/metrics")
_UPLOAD = "/standortverwaltung/sammelauftrag"


@dataclass
class WholePortal:
    """A portal with one object of each kind that pages show, and a browser for each kind of visitor.

    `things` has the objects' ids by the word that stands before the id in URLs, `visitors` the browsers by the
    visitor's name, such as "staff". `mailed` has the paths of the links in mails.
    """

    front: Front
    back: Back
    site: Site
    things: dict[str, list[Any]]
    visitors: dict[str, FlaskClient] = field(default_factory=dict)
    mailed: list[str] = field(default_factory=list)

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield the name of a visitor and a path, for every page and each object that the page can be about."""
        app = self.front.client.application
        for rule in app.url_map.iter_rules():
            if "GET" not in (rule.methods or set()) or rule.rule.startswith(_NO_PAGES) or "form" in rule.arguments:
                continue
            for visitor in self._visitors_of(rule):
                for values in self._fillings(rule, visitor):
                    yield visitor, app.url_map.bind("localhost").build(rule.endpoint, values, method="GET")
        for path in self.mailed:
            yield "nobody", path
        for path in ("/anmelden", "/brief", "/passwort"):
            yield "nobody", path

    def endpoint_of(self, path: str, method: str) -> str | None:
        """Return the name of the endpoint that handles a request to this path; None if there is none."""
        try:
            endpoint, _ = self.front.client.application.url_map.bind("localhost").match(path.split("?")[0], method)
        except HTTPException:
            return None
        return str(endpoint)

    def _visitors_of(self, rule: Rule) -> Sequence[str]:
        if rule.rule.startswith("/backoffice"):
            return ("staff",)
        if rule.endpoint == "people.second_step":
            return ("half",)
        if rule.endpoint in ("logins.overview", "people.confirm"):
            return ("owner", "staff")
        if rule.rule.startswith(("/verknuepfungscode", "/zustimmung", "/anmeldung")):
            return ("owner",)
        return ("manager", "local") if "customer_number" in rule.arguments else ("manager",)

    def _fillings(self, rule: Rule, visitor: str) -> list[dict[str, Any]]:
        pairs: list[dict[str, Any]] = [{}]
        for name in sorted(rule.arguments):
            if name not in ("customer_number", "number"):
                before = rule.rule.split(f"{name}>")[0].rsplit("/", 2)[-2]
                choices = _choices(rule, name) or self.things.get(name) or self.things.get(before, [])
            else:
                choices = self.things["attachable" if name == "number" else f"numbers of {visitor}"]
            pairs = [{**pair, name: choice} for pair in pairs for choice in choices]
        return pairs


def _choices(rule: Rule, name: str) -> list[str]:
    converter = rule._converters[name]
    if type(converter).__name__ != "AnyConverter":
        return []
    return re.sub(r"[(?:)\\]", "", converter.regex).split("|")


def whole_portal(front: Front, back: Back) -> WholePortal:
    """Create a portal with one object of each kind that pages show, and sign in a visitor of each kind."""
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        site, blocked = make_site(session, main), make_account(session, name="Ohne Verwaltung")
        block = give_numbers(session, site)
        contract = session.scalars(sa.select(Contract.id).where(Contract.account_id == site.account.id)).one()
        for key in ("directory-entry", "mobile-backup"):
            session.add(ContractItem(contract_id=contract, product_key=key, monthly_cents=0, one_off_cents=990))
        put_entry(session, site.account.id, 49221700340, DirectoryData("Muster Köln", False, ("online",)), NOW)
        owner, staff, other_staff = make_user(session), make_staff(session, name="Bo Backoffice"), make_staff(session)
        asked, coded = (make_account(session, administrator=owner) for _ in range(2))
        mover = make_user(session)
        elsewhere, moving = make_account(session, administrator=owner), make_account(session, administrator=mover)
        attach(session, elsewhere.id, moving.id, Origin.LINK, NOW)
    requests, documents = [], []
    for contact in ("hanna.palmer@example.com", "zweite@example.com"):
        body = {**ORDER, "contact": {**ORDER["contact"], "email": contact}}
        requests.append(UUID(front.post("/orders", body).get_json()["id"]))
    requests.append(UUID(a_link(front, asked.customer_number).get_json()["id"]))
    proof = {"method": "credentials", "email": mover.email, "password": PASSWORD}
    body = {"customer_number": moving.customer_number, "proof": proof, "switch": True}
    switch = UUID(front.post("/link-requests", body).get_json()["id"])
    code = new_link_code(front, coded, owner)
    back.advance()
    assert upload(front, str(requests[1]), PDF).status_code < 300
    documents.append(requests[1])
    mailed = _links(back)
    with front.database.transaction() as session:
        main, own_site = (session.get_one(Account, id) for id in (front.main.id, site.account.id))
        place = replace(an_order().location, street="Münchner Str. 1", postal_code="85221", city="Dachau")
        held = submit_order(session, front.manager, main, an_order(location=place, area_code="089"), NOW)
        held.hold(Reason.AREA_CODE_UNCONFIRMED, NOW, NOW)
        failed = submit_order(session, front.manager, main, an_order(), NOW)
        failed.hold(Reason.INTERNAL_ERROR, NOW, NOW)
        ask(session, "85221", "Dachau", "089", NOW)
        question = question_id(session, "85221", "Dachau", "089")
        to = Recipient("Ida Invitata", "ida@example.com", "de")
        invitation = invite(session, front.manager, own_site, to, Role.LOCAL_MEMBER, NOW)
        draft = begin_draft(session, new_draft_id(session, VAULT, front.manager), main, front.manager, NOW)
        for step, typed in _ALL_STEPS.items():
            draft.keep(typed, step, NOW)
        session.flush()
        requests += [held.id, failed.id, switch]
        second = make_user(session, name="Zoe Zweite")
        join(session, second, main, Role.LOCATION_MANAGER)
        file = make_bulk(session, principal_of(session, second), main, [an_order()], name="Freigabe.csv")
        waiting, of_file = (
            submit_order(session, principal_of(session, second), main, an_order(), NOW) for _ in range(2)
        )
        of_file.bulk_id = file.id
        for each in (waiting, of_file):
            until = each.approval_until = NOW + timedelta(days=14)
            each.wait_for(Actor.APPROVER, Reason.APPROVAL_AWAITED, until, NOW, until)
        give_app(session, session.get_one(User, site.member.id))
        things: dict[str, list[Any]] = {
            "numbers of manager": [front.main.customer_number, site.account.customer_number],
            "numbers of local": [site.account.customer_number], "attachable": [coded.customer_number],
            "numbers of staff": [site.account.customer_number, blocked.customer_number], "way": list(Way),
            "requests": requests, "anfragen": requests, "zustimmung": [requests[2], switch], "vorwahlen": [question],
            "neu": [draft.id], "sip": [site.trunk], "rufnummern": [block], "rufweiterleitung": [site.forwarding],
            "einladungen": [invitation.id], "user_id": [site.member.id],
            "personen": [site.member.id], "name": ["x"], "freigaben": [waiting.id], "datei": [file.id],
        }  # fmt: skip
    found = WholePortal(front, back, site, things)
    for name, email in (("manager", front.manager.email), ("local", site.administrator.email), ("staff", staff.email)):
        found.visitors[name] = signed_in(front, email)
    found.visitors["owner"] = signed_in(front, owner.email)
    found.visitors["half"] = half_signed_in(front, other_staff.email)[0]
    found.visitors["nobody"] = front.client.application.test_client()
    things["sammelauftrag"] = _files(found.visitors["manager"])
    found.visitors["nobody"].post("/passwort", data={"csrf_token": _token(found, "/passwort"), "email": owner.email})
    back.advance()
    found.mailed = list(dict.fromkeys([*mailed, *_links(back)]))
    with front.database.transaction() as session:
        things["api-token"] = list(session.scalars(sa.select(ApiToken.id).where(ApiToken.account_id == front.main.id)))
        things["faktor"] = list(session.scalars(sa.select(SecondFactor.id).limit(1)))
        things["anmeldung"] = list(session.scalars(sa.select(Login.id).where(Login.user_id == front.manager.user_id)))
    assert code
    return found


def signed_in(front: Front, email: str) -> FlaskClient:
    """Return a browser in which the user with this e-mail address is signed in."""
    client, answer = half_signed_in(front, email)
    assert enter_code(client, answer).status_code == 302
    return client


def half_signed_in(front: Front, email: str) -> tuple[FlaskClient, TestResponse]:
    """Enter e-mail address and password in a new browser, but no code of a second factor.

    Return the browser and the answer, which leads to the page that asks for the second factor, if the user has one.
    """
    client = front.client.application.test_client()
    form = {"csrf_token": form_token(client), "email": email, "password": PASSWORD}
    return client, client.post("/anmelden", data=form)


def _token(portal: WholePortal, path: str) -> str:
    return csrf(portal.visitors["nobody"].get(path).text)


def _links(back: Back) -> list[str]:
    base = back.runtime.base_url
    texts = "\n".join(mail.text for mail in back.mailer.sent)
    return [
        path
        for path in re.findall(rf"{base}(/\S+)", texts)
        if re.match("/(email|zustimmung|einladung|passwort)/", path)
    ]


def _files(client: FlaskClient) -> list[UUID]:
    """Upload a bulk file of each kind as the client's user; return the files' ids. Each has a row with wrong cells."""
    heads = {kind: [column.de for column in columns] for kind, columns in COLUMNS.items()}
    wrong = {kind: [head, ["#N/A"] * len(head)] for kind, head in heads.items()}
    orders = [[*HEAD, FALLBACK], ["#N/A"] * (len(HEAD) + 1), [*row(1), ""]]
    return [_file(client, kind, rows) for kind, rows in {**wrong, Kind.ORDER: orders}.items()]


def _file(client: FlaskClient, kind: Kind, rows: Sequence[Sequence[str]]) -> UUID:
    page = client.get(_UPLOAD).text
    account = re.search(r'name="account" value="([0-9]+)"', page)
    assert account is not None
    typed = {
        "csrf_token": csrf(page),
        "account": account[1],
        "kind": kind,
        "file": (io.BytesIO(as_csv(rows)), "Filialen.csv"),
    }
    answer = client.post(_UPLOAD, data=typed, content_type="multipart/form-data")
    assert answer.status_code == 303, answer.text
    return UUID(answer.location.rsplit("/", 1)[-1])
