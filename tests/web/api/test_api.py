"""Tests of rules that hold for all calls of the JSON API, and of its OpenAPI document.

A call without a valid token, or beyond the token's scopes, is refused. What belongs to others does not exist for the
caller. Lists come in pages. The document describes every URL, and every error as problem details.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.links.links import submit_detach
from models.people.rights import Scope
from models.requests.requests import Request
from models.states import AccountState, Origin, Reason, StepName
from tests.factories import NOW, an_order, join, make_main, make_user, submit_order
from tests.web.conftest import ORDER, Front


def test_what_is_no_json_or_has_no_key_is_refused(front: Front) -> None:
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "one"}
    post = front.client.post
    assert post("/api/v1/orders", data="{", headers=head, content_type="application/json").status_code == 400
    assert post("/api/v1/orders", data="a=1", headers=head).status_code == 415
    del head["Idempotency-Key"]
    answer = post("/api/v1/orders", json=ORDER, headers=head)
    assert answer.get_json()["type"] == "/problems/idempotency_key_missing"
    assert front.client.get("/api/v1/nothing").content_type == "application/problem+json"
    assert front.client.delete("/api/v1/orders").status_code == 405


def test_without_a_good_token_nothing_is_said(front: Front) -> None:
    for value in ("", "Bearer", "Bearer sv_wrong", f"Basic {front.token}"):
        answer = front.client.get("/api/v1/requests", headers={"Authorization": value})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_is_held_to_its_scopes(front: Front) -> None:
    front.token = front.token_with(Scope.READ)
    assert front.post("/orders", ORDER).status_code == 403
    assert front.get("/requests").status_code == 200
    front.token = front.token_with(Scope.WRITE)
    accepted = front.post("/orders", ORDER)
    assert accepted.status_code == 202
    assert front.get("/requests").status_code == 403


def test_what_belongs_to_others_does_not_exist(front: Front) -> None:
    mine = front.post("/orders", ORDER).get_json()["id"]
    with front.database.transaction() as session:
        front.main, front.manager = make_main(session)
        theirs = session.scalars(sa.select(Request.customer_number)).one()
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    for id in (mine, "no-uuid", "01890000-0000-7000-8000-000000000000"):
        assert front.get(f"/requests/{id}").status_code == 404
        assert front.post(f"/requests/{id}/cancel").status_code == 404
    assert front.get("/requests").get_json()["items"] == []
    assert front.get(f"/accounts/{theirs}").status_code == 404


def test_cancel_closes_the_account_and_is_final(front: Front) -> None:
    accepted = front.post("/orders", ORDER).get_json()
    cancelled = front.post(f"/requests/{accepted['id']}/cancel")
    assert cancelled.status_code == 200
    assert (cancelled.get_json()["status"], cancelled.get_json()["next"]) == ("cancelled", None)
    assert front.get(f"/accounts/{accepted['customer_number']}").status_code == 404
    again = front.post(f"/requests/{accepted['id']}/cancel")
    assert (again.status_code, again.get_json()["type"]) == (409, "/problems/too_late")


def test_requests_and_accounts_come_in_pages(front: Front) -> None:
    ids = [front.post("/orders", ORDER).get_json()["id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = front.get(f"/requests?limit=2{cursor}").get_json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]
    first = front.get("/accounts?limit=3").get_json()
    rest = front.get(f"/accounts?limit=3&cursor={first['next_cursor']}").get_json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (4, 2, None)
    assert front.get("/requests?cursor=x").status_code == 422
    assert front.get("/accounts?cursor=x").status_code == 422
    assert front.get("/requests?status=held").get_json()["items"] == []


def test_an_account_with_two_running_requests_is_listed_once(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        order = submit_order(session, front.manager, main, an_order(), NOW)
        account = order.account
        assert account is not None
        # The order is held at its last step, and the account is being detached.
        attach(session, main.id, account.id, Origin.ORDER, NOW)
        account.state = AccountState.ACTIVE
        join(session, make_user(session), account)
        order.go_on(StepName.CONFIRM, NOW)
        order.hold(Reason.INTERNAL_ERROR, NOW)
        session.flush()
        detach = submit_detach(session, front.manager, account, "de", NOW)
    items = front.get("/accounts").get_json()["items"]
    assert [(item["customer_number"], item["request"]) for item in items[1:]] == [
        (order.customer_number, str(detach.id))
    ]


def test_the_document_is_openapi_3_1_and_knows_every_address(front: Front) -> None:
    document = front.client.get("/api/v1/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    assert {
        "/api/v1/orders",
        "/api/v1/link-requests",
        "/api/v1/requests",
        "/api/v1/requests/{id}",
        "/api/v1/requests/{id}/cancel",
        "/api/v1/requests/{id}/retry",
        "/api/v1/accounts",
        "/api/v1/accounts/{customer_number}",
        "/api/v1/products",
    } <= set(document["paths"])
    order = document["paths"]["/api/v1/orders"]["post"]
    assert order["parameters"][0]["name"] == "Idempotency-Key"
    assert set(document["components"]["schemas"]["OrderBody"]["required"]) >= {"product", "channels", "location"}


def test_the_document_names_every_error_as_problem_details(front: Front) -> None:
    paths = front.client.get("/api/v1/openapi.json").get_json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
            assert errors.keys() >= {"400", "401", "403", "405", "415", "422", "500", "503"}, (method, path)
            assert errors["405"]["headers"]["Allow"]["required"], (method, path)
            keys = [one["required"] for one in operation.get("parameters", []) if one["name"] == "Idempotency-Key"]
            assert keys == {"post": [True], "delete": [False]}.get(method, []), (method, path)
            assert all(answer["content"].keys() == {"application/problem+json"} for answer in errors.values())
            assert ("404" in errors, "413" in errors) >= ("{" in path, method == "post"), (method, path)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
def test_a_method_that_is_not_known_is_answered_with_those_that_are(front: Front, method: str) -> None:
    answer = front.client.open("/api/v1/orders", method=method, headers={"Authorization": f"Bearer {front.token}"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")


def test_a_key_that_stands_twice_is_named_and_an_encoded_body_is_refused(front: Front) -> None:
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    twice = front.client.post("/api/v1/orders", data='{"channels": 2, "channels": 200}', headers=head)
    assert (twice.status_code, twice.get_json()["errors"][0]["field"]) == (422, "channels")
    packed = front.client.post("/api/v1/orders", data=b"\x1f\x8b", headers=head | {"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.get_json()["type"]) == (415, "/problems/encoded")
