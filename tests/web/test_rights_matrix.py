"""Tests who may open each URL of a customer: for each kind of person and account, the expected answer is in a table."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.contracts.contracts import Contract, ContractItem
from models.messages.outbox import Recipient
from models.orders.drafts import DraftStep, begin_draft, new_draft_id
from models.people.api_tokens import ApiToken, create_token
from models.people.invitations import invite
from models.people.rights import Role, Scope
from models.people.users import Membership, User, principal_of
from models.staff.factor_resets import FactorReset
from models.states import AccountState, Actor, Origin, Reason
from models.telephony.directory import put_entry
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.numbers import NumberBlock
from tests.factories import (
    ENTRY,
    NOW,
    VAULT,
    an_order,
    fill_pool,
    join,
    make_account,
    make_bulk,
    make_staff,
    make_user,
    submit_order,
)
from tests.kept_rows import KeptRows, kept_rows
from tests.web.api.calls import PDF
from tests.web.conftest import Front, FrontOf, forget_attempts
from tests.web.portal.accounts.sites import make_trunk
from tests.web.portal.page.test_portal import csrf
from tests.web.test_row_security import enforced
from tests.web.whole_portal import signed_in
from web.portal.links.wizard import Way
from workers.stack.postgres import EmbeddedPostgres

ALL = os.environ.get("RIGHTS_MATRIX") == "all"
TURNS = 1 if ALL else 5
"""Only every fifth case (a person at a URL) is tried; with `RIGHTS_MATRIX=all` in the environment, every case.

The number is odd because there are four tokens: with an even one, only half of them would ever be tried.
"""

PEOPLE = {
    "MA": "main administrator", "ML": "main location manager", "MM": "main local member",
    "SA": "sub administrator", "SL": "sub location manager", "SM": "sub local member",
    "PA": "former main administrator", "DA": "detached administrator", "CA": "closed administrator",
    "FA": "foreign administrator", "X": "former", "ST": "staff", "NO": "nobody",
    "MTr": "main token to read", "MTw": "main token to write", "STr": "sub token to read", "STw": "sub token to write",
}  # fmt: skip
"""The people by short name, with the names that `World` uses.

The person `former` was an administrator of the account `sub` until just before the test; the account `detached` was a
sub-account of `former main` until then. Tokens are those of administrators; a token to write may also read.
"""

PLACES = ("main", "former main", "sub", "detached", "closed", "foreign")
REACH = {
    #              main          former main  sub                detached  closed  foreign
    "view":       ("MA ML ST",   "PA ST",     "MA ML SA SL ST",  "DA ST",  "",     "FA ST"),
    "operate":    ("MA ML",      "PA",        "MA ML SA SL",     "DA",     "",     "FA"),
    "forward":    ("MA ML MM",   "PA",        "MA ML SA SL SM",  "DA",     "",     "FA"),
    "calls":      ("MA ML MM ST", "PA ST",    "MA ML SA SL SM ST", "DA ST", "",    "FA ST"),
    "abroad":     ("MA",         "PA",        "MA SA",           "DA",     "",     "FA"),
    "invite":     ("MA",         "PA",        "MA ML SA",        "DA",     "",     "FA"),
    "people":     ("MA",         "PA",        "SA",              "DA",     "",     "FA"),
    "alone":      ("MA",         "PA",        "",                "DA",     "",     "FA"),
    "codes":      ("MA",         "PA",        "SA",              "DA",     "",     "FA"),
    "leave":      ("",           "",          "MA ML SA SL",     "",       "",     ""),
    "approve":    ("ML",         "",          "",                "",       "",     ""),
    "tag":        ("",           "",          "MA ML",           "",       "",     ""),
    "pay":        ("",           "",          "MA ML",           "",       "",     ""),
    "link":       ("MA ML PA DA FA",) * 6,
    "office":     ("ST",         "ST",        "ST",              "ST",     "",     "ST"),
    "file":       ("ST",         "ST",        "ST",              "ST",     "ST",   "ST"),
    "token reads":       ("MTr MTw", "",      "MTr MTw STr STw", "",       "",     ""),
    "token detaches":    ("MTw", "",          "MTw STw",         "",       "",     ""),
    "token makes codes": ("MTw", "",          "STw",             "",       "",     ""),
    "token writes":      ("MTw", "",          "",                "",       "",     ""),
    "token tags":        ("",    "",          "MTw",             "",       "",     ""),
    "no one":     ("",) * 6,
}  # fmt: skip
"""Who gets in, by right and account (in the order of `PLACES`), as short names of people.

It is written here a second time, not read from the application's rules, so that each checks the other.
"""

ROWS = {
    "answers.cancel": "view", "answers.correct_contact_address": "operate",
    "answers.enter_credentials": "operate", "answers.enter_letter": "operate", "answers.enter_link_code": "operate",
    "answers.live": "view", "answers.order_file": "view", "answers.resend": "operate", "answers.retry": "operate",
    "answers.upload": "operate", "portal.show_request": "view",
    "bulks.delete": "operate", "bulks.live": "operate", "bulks.save": "operate", "bulks.send": "operate",
    "bulks.left_out": "operate", "bulks.show": "operate",
    "orders.autosave": "operate", "orders.delete": "operate", "orders.offer": "operate", "orders.place": "operate",
    "orders.resume": "operate", "orders.save_step": "operate", "orders.show_step": "operate",
    "forwardings.add": "forward", "forwardings.edit": "forward", "forwardings.listed": "forward",
    "forwardings.remove": "forward", "telephone.live": "calls", "telephone.show": "calls",
    "link_codes.create": "codes", "link_codes.void": "codes", "locations.contract_holder": "alone",
    "links.choose": "link", "links.send": "link", "locations.detach": "leave",
    "locations.cancel_contracts": "operate",
    "locations.collective_invoice": "pay", "locations.tags": "tag", "api.put_tags": "token tags",
    "api.join_collective_invoice": "token tags", "api.leave_collective_invoice": "token tags",
    "api.show_billing": "token reads",
    "locations.order_numbers": "operate", "locations.move_account": "operate",
    "locations.change_contract": "operate", "locations.destinations": "abroad", "locations.directory": "operate",
    "locations.export_log": "operate",
    "locations.withdraw_from_directory": "operate", "locations.log": "operate", "locations.release": "operate",
    "locations.renew_secret": "operate", "locations.request_uri": "operate", "locations.resume": "operate",
    "locations.secret": "operate", "locations.suspend": "operate",
    "locations.phone_systems": "view", "locations.show": "view",
    "users.ask": "invite", "users.edit": "people", "users.end_token": "people", "users.invite_again": "people",
    "users.listed": "people", "users.make_token": "people", "users.remove": "people", "users.tokens": "people",
    "users.withdraw_invitation": "people", "users.company_factor": "alone",
    "users.approval_limit": "alone", "approvals.decide": "approve", "approvals.decide_file_orders": "approve",
    "office.administrator": "office", "office.customer": "file", "office.request_cancel": "office",
    "office.request_document": "office", "office.request_page": "office", "office.request_retry": "office",
    "office.request_file": "no one", "office.reset_factors": "file",
    "office.withdraw_reset": "file",
    "api.detach_account": "token detaches", "api.make_link_code": "token makes codes",
    "api.show_account": "token reads", "api.show_request": "token reads",
    "api.cancel_request": "token writes", "api.retry_request": "token writes", "api.give_proof": "token writes",
    "api.resend": "token writes", "api.correct_contact_address": "token writes",
    "api.upload_address_document": "token writes", "api.upload_certificate_of_need": "token writes",
}  # fmt: skip
POSTED = {"answers.cancel": "operate"}
"""The right that an endpoint needs for a POST, if it differs from that in `ROWS`, which has all endpoints."""

ELSEWHERE = {"consents", "emails", "logins", "users.invitation", "office.place", "office.jobs_run", "people", "static",
             "carrier", "typeface", "bulks.template", "locations.export", "locations.groups", "locations.table",
             "locations.costs_export", "locations.table_export"}  # fmt: skip
"""Endpoints and blueprints that are not tested here.

Their parameters name nothing of a customer, or contain a secret that gives the right.
"""

CODE = "AAAAA AAAAA"
TYPED: dict[str, dict[str, Any]] = {
    "answers.correct_contact_address": {"email": "kim@example.com"}, "answers.enter_letter": {"code": CODE},
    "answers.enter_link_code": {"code": CODE}, "answers.resend": {"what": "email"},
    "answers.enter_credentials": {"email": "kim@example.com", "password": "wrong"},
    "locations.collective_invoice": {"what": "offer"}, "locations.tags": {"tags": "Nord"},
    "api.put_tags": {"tags": ["Nord"]}, "approvals.decide": {"decision": "approve"},
    "approvals.decide_file_orders": {"decision": "approve"},
    "api.give_proof": {"kind": "link_code", "code": CODE}, "api.resend": {"what": "email"},
    "api.correct_contact_address": {"email": "kim@example.com"},
}  # fmt: skip
"""Valid input by endpoint: invalid input would be refused before the right is checked."""
UPLOADS = {"answers.upload", "api.upload_address_document", "api.upload_certificate_of_need"}


@pytest.fixture(scope="module", autouse=True)
def first_wall_alone(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Switch row-level security off during this module's tests: it would hide that a page lacks its own check."""
    with enforced(postgres, on=False):
        yield


@dataclass
class Place:
    """An account, and the ids of its objects, one of each kind: a trunk, a request and so on.

    `things` has each id by the word that stands before the id in URLs, such as `sip`.
    """

    account: Account
    things: dict[str, Any]


class World:
    """Accounts of all roles and states, and people with every relation to them.

    `places` are the accounts and `people` the users, by name. `clients`, `tokens` and `forms` have a person's browser
    (signed in), API token and CSRF token, by the person's name. "nobody" has a browser without a sign-in.
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self.people: dict[str, User] = {}
        self.places: dict[str, Place] = {}
        self.clients: dict[str, FlaskClient] = {}
        self.tokens: dict[str, str] = {}
        self.forms: dict[str, str] = {}
        self._serial = itertools.count(1)
        with front.database.transaction() as session:
            fill_pool(session)
            self._make(session)
        for name, person in self.people.items():
            self.clients[name] = signed_in(front, person.email)
        self.clients["nobody"] = front.client.application.test_client()
        for name, client in self.clients.items():
            path = "/anmelden" if name == "nobody" else "/anmeldung"
            self.forms[name] = csrf(client.get(path).text)
        with front.database.transaction() as session:
            gone = session.get_one(Membership, (self.people["former"].id, self.places["sub"].account.id))
            session.delete(gone)
            former_main, moved = self.places["former main"].account, self.places["detached"].account
            detach(session, former_main.id, moved.id)

    def _make(self, session: Session) -> None:
        main = self._account(session, "main")
        former_main = self._account(session, "former main")
        for name, main_account, origin in (
            ("sub", main, Origin.ORDER),
            ("detached", former_main, Origin.LINK),
            ("closed", main, Origin.LINK),
        ):
            attach(session, main_account.id, self._account(session, name).id, origin, NOW)
        self._account(session, "foreign")
        former = self.people["former"] = make_user(session)
        join(session, former, self.places["sub"].account)
        self.people["staff"] = make_staff(session)
        for place in self.places.values():
            self._fill(session, place)
        for owner in ("main", "sub"):
            for name, scopes in (("read", {Scope.READ}), ("write", {Scope.READ, Scope.WRITE})):
                person, account = self.people[f"{owner} administrator"], self.places[owner].account
                token = create_token(session, account, person, name, frozenset(scopes), NOW)
                self.tokens[f"{owner} token to {name}"] = token
        session.flush()
        detach(session, main.id, self.places["closed"].account.id)
        session.flush()
        self.places["closed"].account.state = AccountState.CLOSED

    def _account(self, session: Session, name: str) -> Account:
        account = make_account(session, name=name)
        for role in Role if name in ("main", "sub") else (Role.ADMINISTRATOR,):
            person = self.people[f"{name} {role.replace('_', ' ')}"] = make_user(session)
            join(session, person, account, role)
        self.places[name] = Place(account, {})
        return account

    def _fill(self, session: Session, place: Place) -> None:
        account, number = place.account, next(self._serial)
        administrator = self.people[f"{account.name} administrator"]
        manager = principal_of(session, administrator)
        trunk = make_trunk(session, account, f"t{number:012}")
        facts = {"area_code": "0221", "first_number": 49221700300 + 10 * number, "size": 10, "trunk_id": trunk}
        block = NumberBlock(account_id=account.id, available_from=NOW, **facts)
        forwarding = CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+491711234567")
        session.add_all([block, forwarding])
        contract = session.scalars(sa.select(Contract.id).where(Contract.account_id == account.id)).one()
        session.add(ContractItem(contract_id=contract, product_key="directory-entry", monthly_cents=0, one_off_cents=0))
        put_entry(session, account.id, block.first_number, ENTRY, NOW)
        to = Recipient("Ida Invitata", f"ida{number}@example.com", "de")
        invitation = invite(session, manager, account, to, Role.LOCAL_MEMBER, NOW)
        member = make_user(session)
        join(session, member, account, Role.LOCAL_MEMBER)
        create_token(session, account, administrator, "x", frozenset({Scope.READ}), NOW)
        staff = self.people["staff"].id
        session.add(FactorReset(user_id=member.id, asked_by=staff, proof="called back", asked_at=NOW))
        session.flush()
        place.things = {
            "number": account.customer_number, "sip": trunk, "rufnummern": block.id, "rufweiterleitung": forwarding.id,
            "einladungen": invitation.id, "user": member.id, "personen": member.id,
            "api-token": session.scalar(sa.select(sa.func.max(ApiToken.id))), "way": Way.CODE,
        }  # fmt: skip
        if account.main_id is None:
            order = submit_order(session, manager, account, an_order(), NOW)
            draft = begin_draft(session, new_draft_id(session, VAULT, manager), account, manager, NOW)
            draft.keep({"product": "trunk-10"}, DraftStep.PRODUCT, NOW)
            bulk = make_bulk(session, manager, account, [an_order()])
            sent = make_bulk(session, manager, account, [an_order(channels=5)])
            waiting, of_file = (submit_order(session, manager, account, an_order(), NOW) for _ in range(2))
            session.flush()
            of_file.bulk_id = sent.id
            for each in (waiting, of_file):
                until = each.approval_until = NOW + timedelta(days=14)
                each.wait_for(Actor.APPROVER, Reason.APPROVAL_AWAITED, until, NOW, until)
            place.things |= {"freigaben": waiting.id, "datei": sent.id}
            place.things |= {"anfragen": order.id, "requests": order.id, "neu": draft.id, "sammelauftrag": bulk.id}


def cells(world: World, rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield pairs of an account's name and values for the URL's parameters, such as the account's ids.

    Accounts that lack an object which the URL needs are left out.
    """
    for name in PLACES:
        things = world.places[name].things
        values = {}
        for parameter in rule.arguments:
            before = rule.rule.split(f"{parameter}>")[0].rsplit("/", 2)[-2]
            word = {"customer_number": "number", "number": "number", "user_id": "user", "way": "way"}.get(parameter)
            if parameter == "slug":
                values["slug"] = "produkt"
            elif parameter == "form":
                values["form"] = "csv"
            elif (thing := things.get(word or before)) is not None:
                values[parameter] = thing
        if set(values) == rule.arguments:
            yield name, values


class Visit:
    """Requests URLs as different people, each time with the same rows in the database; `count` counts the requests."""

    def __init__(self, world: World, rows: KeptRows) -> None:
        self.world, self.rows = world, rows
        self.app = world.front.client.application
        self.count = 0

    def enters(self, who: str, rule: Rule, method: str, values: dict[str, Any]) -> bool:
        """Request the URL of `rule` as the person named `who`; return whether that person gets in.

        False for 401, 403 and 404, and for a redirect to the sign-in page. `values` are the values of the URL's
        parameters. Rows that the request has changed are restored.
        """
        self.count += 1
        forget_attempts(self.app)
        path = self.app.url_map.bind("localhost").build(rule.endpoint, values, method=method)
        typed: dict[str, Any] = dict(TYPED.get(rule.endpoint, {}))
        if rule.endpoint in UPLOADS:
            typed["file"] = (io.BytesIO(PDF), "x.pdf")
        if rule.endpoint.startswith("api."):
            status = self._by_token(who, rule.endpoint, method, path, typed)
        else:
            form = {"csrf_token": self.world.forms[who], **typed} if method == "POST" else None
            answer = self.world.clients[who].open(path, method=method, data=form)
            status = 401 if "/anmelden" in answer.headers.get("Location", "") else answer.status_code
        assert status < 500, (who, method, path)
        if method != "GET" and status < 400:
            self.rows.restore()
        return status not in (401, 403, 404)

    def _by_token(self, who: str, endpoint: str, method: str, path: str, typed: dict[str, Any]) -> int:
        head = {"Authorization": f"Bearer {self.world.tokens[who]}"}
        if method != "GET":
            head["Idempotency-Key"] = f"{method} {path}"
        sent: dict[str, Any] = {"data": typed} if endpoint in UPLOADS else {"json": typed or None}
        return self.world.front.client.open(path, method=method, headers=head, **sent).status_code


def test_who_gets_in_where(front: Front, front_of: FrontOf, registrar_url: str, superuser: sa.Engine) -> None:
    front.client = front_of(registrar_url=registrar_url)
    world = World(front)
    wrong, seen, cell = [], set(), 0
    with kept_rows(superuser) as rows:
        visit = Visit(world, rows)
        for rule in front.client.application.url_map.iter_rules():
            endpoint = rule.endpoint
            if not rule.arguments or {endpoint, endpoint.split(".")[0]} & ELSEWHERE:
                continue
            seen.add(endpoint)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                right = POSTED.get(endpoint, ROWS[endpoint]) if method == "POST" else ROWS[endpoint]
                for place, values in cells(world, rule):
                    allowed = REACH[right][PLACES.index(place)].split()
                    for code, name in PEOPLE.items():
                        if (name in world.tokens) != endpoint.startswith("api."):
                            continue
                        cell += 1
                        if cell % TURNS == 0 and visit.enters(name, rule, method, values) != (code in allowed):
                            wrong.append(
                                f"{code} {method} {endpoint} at {place}: {'shut' if code in allowed else 'open'}"
                            )
    assert not wrong, "\n".join(wrong)
    assert seen == set(ROWS)
    assert visit.count == cell // TURNS
    assert cell > 5_000
