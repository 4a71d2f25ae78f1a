"""The JSON API: orders, requests, accounts, links, tokens, errors and the OpenAPI document."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account, attach
from models.links.links import submit_detach
from models.orders.orders import submit_order
from models.people.rights import Scope
from models.requests.requests import Request
from models.states import AccountState, Origin, Reason, StepName
from tests.factories import NOW, PASSWORD, an_order, make_account, make_main, make_user
from tests.web.conftest import ORDER, Front


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the example order with one field changed, or removed if the value is `...`."""
    body = copy.deepcopy(ORDER)
    place: dict[str, Any] = body
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


def count(front: Front, table: type[Request | Account]) -> int:
    with front.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_an_order_is_accepted_and_listed_at_once(front: Front) -> None:
    answer = front.post("/orders", ORDER)
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/requests/{body['id']}"
    assert (body["kind"], body["status"], body["step"], body["reason"]) == ("order", "acknowledged", "verify", None)
    assert body["next"]["actor"] == "carrier"
    assert [entry["code"] for entry in body["timeline"]] == ["order_received"]
    assert "Wir haben den Auftrag erhalten" in body["timeline"][0]["text"]
    assert front.get(f"/requests/{body['id']}").get_json() == body
    listed = front.get("/accounts").get_json()["items"]
    assert [account["customer_number"] for account in listed] == [
        front.main.customer_number,
        body["customer_number"],
    ]
    assert listed[1]["request"] == body["id"]
    assert [front.get(f"/accounts/{account['customer_number']}").get_json() for account in listed] == listed


def test_the_same_key_and_body_give_the_same_answer(front: Front) -> None:
    first = front.post("/orders", ORDER, key="one")
    again = front.post("/orders", dict(reversed(ORDER.items())), key="one")
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    other = front.post("/orders", changed("channels", 5), key="one")
    assert other.status_code == 422
    assert other.get_json()["type"] == "/problems/idempotency_conflict"
    assert count(front, Request) == 1


def test_the_same_key_from_many_at_once_makes_one_order(front: Front) -> None:
    def order(_: int) -> bytes:
        client = front.client.application.test_client()
        head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "one"}
        answer: bytes = client.post("/api/v1/orders", json=ORDER, headers=head).data
        return answer

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(order, range(6)))
    assert len(answers) == 1
    assert count(front, Request) == 1


def test_an_answer_that_was_an_error_keeps_no_key(front: Front) -> None:
    assert front.post("/orders", changed("product", "trunk-3"), key="one").status_code == 422
    assert front.post("/orders", ORDER, key="one").status_code == 202


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("product", "trunk-3", "unknown_product"),
        ("product", ..., "missing"),
        ("channels", 11, "channels_out_of_range"),
        ("location.postal_code", "1017", "string_pattern_mismatch"),
        ("location.city", " ", "string_too_short"),
        ("contact.email", "hanna", "value_error"),
        ("contact.phone", "abc", "value_error"),
        ("numbers.area_code", "0999", "unknown_area_code"),
        ("numbers.block_size", 7, "literal_error"),
        ("colour", "blue", "extra_forbidden"),
    ],
)
def test_a_bad_field_is_named_with_the_way_out(front: Front, field: str, value: object, code: str) -> None:
    german = front.post("/orders", changed(field, value))
    english = front.post("/orders", changed(field, value), **{"Accept-Language": "en"})
    assert german.status_code == 422
    assert german.content_type == "application/problem+json"
    [error] = german.get_json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert error["detail"] != english.get_json()["errors"][0]["detail"]
    assert count(front, Request) == 0


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
        order.go_on(StepName.CONFIRM, NOW)
        order.hold(Reason.INTERNAL_ERROR, NOW)
        detach = submit_detach(session, front.manager, account, "de", NOW)
    items = front.get("/accounts").get_json()["items"]
    assert [(item["customer_number"], item["request"]) for item in items[1:]] == [
        (order.customer_number, str(detach.id))
    ]


def test_link_requests_tell_an_outsider_nothing(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    with front.database.transaction() as session:
        owner, other = make_user(session), make_user(session)
        account = make_account(session, administrator=owner)
        foreign = make_account(session, administrator=other)

    def ask(number: str, email: str, password: str) -> dict[str, Any]:
        proof = {"method": "credentials", "email": email, "password": password}
        answer = front.post("/link-requests", {"customer_number": number, "proof": proof})
        assert answer.status_code == 202
        body: dict[str, Any] = answer.get_json()
        for own in ("id", "customer_number", "created_at", "timeline"):
            body.pop(own)
        return body

    right = ask(account.customer_number, owner.email, PASSWORD)
    unknown = ask("9999999", owner.email, PASSWORD)
    wrong = ask(foreign.customer_number, other.email, "wrong")
    not_theirs = ask(make_number(front), owner.email, PASSWORD)
    assert right == unknown == wrong == not_theirs
    assert PASSWORD not in caplog.text


def make_number(front: Front) -> str:
    """Create an account of another company and return its customer number."""
    with front.database.transaction() as session:
        return make_account(session).customer_number


def test_a_link_request_that_cannot_be_is_refused_at_once(front: Front) -> None:
    proof = {"method": "administers_both"}
    own = front.post("/link-requests", {"customer_number": front.main.customer_number, "proof": proof})
    assert own.get_json()["errors"][0]["code"] == "own_account"
    number = make_number(front)
    first = front.post("/link-requests", {"customer_number": number, "proof": proof})
    second = front.post("/link-requests", {"customer_number": number, "proof": proof})
    assert (first.status_code, second.status_code) == (202, 409)
    assert first.get_json()["id"] in second.get_json()["detail"]
    password = "very-secret"
    broken = {"method": "credentials", "email": "a@example.com", "password": [password]}
    answer = front.post("/link-requests", {"customer_number": "12", "proof": broken})
    assert {error["field"] for error in answer.get_json()["errors"]} == {"customer_number", "proof.password"}
    assert password not in answer.text


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


def test_operators_see_how_it_is(front: Front) -> None:
    front.post("/orders", ORDER)
    assert front.client.get("/healthz").status_code == 200
    ready = front.client.get("/readyz")
    assert ready.status_code == 200
    checks = ready.get_json()["checks"]
    assert (checks["database"], checks["migrations"]) == ("ok", "ok")
    assert checks["broker"] != "ok"
    assert checks["beat"] == "last ran never"
    metrics = front.client.get("/metrics").text
    assert 'standorte_requests{status="acknowledged",step="verify"} 1.0' in metrics
    assert "standorte_oldest_due_seconds 0.0" in metrics


def test_a_monitor_that_keeps_asking_leaves_no_lines_in_the_log(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert front.client.get(path).status_code == 200
    assert caplog.text == ""
    front.get("/requests")
    assert "/api/v1/requests" in caplog.text
