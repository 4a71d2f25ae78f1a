"""Tests of moves to another connection address through the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import berlin_day
from models.contracts.contracts import ContractItem
from models.people.rights import Scope
from models.requests.requests import Request
from models.states import Origin
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_user
from tests.web.api.calls import PDF, token_of, upload
from tests.web.conftest import Back, Front
from tests.web.portal.accounts.sites import Site, give_numbers, make_site

KOELN = {"street": "Alter Markt 1", "postal_code": "50667", "city": "Köln"}
BERLIN = {"street": "Invalidenstr. 10", "postal_code": "10115", "city": "Berlin"}
DAY = (berlin_day(NOW) + timedelta(days=30)).isoformat()


@pytest.fixture
def site(front: Front) -> Site:
    """Create a sub-account in Köln that was ordered, with ten numbers."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER, **KOELN)
        give_numbers(session, site)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2500, one_off_cents=2900))
    return site


def body_of(site: Site, **more: Any) -> dict[str, Any]:
    """Return the JSON body of a call that asks for a move of the site to Berlin; `more` are further fields."""
    return {"customer_number": site.account.customer_number, "location": BERLIN, **more}


def test_a_move_says_what_goes_and_comes_is_proved_and_made(front: Front, back: Back, site: Site) -> None:
    answer = front.post("/moves", body_of(site))
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/requests/{body['id']}"
    assert (body["kind"], body["status"], body["numbers"]) == ("move", "acknowledged", None)
    [replaced] = body["move"].pop("replaced")
    assert body["move"] == {
        "before": KOELN, "after": BERLIN, "area_code": "030",
        "monthly_cents_before": 2500, "monthly_cents": 2500, "one_off_cents": 0,
    }  # fmt: skip
    assert replaced == {
        "replaced_first_number": "+49221700340", "replaced_last_number": "+49221700349",
        "first_number": None, "last_number": None,
    }  # fmt: skip
    back.advance()
    waiting = front.get(f"/requests/{body['id']}").get_json()
    assert (waiting["status"], waiting["reason"]) == ("pending", "address_not_proved")
    assert [proof["kind"] for proof in waiting["proofs"]] == ["letter"]
    first = waiting["move"]["replaced"][0]["first_number"]
    assert first.startswith("+4930")
    assert upload(front, body["id"], PDF).status_code == 200
    back.advance()
    reviewed = front.get(f"/requests/{body['id']}").get_json()
    assert (reviewed["reason"], reviewed["next"]["actor"]) == ("document_in_review", "carrier")
    code = back.letter_code()
    proof = front.post(f"/requests/{body['id']}/proofs", {"kind": "letter_code", "code": code})
    assert proof.status_code == 200
    back.advance_to_the_network()
    done = front.get(f"/requests/{body['id']}").get_json()
    assert done["status"] == "completed"
    assert done["move"]["replaced"][0]["first_number"] == first
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        assert {name: getattr(account, name) for name in BERLIN} == BERLIN
        owned = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == account.id)).one()
        assert f"+{owned.first_number}" == first


def test_the_same_key_asks_once(front: Front, site: Site) -> None:
    first, second = (front.post("/moves", body_of(site), key="once") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert front.post("/moves", body_of(site, effective_on=DAY), key="once").status_code == 422
    again = front.post("/moves", body_of(site))
    assert (again.status_code, again.get_json()["type"]) == (409, "/problems/already_requested")
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).where(Request.kind == "move")) == 1


def test_a_move_of_a_day_is_taken_back(front: Front, back: Back, site: Site) -> None:
    id = front.post("/moves", body_of(site, effective_on=DAY, numbers={"area_code": "030"})).get_json()["id"]
    back.advance()
    cancelled = front.post(f"/requests/{id}/cancel")
    assert cancelled.status_code == 200
    assert cancelled.get_json()["move"]["replaced"][0]["first_number"] is None
    assert front.post("/moves", body_of(site)).status_code == 202


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"location": KOELN}, "location.street", "jetzige Anschlussadresse"),
        ({"location": {**BERLIN, "street": "Invalidenstr."}}, "location.street", "Hausnummer"),
        ({"location": {**BERLIN, "postal_code": "50667"}}, "location.postal_code", "Köln"),
        ({"location": {**BERLIN, "name": "x"}}, "location.name", "Dieses Feld gibt es nicht"),
        ({"numbers": {"area_code": "0221"}}, "numbers.area_code", "030 (Berlin)"),
        ({"effective_on": "2020-01-01"}, "effective_on", "vorbei"),
    ],
)
def test_what_is_wrong_is_named(front: Front, site: Site, change: dict[str, Any], field: str, says: str) -> None:
    answer = front.post("/moves", body_of(site) | change)
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["field"] == field and says in error["detail"]


def test_only_those_move_who_may_change_the_contract(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
        foreign = make_account(session, administrator=stranger)
    manager = front.token
    front.token = front.token_with(Scope.READ)
    assert front.post("/moves", body_of(site)).status_code == 403
    front.token = outsider = token_of(front, foreign, stranger)
    assert front.post("/moves", body_of(site)).status_code == 404
    front.token = token_of(front, site.account, site.administrator)
    id = front.post("/moves", body_of(site, effective_on=DAY)).get_json()["id"]
    front.token = outsider
    assert front.get(f"/requests/{id}").status_code == 404
    # The main account's people see what the local team has asked for, and may take it back.
    front.token = manager
    assert front.post(f"/requests/{id}/cancel").status_code == 200


def test_a_former_main_account_does_not_see_where_it_moves(front: Front, site: Site) -> None:
    id = front.post("/moves", body_of(site)).get_json()["id"]
    with front.database.transaction() as session:
        join(session, make_user(session), session.get_one(Account, site.account.id))
        detach(session, front.main.id, site.account.id)
    assert front.get(f"/requests/{id}").get_json()["move"] is None
