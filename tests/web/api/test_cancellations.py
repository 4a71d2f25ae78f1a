"""Tests of cancelling accounts through the API.

The answer names the day on which the contracts end. A repeated call cancels once; until that day the request can be
withdrawn. Only those may cancel who may change the contracts.
"""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.calendar_days import berlin_day, first_moment
from models.contracts.terms import months_later
from models.people.rights import Scope
from models.requests.requests import Request
from models.states import AccountState, Origin
from tests.factories import NOW, make_account
from tests.web.api.calls import token_of
from tests.web.conftest import Back, Front
from tests.web.portal.accounts.sites import Site

EARLIEST = months_later(berlin_day(NOW), 1)


def a_cancellation(site: Site, last_day: date | None = None) -> dict[str, str]:
    """Return the JSON body of a call that cancels the site's account with `last_day` (None: as early as possible)."""
    body = {"customer_number": site.account.customer_number}
    return body if last_day is None else {**body, "last_day": last_day.isoformat()}


def test_a_cancellation_says_its_day_and_ends_the_account_with_it(front: Front, back: Back, site: Site) -> None:
    answer = front.post("/cancellations", a_cancellation(site), **{"Accept-Language": "en"})
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/requests/{body['id']}"
    assert (body["kind"], body["status"], body["change"]) == ("cancel", "acknowledged", None)
    assert body["cancellation"] == {"last_day": EARLIEST.isoformat(), "monthly_cents": 2500}
    assert body["next"]["what"].startswith("The contracts end with the end of ")
    back.clock.now = first_moment(EARLIEST + timedelta(days=1))
    back.advance()
    done = front.get(f"/requests/{body['id']}").get_json()
    assert (done["status"], done["cancellation"]) == ("completed", body["cancellation"])
    assert [entry["code"] for entry in done["timeline"]][:3] == ["cancellation_received", "contract_ended", "completed"]
    assert front.get(f"/accounts/{site.account.customer_number}").status_code == 404
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).state is AccountState.CLOSED


def test_the_same_key_cancels_once_and_another_one_is_told_of_the_first(front: Front, site: Site) -> None:
    first, second = (front.post("/cancellations", a_cancellation(site), key="once") for _ in range(2))
    assert first.get_json() == second.get_json() and second.headers["Idempotency-Replayed"] == "true"
    other = front.post("/cancellations", a_cancellation(site))
    assert (other.status_code, other.get_json()["type"]) == (409, "/problems/already_requested")
    assert first.get_json()["id"] in other.get_json()["detail"]
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 1


def test_it_is_taken_back(front: Front, back: Back, site: Site) -> None:
    id = front.post("/cancellations", a_cancellation(site)).get_json()["id"]
    taken_back = front.post(f"/requests/{id}/cancel").get_json()
    assert (taken_back["status"], taken_back["reason"]) == ("cancelled", "cancelled_by_requester")
    back.clock.now = first_moment(EARLIEST + timedelta(days=2))
    back.advance()
    assert any("zurückgenommen" in mail.subject for mail in back.mailer.sent)
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).state is AccountState.ACTIVE


@pytest.mark.parametrize(
    ("last_day", "code"),
    [
        ((EARLIEST - timedelta(days=1)).isoformat(), "before_earliest_end"),
        ((EARLIEST + timedelta(days=367)).isoformat(), "end_too_far"),
        ("2026-02-30", "value_error"),
        ("31.12.2026", "value_error"),
    ],
)
def test_a_day_that_is_not_possible_is_named(front: Front, site: Site, last_day: str, code: str) -> None:
    answer = front.post("/cancellations", {**a_cancellation(site), "last_day": last_day})
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["field"] == "last_day"
    if code != "value_error":
        assert error["code"] == code


def test_who_may_not_change_contracts_may_not_cancel(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        stranger = make_account(session)
        linked = make_account(session)
        attach(session, front.main.id, linked.id, Origin.LINK, NOW)
    assert front.post("/cancellations", {"customer_number": stranger.customer_number}).status_code == 404
    assert front.post("/cancellations", {"customer_number": linked.customer_number}).status_code == 403
    front.token = front.token_with(Scope.READ)
    assert front.post("/cancellations", a_cancellation(site)).status_code == 403


def test_a_main_account_is_told_the_way_out(front: Front, site: Site) -> None:
    body = {"customer_number": front.main.customer_number}
    answer = front.post("/cancellations", body, **{"Accept-Language": "en"})
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/cannot_close")
    assert "Cancel or detach these first" in answer.get_json()["detail"]


def test_an_own_account_names_its_running_request_in_the_list_as_alone(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        detach(session, front.main.id, site.account.id)
    front.token = token_of(front, site.account, site.administrator)
    id = front.post("/cancellations", a_cancellation(site)).get_json()["id"]
    alone = front.get(f"/accounts/{site.account.customer_number}").get_json()
    assert alone["request"] == id
    assert front.get("/accounts").get_json()["items"] == [alone]
