"""Tests of the API calls that put a sub-account on the collective invoice of its main account, and take it off."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.links.collective_invoices import CollectiveInvoiceItem
from models.people.users import User
from models.requests.requests import Request
from models.states import Kind, Origin
from tests.factories import NOW, join, make_account, make_user
from tests.web.conftest import Back, Front

OWN = {"state": "own", "invoice": None, "asked_until": None, "detachment": None}


@pytest.fixture
def account(front: Front) -> Account:
    """Create a linked sub-account that nobody administers; return it."""
    with front.database.transaction() as session:
        account = make_account(session, name="Filiale Bonn")
        attach(session, front.main.id, account.id, Origin.LINK, NOW)
        return account


def call(front: Front, method: str, account: Account, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    path = f"/api/v1/accounts/{account.customer_number}/collective-invoice{query}"
    headers = {"Authorization": f"Bearer {front.token}", **headers}
    answer = front.client.open(path, method=method, headers=headers)
    return answer.status_code, answer.get_json()


def administer(front: Front, account: Account, *, by_manager: bool = False) -> str:
    """Give the account an administrator: somebody of its own, or the main account's manager; return the address."""
    with front.database.transaction() as session:
        user = make_user(session, name="Bea Bonn", email="bea@bonn.example")
        join(session, user, account)
        if by_manager:
            join(session, session.get_one(User, front.manager.user_id), account)
        return user.email


def test_an_account_that_nobody_administers_joins_at_once_and_leaves(front: Front, account: Account) -> None:
    assert call(front, "GET", account) == (200, OWN)
    status, joined = call(front, "PUT", account)
    assert (status, joined["state"]) == (200, "joined") and joined["invoice"].startswith("SR-")
    assert call(front, "PUT", account) == (200, joined) == call(front, "GET", account)
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(CollectiveInvoiceItem)) == 1
    assert call(front, "DELETE", account) == (200, OWN) == call(front, "DELETE", account)
    with front.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id == front.main.id


def test_administrators_of_the_account_are_asked_once_and_the_question_is_taken_back(
    front: Front, account: Account, back: Back
) -> None:
    address = administer(front, account)
    status, asked = call(front, "PUT", account)
    assert (status, asked["state"], asked["invoice"]) == (200, "asked", None) and asked["asked_until"] > "2026-03-10"
    assert call(front, "PUT", account) == (200, asked)
    back.advance()
    assert [mail.recipient_address for mail in back.mailer.sent] == [address]
    assert call(front, "DELETE", account) == (200, OWN)
    status, refused = call(front, "PUT", account)
    assert (status, refused["type"]) == (429, "/problems/too_early")


def test_a_token_reaches_its_account_only_also_if_its_person_administers_both(front: Front, account: Account) -> None:
    administer(front, account, by_manager=True)
    assert call(front, "PUT", account)[1]["state"] == "asked"


def test_an_account_that_nobody_could_go_on_with_is_not_detached(front: Front, account: Account) -> None:
    call(front, "PUT", account)
    status, refused = call(front, "DELETE", account, "?detach=true")
    assert (status, refused["type"]) == (409, "/problems/rule_broken")
    assert call(front, "GET", account)[1]["state"] == "joined"


def test_other_tokens_neither_see_nor_change_the_billing(front: Front) -> None:
    with front.database.transaction() as session:
        stranger = make_account(session)
    for method in ("GET", "PUT", "DELETE"):
        assert call(front, method, stranger)[0] == 404
    assert call(front, "PUT", front.main)[0] == 403


def test_a_detachment_after_leaving_is_answered_again_with_its_key(front: Front, account: Account, back: Back) -> None:
    call(front, "PUT", account)
    administer(front, account)
    status, left = call(front, "DELETE", account, "?detach=true", **{"Idempotency-Key": "a"})
    assert status == 200 and left["state"] == "own" and left["detachment"].startswith("/api/v1/requests/")
    back.advance()
    with front.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id is None
        assert session.scalars(sa.select(Request.kind)).all() == [Kind.DETACH]
    assert call(front, "DELETE", account, "?detach=true", **{"Idempotency-Key": "a"}) == (200, left)
    assert call(front, "DELETE", account, "?detach=true")[0] == 404
