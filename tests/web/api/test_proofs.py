"""Proofs through the API: right, wrong, sent again; and that outsiders learn nothing from the answers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.rights import Scope
from models.people.users import User
from models.proofs.proofs import AddressDocument, EmailProof, LinkCode
from models.proofs.submission import create_link_code, decide_document
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.vault import Vault
from tests.factories import NOW, PASSWORD, join, make_account, make_main, make_user
from tests.web.conftest import ORDER, SECRET, Back, Front

CONTACT = ORDER["contact"]["email"]
PDF = b"%PDF-1.7 a register extract"


def an_order(front: Front, back: Back) -> str:
    """Create an order that waits for its proofs and return its id."""
    id: str = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    return id


def a_link(front: Front, number: str, method: str = "consent", **means: str) -> TestResponse:
    """Post a link request."""
    return front.post("/link-requests", {"customer_number": number, "proof": {"method": method, **means}})


def proofs(front: Front, id: str) -> dict[str, str]:
    """Return the state of each proof of the request, by kind."""
    return {proof["kind"]: proof["state"] for proof in front.get(f"/requests/{id}").get_json()["proofs"]}


def upload(front: Front, id: str, content: bytes, name: str = "Auszug.pdf", key: str = "upload") -> TestResponse:
    """Upload a document for the request."""
    boundary, body = encode_multipart({"file": FileStorage(io.BytesIO(content), name)})
    return front.client.post(
        f"/api/v1/requests/{id}/address-document",
        data=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        headers={"Authorization": f"Bearer {front.token}", "Idempotency-Key": key},
    )


def owned(front: Front) -> tuple[Account, User]:
    """Create an account of another company. Returns the account and its administrator."""
    with front.database.transaction() as session:
        owner = make_user(session)
        return make_account(session, administrator=owner), owner


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Record the SQL statements that run inside the block."""
    said: list[str] = []

    def listen(_: object, __: object, statement: str, *more: object) -> None:
        said.append(statement.split("FROM")[0].split("SET")[0].split("VALUES")[0])

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)


def test_an_order_goes_on_when_both_codes_were_given(front: Front, back: Back) -> None:
    id = an_order(front, back)
    body = front.get(f"/requests/{id}").get_json()
    until = (NOW + timedelta(days=14)).isoformat()
    assert body["proofs"] == [
        {"kind": "email", "state": "open", "until": until},
        {"kind": "letter", "state": "open", "until": until},
    ]
    _, code = back.mail_to(CONTACT)
    given = front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": code.lower().replace(" ", "-")})
    assert given.status_code == 200
    assert proofs(front, id) == {"email": "proved", "letter": "open"}
    assert front.post(f"/requests/{id}/proofs", {"kind": "letter_code", "code": back.letter_code()}).status_code == 200
    back.advance()
    body = front.get(f"/requests/{id}").get_json()
    assert (body["status"], body["next"]) == ("completed", None)
    assert proofs(front, id) == {"email": "proved", "letter": "proved"}
    again = front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": code})
    assert (again.status_code, again.get_json()["status"]) == (200, "completed")
    wrong = front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": "AAAAA AAAAA"})
    assert wrong.status_code == 422


@pytest.mark.parametrize("kind", ["email_code", "letter_code"])
def test_a_wrong_code_counts_and_keeps_no_key(front: Front, back: Back, kind: str) -> None:
    id = an_order(front, back)
    right = back.mail_to(CONTACT)[1] if kind == "email_code" else back.letter_code()
    for _ in range(5):
        wrong = front.post(f"/requests/{id}/proofs", {"kind": kind, "code": "AAAAA AAAAA"}, key="one")
        assert wrong.status_code == 422
        [error] = wrong.get_json()["errors"]
        assert (error["field"], error["code"]) == ("code", "not_accepted")
    with front.database.transaction() as session:
        keys = session.scalars(sa.select(IdempotencyKey.key)).all()
    assert "one" not in keys
    # The code is void after five wrong tries, so the right code gets the same answer.
    late = front.post(f"/requests/{id}/proofs", {"kind": kind, "code": right}, key="one")
    assert (late.status_code, late.data) == (422, wrong.data)
    assert proofs(front, id)["email" if kind == "email_code" else "letter"] == "expired"


def test_a_new_code_can_be_asked_for_after_a_while_and_voids_the_old(front: Front, back: Back) -> None:
    id = an_order(front, back)
    old = back.mail_to(CONTACT)[1]
    early = front.post(f"/requests/{id}/resend", {"what": "email"})
    assert (early.status_code, early.get_json()["type"]) == (429, "/problems/too_early")
    assert early.headers["Retry-After"] == "600"
    assert early.get_json()["again_at"] == (NOW + timedelta(minutes=10)).isoformat()
    assert "02.03.2026, 09:10" in early.get_json()["detail"]
    back.clock.advance(timedelta(minutes=10))
    assert front.post(f"/requests/{id}/resend", {"what": "letter"}).status_code == 429
    assert front.post(f"/requests/{id}/resend", {"what": "consent"}).status_code == 409
    assert front.post(f"/requests/{id}/resend", {"what": "flowers"}).get_json()["errors"][0]["field"] == "what"
    assert front.post(f"/requests/{id}/resend", {"what": "email"}).status_code == 200
    back.advance()
    new = back.mail_to(CONTACT)[1]
    assert front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": old}).status_code == 422
    assert front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": new}).status_code == 200


def test_a_document_is_known_by_its_content_and_goes_to_the_back_office(front: Front, back: Back) -> None:
    id = an_order(front, back)
    for content, name, code in [
        (b"MZ", "Auszug.pdf", "no_document"),
        (b"", "Auszug.pdf", "missing"),
        (PDF + b"\0" * 10_000_000, "Auszug.pdf", "too_large"),
    ]:
        refused = upload(front, id, content, name)
        assert (refused.status_code, refused.get_json()["errors"][0]["code"]) == (422, code)
    assert upload(front, id, PDF + b"\0" * 11_000_000).get_json()["type"] == "/problems/too_large"
    assert front.post(f"/requests/{id}/address-document", {"file": "x"}).get_json()["type"] == "/problems/not_a_form"
    accepted = upload(front, id, PDF, "../Büro/Auszug\x07.exe")
    assert accepted.status_code == 200
    assert "„Auszug.exe“" in accepted.get_json()["timeline"][-1]["text"]
    assert upload(front, id, PDF, "../Büro/Auszug\x07.exe").headers["Idempotency-Replayed"] == "true"
    assert upload(front, id, b"\xff\xd8\xff\xe0 a photo").status_code == 422
    back.advance()
    assert proofs(front, id) == {"email": "open", "letter": "open", "document": "open"}
    with front.database.transaction() as session:
        document = session.scalars(sa.select(AddressDocument)).one()
        assert (document.name, document.media_type, document.content) == ("Auszug.exe", "application/pdf", PDF)
        staff = make_user(session, is_staff=True)
        decide_document(session, staff, session.get_one(Request, document.request_id), release=True, now=NOW)
    assert proofs(front, id) == {"email": "open", "document": "proved"}
    assert upload(front, id, PDF, key="late").status_code == 409


@pytest.mark.parametrize("kind", ["credentials", "link_code"])
def test_a_link_that_waits_for_consent_can_be_proved_in_another_way(front: Front, back: Back, kind: str) -> None:
    account, owner = owned(front)
    id = a_link(front, account.customer_number).get_json()["id"]
    back.advance()
    assert proofs(front, id) == {"consent": "open"}
    right = {"kind": kind, **({"email": owner.email, "password": PASSWORD} if kind == "credentials" else {})}
    wrong = {**right, **({"password": "wrong"} if kind == "credentials" else {"code": "AAAAA AAAAA"})}
    if kind == "link_code":
        right["code"] = new_link_code(front, account, owner)
    refused = front.post(f"/requests/{id}/proofs", wrong)
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == ("password" if kind == "credentials" else "code")
    assert front.post(f"/requests/{id}/proofs", right).status_code == 200
    # Submitted again before a worker runs: the request no longer waits for this proof.
    assert front.post(f"/requests/{id}/proofs", right).status_code == 409
    back.advance()
    assert front.get(f"/requests/{id}").get_json()["status"] == "completed"
    assert front.post(f"/requests/{id}/proofs", {"kind": "letter_code", "code": "x"}).status_code == 409


def new_link_code(front: Front, account: Account, owner: User) -> str:
    """Create a link code through the API, as the account's administrator."""
    mine, front.token = front.token, token_of(front, account, owner)
    made = front.post(f"/accounts/{account.customer_number}/link-code")
    front.token = mine
    assert made.status_code == 201
    code: str = made.get_json()["code"]
    return code


def token_of(front: Front, account: Account, user: User) -> str:
    """Create an API token of this user for this account."""
    before = front.main, front.manager
    front.main, front.manager = account, type(before[1])(user.id, user.email, user.name, user.locale)
    token = front.token_with(Scope.READ, Scope.WRITE)
    front.main, front.manager = before
    return token


def test_a_link_code_is_made_shown_to_the_same_key_and_not_kept(front: Front) -> None:
    path = f"/accounts/{front.main.customer_number}/link-code"
    made = front.post(path, key="one")
    assert made.status_code == 201
    body = made.get_json()
    assert re.fullmatch(r"[A-Z0-9]{5} [A-Z0-9]{5}", body["code"])
    assert body["expires_at"] == (NOW + timedelta(days=7)).isoformat()
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
        both = make_account(session)
        join(session, session.get_one(User, front.manager.user_id), both)
        main, front.manager = make_main(session, subs=1)
        sub = session.scalars(sa.select(Account).where(Account.main_id == main.id)).one()
    unknown = front.post("/accounts/9999999/link-code")
    foreign = front.post(f"/accounts/{account.customer_number}/link-code")
    assert unknown.status_code == foreign.status_code == 404
    assert unknown.data.replace(b"9999999", b"") == foreign.data.replace(account.customer_number.encode(), b"")
    assert front.post(f"/accounts/{both.customer_number}/link-code").status_code == 201
    front.main = main
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    assert front.post(f"/accounts/{sub.customer_number}/link-code").status_code == 403
    front.token = front.token_with(Scope.READ)
    assert front.post(f"/accounts/{main.customer_number}/link-code").status_code == 403


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


def test_many_at_once_make_one_detach_and_leave_one_code_open(front: Front, back: Back) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
    back.advance()
    with front.database.transaction() as session:
        another = make_account(session)
        join(session, session.get_one(User, front.manager.user_id), another)
    token = front.token

    def call(turn: int) -> tuple[int, int]:
        client = front.client.application.test_client()
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(turn)}
        made = client.post(f"/api/v1/accounts/{another.customer_number}/link-code", headers=head)
        detached = client.delete(f"/api/v1/accounts/{account.customer_number}/link", headers=head)
        return made.status_code, detached.status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call, range(6))) == [(201, 202)] * 6
    with front.database.transaction() as session:
        detaches = session.scalars(sa.select(Request.id).where(Request.kind == "detach")).all()
        codes = session.scalars(sa.select(LinkCode.id).where(LinkCode.ended_at.is_(None))).all()
    assert (len(detaches), len(codes)) == (1, 1)


def test_what_belongs_to_others_cannot_be_answered(front: Front, back: Back) -> None:
    id = an_order(front, back)
    code = back.letter_code()
    with front.database.transaction() as session:
        front.main, front.manager = make_main(session)
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    assert front.post(f"/requests/{id}/proofs", {"kind": "letter_code", "code": code}).status_code == 404
    assert front.post(f"/requests/{id}/resend", {"what": "letter"}).status_code == 404
    assert upload(front, id, PDF).status_code == 404


def test_a_kind_that_is_not_known_is_named(front: Front, back: Back) -> None:
    id = an_order(front, back)
    for body, field in [({"code": "x"}, "kind"), ({"kind": "x"}, "kind"), ({"kind": "email_code"}, "code")]:
        answer = front.post(f"/requests/{id}/proofs", body)
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, field)


@pytest.fixture
def numbers(front: Front) -> dict[str, str]:
    """Create accounts that outsiders must not tell apart, two of them with an open link code."""
    with front.database.transaction() as session:
        owners = [make_user(session) for _ in range(3)]
        with_code, without, void = (make_account(session, administrator=owner) for owner in owners)
        for account, owner in ((with_code, owners[0]), (void, owners[2])):
            session.add(
                LinkCode(
                    account_id=account.id,
                    created_by=owner.id,
                    created_at=NOW,
                    expires_at=NOW + timedelta(days=7),
                    wrong_tries=5 if account is void else 0,
                )
            )
        found = {"wrong code": with_code, "foreign": without, "void": void}
        return {"unknown": "9999999"} | {what: account.customer_number for what, account in found.items()}


def without_its_own(answer: TestResponse) -> bytes:
    """Return the body of the answer without ids, customer numbers and times."""
    return re.sub(rb"[0-9a-f-]{36}|[0-9]{7}|20[0-9]{2}-[0-9T:.+-]+", b"", answer.data)


MEANS: list[dict[str, str]] = [
    {"code": "AAAAA AAAAA"},
    {"email": "nobody@example.com", "password": "wrong"},
]


@pytest.mark.parametrize("means", MEANS, ids=["link_code", "credentials"])
def test_an_outsider_learns_nothing(
    front: Front, back: Back, numbers: dict[str, str], means: dict[str, str], database: Database
) -> None:
    kind = "link_code" if "code" in means else "credentials"
    seen: dict[str, Any] = {}
    for what, number in numbers.items():
        with statements(database) as at_first:
            asked = a_link(front, number, kind, **means)
        back.advance()
        ended = front.get(f"/requests/{asked.get_json()['id']}")
        waits = a_link(front, number).get_json()["id"]
        back.advance()
        waiting = front.get(f"/requests/{waits}")
        with statements(database) as later:
            tried = front.post(f"/requests/{waits}/proofs", {"kind": kind, **means})
        assert (asked.status_code, tried.status_code) == (202, 422)
        answers = [(answer.status_code, without_its_own(answer)) for answer in (asked, ended, waiting, tried)]
        seen[what] = (answers, at_first, later)
    assert len(seen["unknown"][1]) > 5 and len(seen["unknown"][2]) > 5
    for what, found in seen.items():
        assert found == seen["unknown"], what


def test_wrong_tries_are_throttled_and_right_ones_never(front: Front) -> None:
    account, owner = owned(front)
    for _ in range(40):
        asked = a_link(front, account.customer_number, "credentials", email=owner.email, password=PASSWORD)
        assert asked.status_code == 202
        front.post(f"/requests/{asked.get_json()['id']}/cancel")
    other, _ = owned(front)
    for number in ("9999999", other.customer_number):
        answers = []
        for _ in range(11):
            answer = a_link(front, number, "link_code", code="AAAAA AAAAA")
            answers.append(answer)
            if answer.status_code == 202:
                front.post(f"/requests/{answer.get_json()['id']}/cancel")
        assert [answer.status_code for answer in answers] == [202] * 10 + [429]
        assert answers[-1].get_json()["type"] == "/problems/throttled"
        assert 800 < int(answers[-1].headers["Retry-After"]) <= 901
        # Asking for consent is no attempt and is not throttled.
        assert a_link(front, number, "consent").status_code == 202
    # The limit per client applies to every customer number.
    codes = [a_link(front, f"900000{i}", "link_code", code="AAAAA AAAAA").status_code for i in range(10)]
    codes.append(a_link(front, "9000010", "link_code", code="AAAAA AAAAA").status_code)
    assert codes == [202] * 10 + [429]


def test_the_document_knows_what_is_new(front: Front) -> None:
    document = front.client.get("/api/v1/openapi.json").get_json()
    paths = document["paths"]
    assert "delete" in paths["/api/v1/accounts/{customer_number}/link"]
    assert "201" in paths["/api/v1/accounts/{customer_number}/link-code"]["post"]["responses"]
    uploading = paths["/api/v1/requests/{id}/address-document"]["post"]["requestBody"]["content"]
    assert list(uploading) == ["multipart/form-data"]
    for path in ("proofs", "resend"):
        assert "429" in paths[f"/api/v1/requests/{{id}}/{path}"]["post"]["responses"]
    schemas = document["components"]["schemas"]
    assert schemas["ProofBody"]["discriminator"]["propertyName"] == "kind"
    assert "proofs" in schemas["RequestBody"]["required"]


def test_the_code_in_the_mail_is_of_the_fronts_secret(front: Front, back: Back) -> None:
    an_order(front, back)
    with front.database.transaction() as session:
        proof = session.scalars(sa.select(EmailProof)).one()
        assert Vault(SECRET).is_code(back.mail_to(CONTACT)[1], *proof.words())
        main = session.get_one(Account, front.main.id)
        assert create_link_code(session, front.manager, main, NOW).is_good(NOW)
