"""Tests of ordering more numbers for a trunk through the API, at once or for a later day.

The answer names the price. Above a hundred numbers, a certificate of need has to be uploaded. Only those may order who
may change the contracts.
"""

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
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_user
from tests.web.api.calls import PDF, token_of, upload
from tests.web.conftest import Back, Front
from tests.web.portal.accounts.sites import Site, make_site, make_trunk

BERLIN = {"street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"}
DAY = (berlin_day(NOW) + timedelta(days=30)).isoformat()


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location: a sub-account with a trunk, whose contract has the tariff for ten channels."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER, **BERLIN)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2500, one_off_cents=2900))
    return site


def body_of(site: Site, size: int = 10, area_code: str = "030", **more: Any) -> dict[str, Any]:
    """Return the JSON body of a call that asks for more numbers for the site's trunk; `more` are further fields."""
    numbers = {"area_code": area_code, "block_size": size}
    return {"customer_number": site.account.customer_number, "numbers": numbers, **more}


def test_numbers_are_accepted_with_their_price_and_added(front: Front, back: Back, site: Site) -> None:
    answer = front.post("/numbers", body_of(site))
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/requests/{body['id']}"
    assert (body["kind"], body["status"], body["change"]) == ("numbers", "acknowledged", None)
    # The agreed price stands, not that of the list.
    assert body["numbers"] == {
        "area_code": "030", "block_size": 10, "first_number": None, "last_number": None,
        "monthly_cents_before": 2500, "monthly_cents": 2790, "one_off_cents": 990,
    }  # fmt: skip
    back.advance_to_the_network()
    done = front.get(f"/requests/{body['id']}").get_json()
    assert done["status"] == "completed"
    first, last = done["numbers"]["first_number"], done["numbers"]["last_number"]
    assert first.startswith("+4930") and int(last) - int(first) == 9
    assert [entry["code"] for entry in done["timeline"]][:3] == [
        "numbers_received", "numbers_reserved", "numbers_added",
    ]  # fmt: skip


def test_the_same_key_asks_once(front: Front, site: Site) -> None:
    first, second = (front.post("/numbers", body_of(site), key="once") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert front.post("/numbers", body_of(site, size=1), key="once").status_code == 422
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).where(Request.kind == "numbers")) == 1


def test_numbers_of_a_day_are_reserved_and_taken_back(front: Front, back: Back, site: Site) -> None:
    id = front.post("/numbers", body_of(site, effective_on=DAY)).get_json()["id"]
    back.advance()
    waiting = front.get(f"/requests/{id}").get_json()
    assert (waiting["effective_on"], waiting["status"]) == (DAY, "in_progress")
    assert waiting["numbers"]["first_number"] is not None
    cancelled = front.post(f"/requests/{id}/cancel")
    assert (cancelled.status_code, cancelled.get_json()["numbers"]["first_number"]) == (200, None)


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"numbers": {"area_code": "089", "block_size": 10}}, "numbers.area_code", "030 (Berlin)"),
        ({"numbers": {"area_code": "030", "block_size": 20}}, "numbers.block_size", "1, 10, 100"),
        ({"effective_on": "2020-01-01"}, "effective_on", "vorbei"),
        ({"more": 1}, "more", ""),
    ],
)
def test_what_is_wrong_is_named(front: Front, site: Site, wrong: dict[str, Any], field: str, said: str) -> None:
    answer = front.post("/numbers", {**body_of(site), **wrong})
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["field"] == field and said in error["detail"]


def test_beyond_a_hundred_numbers_a_certificate_is_handed_in(front: Front, back: Back, site: Site) -> None:
    assert front.post("/numbers", body_of(site)).status_code == 202
    id = front.post("/numbers", body_of(site, size=100)).get_json()["id"]
    assert upload(front, id, PDF, key="soon", to="certificate").status_code == 409
    back.advance()
    body = front.get(f"/requests/{id}").get_json()
    assert (body["status"], body["reason"], body["next"]["actor"]) == ("pending", "need_not_proved", "requester")
    [proof] = body["proofs"]
    assert (proof["kind"], proof["state"], proof["until"]) == ("certificate", "open", body["next"]["until"])
    assert upload(front, id, PDF, key="wrong").get_json()["type"] == "/problems/not_awaited"
    assert upload(front, id, b"x", key="no", to="certificate").status_code == 422
    answers = [upload(front, id, PDF, key="once", to="certificate") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    back.advance()
    body = front.get(f"/requests/{id}").get_json()
    assert (body["reason"], body["next"]["actor"]) == ("certificate_in_review", "carrier")
    codes = [entry["code"] for entry in body["timeline"]]
    assert codes.count("certificate_received") == 1


def test_of_several_trunks_one_is_named(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        make_trunk(session, session.get_one(Account, site.account.id), "t000000000777")
    answer = front.post("/numbers", body_of(site))
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "sip_user")
    assert front.post("/numbers", body_of(site, sip_user="t000000000777")).status_code == 202
    assert front.post("/numbers", body_of(site, sip_user="t999999999999")).status_code == 404


def test_the_numbers_of_a_linked_account_are_its_own_peoples_affair(front: Front) -> None:
    with front.database.transaction() as session:
        linked = make_site(session, session.get_one(Account, front.main.id), Origin.LINK, **BERLIN)
    assert front.post("/numbers", body_of(linked)).status_code == 403
    front.token = token_of(front, linked.account, linked.administrator)
    assert front.post("/numbers", body_of(linked)).status_code == 202


def test_only_those_get_numbers_who_may_change_the_contract(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
        foreign = make_account(session, administrator=stranger)
    manager = front.token
    front.token = front.token_with(Scope.READ)
    assert front.post("/numbers", body_of(site)).status_code == 403
    front.token = outsider = token_of(front, foreign, stranger)
    assert front.post("/numbers", body_of(site)).status_code == 404
    front.token = token_of(front, site.account, site.administrator)
    id = front.post("/numbers", body_of(site, effective_on=DAY)).get_json()["id"]
    front.token = outsider
    assert front.get(f"/requests/{id}").status_code == 404
    # The main account's people see what the local team has asked for, and may take it back.
    front.token = manager
    assert front.post(f"/requests/{id}/cancel").status_code == 200


def test_a_former_main_account_sees_no_numbers(front: Front, back: Back, site: Site) -> None:
    id = front.post("/numbers", body_of(site)).get_json()["id"]
    back.advance()
    with front.database.transaction() as session:
        join(session, make_user(session), session.get_one(Account, site.account.id))
        detach(session, front.main.id, site.account.id)
    assert front.get(f"/requests/{id}").get_json()["numbers"] is None
