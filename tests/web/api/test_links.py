"""Tests of attaching and detaching existing accounts through the API, and of link codes.

An outsider learns nothing about an account. A repeated call makes no second request. A token acts for its own account
only.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import end_of_day
from models.people.members import change_role, remove_user
from models.people.rights import Role, Scope
from models.people.users import User, principal_of
from models.proofs.main_consents import decide_for_main
from models.proofs.ownership import decide
from models.proofs.proofs import Decision, LinkCode
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.states import Origin
from tests.factories import NOW, PASSWORD, join, make_account, make_main, make_user
from tests.web.api.calls import a_link, new_link_code, owned, token_of
from tests.web.conftest import Back, Front


def make_number(front: Front) -> str:
    """Create an account of another company and return its customer number."""
    with front.database.transaction() as session:
        return make_account(session).customer_number


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


@pytest.mark.parametrize("end", ["remove", "demote", "none"])
def test_a_link_code_dies_with_the_role_of_the_person_who_has_made_it(front: Front, back: Back, end: str) -> None:
    account, owner = owned(front)
    code = new_link_code(front, account, owner)
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, account)
        acting, own = principal_of(session, colleague), session.get_one(Account, account.id)
        if end == "remove":
            remove_user(session, acting, own, owner.id, NOW)
        elif end == "demote":
            change_role(session, acting, own, owner.id, Role.LOCATION_MANAGER, NOW)
    id = a_link(front, account.customer_number, "link_code", code=code).get_json()["id"]
    back.advance()
    assert front.get(f"/requests/{id}").get_json()["reason"] == (None if end == "none" else "ownership_not_proven")


def test_a_link_code_is_made_shown_to_the_same_key_and_not_kept(front: Front) -> None:
    path = f"/accounts/{front.main.customer_number}/link-code"
    made = front.post(path, key="one")
    assert made.status_code == 201
    body = made.get_json()
    assert re.fullmatch(r"[A-Z0-9]{5} [A-Z0-9]{5}", body["code"])
    assert body["expires_at"] == end_of_day(NOW + timedelta(days=7)).isoformat()
    again = front.post(path, key="one")
    assert (again.data, again.headers["Idempotency-Replayed"]) == (made.data, "true")
    assert front.post(path, key="two").get_json()["code"] != body["code"]
    with front.database.transaction() as session:
        kept = str(session.scalars(sa.select(IdempotencyKey.answer)).all())
        ended = session.scalars(sa.select(LinkCode.ended_at).order_by(LinkCode.created_at)).all()
    assert body["code"] not in kept and body["code"].replace(" ", "") not in kept
    assert sorted(at is None for at in ended) == [False, True]


def test_a_main_account_gets_no_link_code(front: Front) -> None:
    with front.database.transaction() as session:
        front.main, front.manager = make_main(session, subs=1)
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    answer = front.post(f"/accounts/{front.main.customer_number}/link-code")
    assert answer.status_code == 409
    assert "Hauptaccount" in answer.get_json()["detail"]


def test_only_an_administrator_makes_a_link_code(front: Front) -> None:
    account, _ = owned(front)
    with front.database.transaction() as session:
        main, front.manager = make_main(session, subs=1)
        sub = session.scalars(sa.select(Account).where(Account.main_id == main.id)).one()
    unknown = front.post("/accounts/9999999/link-code")
    foreign = front.post(f"/accounts/{account.customer_number}/link-code")
    assert unknown.status_code == foreign.status_code == 404
    assert unknown.data.replace(b"9999999", b"") == foreign.data.replace(account.customer_number.encode(), b"")
    front.main = main
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    assert front.post(f"/accounts/{sub.customer_number}/link-code").status_code == 403
    front.token = front.token_with(Scope.READ)
    assert front.post(f"/accounts/{main.customer_number}/link-code").status_code == 403


def test_a_token_makes_no_link_code_for_another_account_of_its_person(front: Front) -> None:
    with front.database.transaction() as session:
        person = session.get_one(User, front.manager.user_id)
        other = make_account(session, administrator=person)
    foreign = front.post(f"/accounts/{other.customer_number}/link-code")
    missing = front.post("/accounts/9999999/link-code")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.text.replace(other.customer_number, "9999999") == missing.text
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(LinkCode)) == 0
    front.token = token_of(front, other, person)
    assert front.post(f"/accounts/{other.customer_number}/link-code").status_code == 201


@pytest.mark.parametrize("method", ["administers_both", "consent"])
def test_a_token_attaches_no_other_account_of_its_person(front: Front, back: Back, method: str) -> None:
    with front.database.transaction() as session:
        other = make_account(session, administrator=session.get_one(User, front.manager.user_id))
    assert front.get(f"/accounts/{other.customer_number}").status_code == 404
    asked = a_link(front, other.customer_number, method)
    assert asked.status_code == 202
    back.advance()
    found = front.get(f"/requests/{asked.get_json()['id']}").get_json()
    assert (found["status"], found["reason"]) == ("pending", "consent_awaited")
    assert front.get(f"/accounts/{other.customer_number}").status_code == 404
    # The person agrees, as themselves.
    with front.database.transaction() as session:
        request, user = session.get_one(Request, UUID(found["id"])), session.get_one(User, front.manager.user_id)
        assert decide(session, back.runtime.vault, request, user, Decision.ACCEPTED, None, NOW)
    back.advance()
    assert front.get(f"/accounts/{other.customer_number}").status_code == 200


def test_a_switch_is_an_option_of_a_link_request(front: Front, back: Back) -> None:
    account, owner = owned(front)
    with front.database.transaction() as session:
        main, chief = make_main(session)
        attach(session, main.id, account.id, Origin.LINK, NOW)
    proof = {"method": "credentials", "email": owner.email, "password": PASSWORD}
    body = {"customer_number": account.customer_number, "proof": proof, "switch": True}
    first = front.post("/link-requests", body, key="switch")
    again = front.post("/link-requests", body, key="switch")
    assert (first.status_code, first.get_json()["kind"], again.data) == (202, "switch", first.data)
    # The same key for a link is another body.
    assert front.post("/link-requests", {**body, "switch": False}, key="switch").status_code == 422
    assert front.post("/link-requests", {**body, "switch": "perhaps"}).status_code == 422
    id = first.get_json()["id"]
    back.advance()
    found = front.get(f"/requests/{id}").get_json()
    assert (found["status"], found["reason"]) == ("pending", "main_consent_awaited")
    assert [(given["kind"], given["state"]) for given in found["proofs"]] == [("main_consent", "open")]
    assert found["next"]["actor"] == "other_account" and main.customer_number not in str(found)
    assert front.get(f"/accounts/{account.customer_number}").status_code == 404
    assert front.post(f"/requests/{id}/resend", {"what": "main_consent"}).status_code == 429
    assert front.post(f"/requests/{id}/resend", {"what": "consent"}).status_code == 409
    back.clock.now += timedelta(days=2)
    assert front.post(f"/requests/{id}/resend", {"what": "main_consent"}).status_code == 200
    back.advance()
    with front.database.transaction() as session:
        request, user = session.get_one(Request, UUID(id)), session.get_one(User, chief.user_id)
        assert decide_for_main(session, back.runtime.vault, request, user, Decision.ACCEPTED, None, back.clock.now)
    back.advance()
    assert front.get(f"/requests/{id}").get_json()["status"] == "completed"
    assert front.get(f"/accounts/{account.customer_number}").get_json()["origin"] == "link"


def test_a_switch_is_taken_back(front: Front, back: Back) -> None:
    account, owner = owned(front)
    with front.database.transaction() as session:
        attach(session, make_main(session)[0].id, account.id, Origin.ORDER, NOW)
    proof = {"method": "credentials", "email": owner.email, "password": PASSWORD}
    body = {"customer_number": account.customer_number, "proof": proof, "switch": True}
    id = front.post("/link-requests", body).get_json()["id"]
    back.advance()
    assert front.post("/link-requests", {**body, "switch": False}).status_code == 409
    assert front.post(f"/requests/{id}/cancel").get_json()["status"] == "cancelled"
    assert front.post("/link-requests", body).status_code == 202


def test_detach_is_a_request_of_its_own_and_the_same_while_it_runs(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    path = f"/accounts/{account.customer_number}/link"
    first = front.delete(path)
    assert first.status_code == 202
    body = first.get_json()
    assert (body["kind"], body["proofs"]) == ("detach", [])
    assert first.headers["Location"] == f"/api/v1/requests/{body['id']}"
    second = front.delete(path)
    assert (second.status_code, second.data) == (202, first.data)
    mine, front.token = front.token, token_of(front, account, owner)
    assert front.get(f"/requests/{body['id']}").get_json()["id"] == body["id"]
    front.token = mine
    back.advance()
    assert front.get(f"/requests/{body['id']}").get_json()["status"] == "completed"
    assert front.delete(path).status_code == 404
    own = front.delete(f"/accounts/{front.main.customer_number}/link")
    assert (own.status_code, own.get_json()["type"]) == (409, "/problems/rule_broken")
    assert front.delete("/accounts/9999999/link").status_code == 404


def test_a_detach_whose_answer_was_lost_is_asked_for_again(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    path = f"/api/v1/accounts/{account.customer_number}/link"
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "a detach"}
    first = front.client.delete(path, headers=head)
    back.advance()
    again = front.client.delete(path, headers=head)
    assert (again.status_code, again.data, again.headers["Location"]) == (202, first.data, first.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert front.client.delete(path, headers=head | {"Idempotency-Key": "another"}).status_code == 404
    assert front.client.delete(path, headers=head | {"Idempotency-Key": "x" * 256}).status_code == 400


def test_a_detach_on_a_day_waits_is_changed_and_taken_back(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    path = f"/accounts/{account.customer_number}/link"
    first = front.delete(f"{path}?effective_on=2026-04-01").get_json()
    assert (first["kind"], first["status"], first["effective_on"]) == ("detach", "acknowledged", "2026-04-01")
    assert front.delete(f"{path}?effective_on=2026-04-01").get_json()["id"] == first["id"]
    second = front.delete(f"{path}?effective_on=2026-04-02").get_json()
    assert second["effective_on"] == "2026-04-02" and second["id"] != first["id"]
    assert front.get(f"/requests/{first['id']}").get_json()["status"] == "cancelled"
    mine, front.token = front.token, token_of(front, account, owner)
    assert front.get(f"/requests/{second['id']}").get_json()["effective_on"] == "2026-04-02"
    assert second["id"] in [item["id"] for item in front.get("/requests").get_json()["items"]]
    assert front.post(f"/requests/{second['id']}/cancel").status_code == 403
    later = front.delete(f"{path}?effective_on=2026-05-01")
    assert (later.status_code, later.get_json()["errors"][0]["code"]) == (422, "detach_planned")
    front.token = mine
    assert front.post(f"/requests/{second['id']}/cancel").get_json()["status"] == "cancelled"
    back.advance()
    assert front.get(f"/accounts/{account.customer_number}").get_json()["role"] == "sub"


@pytest.mark.parametrize(
    ("sent", "field", "code"),
    [
        ({"query_string": {"effective_on": "2026-02-30"}}, "effective_on", "value_error"),
        ({"query_string": {"effective_on": "2026-03-01"}}, "effective_on", "day_passed"),
        ({"query_string": {"effectiveOn": "2026-04-01"}}, "effectiveOn", "extra_forbidden"),
        ({"json": {"effective_on": "2026-04-01"}}, "body", "no_body"),
    ],
)
def test_a_day_that_is_not_understood_detaches_nothing(
    front: Front, back: Back, sent: dict[str, Any], field: str, code: str
) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    head = {"Authorization": f"Bearer {front.token}"}
    answer = front.client.delete(f"/api/v1/accounts/{account.customer_number}/link", headers=head, **sent)
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.get_json()["errors"]] == [(field, code)]
    back.advance()
    assert front.get(f"/accounts/{account.customer_number}").status_code == 200


def test_one_key_for_two_days_is_a_conflict(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    path = f"/api/v1/accounts/{account.customer_number}/link"
    head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "a day"}
    first = front.client.delete(f"{path}?effective_on=2026-04-01", headers=head)
    again = front.client.delete(f"{path}?effective_on=2026-04-01", headers=head)
    assert (first.status_code, again.status_code, again.data) == (202, 202, first.data)
    for other in (path, f"{path}?effective_on=2026-04-02"):
        assert front.client.delete(other, headers=head).status_code == 422


def test_many_at_once_make_one_detach_and_leave_one_code_open(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    with front.database.transaction() as session:
        person = session.get_one(User, front.manager.user_id)
        another = make_account(session, administrator=person)
    token, token_of_another = front.token, token_of(front, another, person)

    def call(turn: int) -> tuple[int, int]:
        client = front.client.application.test_client()
        head = {"Authorization": f"Bearer {token_of_another}", "Idempotency-Key": str(turn)}
        made = client.post(f"/api/v1/accounts/{another.customer_number}/link-code", headers=head)
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"detach {turn}"}
        detached = client.delete(f"/api/v1/accounts/{account.customer_number}/link", headers=head)
        return made.status_code, detached.status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call, range(6))) == [(201, 202)] * 6
    with front.database.transaction() as session:
        detaches = session.scalars(sa.select(Request.id).where(Request.kind == "detach")).all()
        codes = session.scalars(sa.select(LinkCode.id).where(LinkCode.ended_at.is_(None))).all()
    assert (len(detaches), len(codes)) == (1, 1)
