"""Tests of requesting a change of a trunk's contract through the API, at once or for a later day.

The answer has the terms before and after. A planned change can be cancelled. Only those may request one who may change
the contracts.
"""

from __future__ import annotations

from datetime import timedelta
from threading import Semaphore
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import berlin_day
from models.people.rights import Scope
from models.people.users import User
from models.requests.requests import Request
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_user
from tests.web.api.calls import token_of
from tests.web.conftest import Back, Front
from tests.web.portal.accounts.sites import Site, make_site, make_trunk
from web.resources import resources

DAY = (berlin_day(NOW) + timedelta(days=30)).isoformat()


def a_change(site: Site, **more: Any) -> dict[str, Any]:
    """Return the JSON body of a call that asks for fifty channels for the site's trunk; `more` are further fields."""
    return {"customer_number": site.account.customer_number, "product": "trunk-50", "channels": 50, **more}


def test_a_change_is_accepted_with_its_terms_and_done(front: Front, back: Back, site: Site) -> None:
    answer = front.post("/changes", a_change(site))
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/requests/{body['id']}"
    assert (body["kind"], body["status"]) == ("change", "acknowledged")
    # The agreed price stands, not that of the list.
    assert body["change"] == {
        "effective_on": None,
        "before": {"product": "trunk-10", "channels": 4, "monthly_cents": 2500, "one_off_cents": 0},
        "after": {"product": "trunk-50", "channels": 50, "monthly_cents": 9990, "one_off_cents": 9900},
    }
    back.advance_to_the_network()
    done = front.get(f"/requests/{body['id']}").get_json()
    assert done["status"] == "completed"
    assert [entry["code"] for entry in done["timeline"]][:3] == ["change_received", "changed", "completed"]
    with front.database.transaction() as session:
        assert session.get_one(SipTrunk, site.trunk).channels == 50


@pytest.mark.parametrize("deed", ["change", "detach"])
def test_a_token_of_the_main_account_serves_a_person_with_a_role_in_the_sub_account(
    front: Front, site: Site, deed: str
) -> None:
    with front.database.transaction() as session:
        join(session, session.get_one(User, front.manager.user_id), session.get_one(Account, site.account.id))
    if deed == "change":
        answer = front.post("/changes", a_change(site))
    else:
        answer = front.delete(f"/accounts/{site.account.customer_number}/link")
    assert answer.status_code == 202


def test_the_same_key_changes_once(front: Front, site: Site) -> None:
    first, second = (front.post("/changes", a_change(site, effective_on=DAY), key="once") for _ in range(2))
    assert first.get_json() == second.get_json()
    assert second.headers["Idempotency-Replayed"] == "true"
    other = front.post("/changes", a_change(site, effective_on=DAY, channels=20), key="once")
    assert other.status_code in (409, 422)
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 1


def test_a_planned_change_says_when_and_is_taken_back(front: Front, back: Back, site: Site) -> None:
    body = front.post("/changes", a_change(site, effective_on=DAY), **{"Accept-Language": "en"}).get_json()
    assert body["change"]["effective_on"] == DAY
    assert body["next"]["what"] == "We change the contract at the beginning of 1 April 2026."
    earlier = front.post("/changes", a_change(site, channels=20)).get_json()
    assert [(error["field"], error["code"]) for error in earlier["errors"]] == [("effective_on", "after_planned")]
    assert "1. April 2026" in earlier["errors"][0]["detail"] or "1 April 2026" in earlier["errors"][0]["detail"]
    assert front.post(f"/requests/{body['id']}/cancel").get_json()["status"] == "cancelled"
    assert front.post("/changes", a_change(site, channels=20)).status_code == 202


@pytest.mark.parametrize(
    ("wrong", "field", "code"),
    [
        ({"channels": 51}, "channels", "channels_out_of_range"),
        ({"channels": 0}, "channels", "greater_than_equal"),
        ({"product": "block-10"}, "product", "unknown_product"),
        ({"product": "trunk-10", "channels": 4}, "channels", "nothing_changes"),
        ({"effective_on": "2026-03-01"}, "effective_on", "day_passed"),
        ({"effective_on": "2028-01-01"}, "effective_on", "day_too_far"),
        ({"effective_on": "2026-02-30"}, "effective_on", "value_error"),
        ({"effective_on": 20260401}, "effective_on", "value_error"),
        ({"sip_user": "a b"}, "sip_user", "string_pattern_mismatch"),
    ],
)
def test_a_wrong_field_is_named(front: Front, site: Site, wrong: dict[str, Any], field: str, code: str) -> None:
    answer = front.post("/changes", a_change(site, **wrong))
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.get_json()["errors"]] == [(field, code)]


def test_of_several_trunks_one_is_named(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        make_trunk(session, account, "t000000000777")
    answer = front.post("/changes", a_change(site))
    assert answer.get_json()["errors"][0]["field"] == "sip_user"
    assert "t000000000777" in answer.get_json()["errors"][0]["detail"]
    assert front.post("/changes", a_change(site, sip_user="t000000000777")).status_code == 202
    assert front.post("/changes", a_change(site, sip_user="t999999999999")).status_code == 404


def test_the_contract_of_a_linked_account_stays_with_its_own_people(front: Front) -> None:
    with front.database.transaction() as session:
        linked = make_site(session, session.get_one(Account, front.main.id))
    assert front.post("/changes", a_change(linked)).status_code == 403
    front.token = token_of(front, linked.account, linked.administrator)
    assert front.post("/changes", a_change(linked)).status_code == 202


def test_only_those_change_who_may(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
        foreign = make_account(session, administrator=stranger)
    outsider, local = token_of(front, foreign, stranger), token_of(front, site.account, site.administrator)
    change = a_change(site, effective_on=DAY)
    front.token, manager = outsider, front.token
    assert front.post("/changes", change).status_code == 404
    front.token = manager
    reader = front.token_with(Scope.READ)
    front.token = reader
    assert front.post("/changes", change).status_code == 403
    front.token = local
    answer = front.post("/changes", change)
    assert answer.status_code == 202
    # The main account's people see what the local team has asked for, and may take it back.
    front.token = manager
    assert front.get(f"/requests/{answer.get_json()['id']}").status_code == 200
    front.token = outsider
    assert front.get(f"/requests/{answer.get_json()['id']}").status_code == 404
    front.token = manager
    assert front.post(f"/requests/{answer.get_json()['id']}/cancel").status_code == 200


def test_a_former_main_account_sees_no_terms_and_the_account_keeps_its_change(front: Front, site: Site) -> None:
    id = front.post("/changes", a_change(site, effective_on=DAY)).get_json()["id"]
    with front.database.transaction() as session:
        owner = make_user(session)
        join(session, owner, session.get_one(Account, site.account.id))
        detach(session, front.main.id, site.account.id)
    assert front.get(f"/requests/{id}").get_json()["change"] is None
    front.token = token_of(front, site.account, owner)
    [listed] = front.get("/requests").get_json()["items"]
    assert (listed["id"], listed["change"]["after"]["channels"]) == (id, 50)


def test_a_change_is_one_transaction_with_the_question_who_calls(
    front: Front, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front.client.application.app_context():
        database = resources().database
    # One turn: a call that needs two at once waits for itself.
    monkeypatch.setattr(database, "_turns", Semaphore(1))
    assert front.post("/changes", a_change(site, effective_on=DAY)).status_code == 202
