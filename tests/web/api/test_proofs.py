"""Tests of giving proofs through the API: right, wrong and repeated ones.

An outsider must not learn from an answer whether an account or a code exists.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.db.session import Database
from models.people.rights import Scope
from models.proofs.document_review import MOST_A_DAY, decide_document
from models.proofs.documents import ProofDocument
from models.proofs.link_codes import create_link_code
from models.proofs.proofs import EmailProof, LinkCode
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.vault import Vault
from tests.factories import NOW, PASSWORD, make_account, make_main, make_staff, make_user
from tests.web.api.calls import CONTACT, PDF, a_link, an_order, new_link_code, owned, statements, upload
from tests.web.conftest import SECRET, Back, Front


def proofs(front: Front, id: str) -> dict[str, str]:
    """Return the state of each proof of the request, by the kind of proof, as the API shows them."""
    return {proof["kind"]: proof["state"] for proof in front.get(f"/requests/{id}").get_json()["proofs"]}


def test_an_order_goes_on_when_both_codes_were_given(front: Front, back: Back) -> None:
    id = an_order(front, back)
    body = front.get(f"/requests/{id}").get_json()
    until = end_of_day(NOW + timedelta(days=14)).isoformat()
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
def test_a_wrong_code_keeps_no_key_and_voids_nothing(front: Front, back: Back, kind: str) -> None:
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
    accepted = front.post(f"/requests/{id}/proofs", {"kind": kind, "code": right}, key="one")
    assert accepted.status_code == 200
    assert proofs(front, id)["email" if kind == "email_code" else "letter"] == "proved"


def test_a_new_code_can_be_asked_for_after_a_while_and_voids_the_old(front: Front, back: Back) -> None:
    id = an_order(front, back)
    old = back.mail_to(CONTACT)[1]
    early = front.post(f"/requests/{id}/resend", {"what": "email"})
    assert (early.status_code, early.get_json()["type"]) == (429, "/problems/too_early")
    assert early.headers["Retry-After"] == "600"
    assert early.get_json()["again_at"] == (NOW + timedelta(minutes=10)).isoformat()
    assert "2. März 2026, 09:10 Uhr" in early.get_json()["detail"]
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
        document = session.scalars(sa.select(ProofDocument)).one()
        assert (document.name, document.media_type, document.content) == ("Auszug.exe", "application/pdf", PDF)
        staff = make_staff(session)
        decide_document(session, staff, session.get_one(Request, document.request_id), refusal=None, now=NOW)
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
    """Create accounts that outsiders must not be able to tell apart; return their customer numbers by case.

    In the case "wrong code" the account has a valid link code (the test enters another one), in "expired" an expired
    code, in "foreign" none. In the case "unknown" no account has the number.
    """
    with front.database.transaction() as session:
        owners = [make_user(session) for _ in range(3)]
        with_code, without, expired = (make_account(session, administrator=owner) for owner in owners)
        for account, owner in ((with_code, owners[0]), (expired, owners[2])):
            session.add(
                LinkCode(
                    account_id=account.id,
                    created_by=owner.id,
                    created_at=NOW,
                    expires_at=NOW + timedelta(days=0 if account is expired else 7),
                )
            )
        found = {"wrong code": with_code, "foreign": without, "expired": expired}
        return {"unknown": "9999999"} | {what: account.customer_number for what, account in found.items()}


def without_its_own(answer: TestResponse) -> bytes:
    """Return the body of the answer without its ids, customer numbers and times, to compare it with another answer."""
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
    # The first call notes the token's use.
    front.get("/requests")
    for what, number in numbers.items():
        with statements() as at_first:
            asked = a_link(front, number, kind, **means)
        back.advance()
        ended = front.get(f"/requests/{asked.get_json()['id']}")
        waits = a_link(front, number).get_json()["id"]
        back.advance()
        waiting = front.get(f"/requests/{waits}")
        with statements() as later:
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
    # The limit per user applies to every customer number.
    codes = [a_link(front, f"900000{i}", "link_code", code="AAAAA AAAAA").status_code for i in range(10)]
    codes.append(a_link(front, "9000010", "link_code", code="AAAAA AAAAA").status_code)
    assert codes == [202] * 10 + [429]


def test_the_document_knows_what_is_new(front: Front) -> None:
    document = front.client.get("/api/v1/openapi.json").get_json()
    paths = document["paths"]
    assert "delete" in paths["/api/v1/accounts/{customer_number}/link"]
    assert "201" in paths["/api/v1/accounts/{customer_number}/link-code"]["post"]["responses"]
    for path in ("address-document", "certificate"):
        uploading = paths[f"/api/v1/requests/{{id}}/{path}"]["post"]["requestBody"]["content"]
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


def test_a_contacts_wrong_address_is_corrected(front: Front, back: Back) -> None:
    id = an_order(front, back)
    same = front.post(f"/requests/{id}/contact", {"email": CONTACT})
    assert (same.status_code, same.get_json()["errors"][0]["code"]) == (422, "same_address")
    assert front.post(f"/requests/{id}/contact", {"email": "hanna"}).status_code == 422
    done = [front.post(f"/requests/{id}/contact", {"email": "hanna@example.com"}, key="one") for _ in range(2)]
    assert [answer.status_code for answer in done] == [200, 200]
    back.advance()
    _, code = back.mail_to("hanna@example.com")
    assert front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": code}).status_code == 200
    assert front.post(f"/requests/{id}/contact", {"email": "other@example.com"}).status_code == 409
    with front.database.transaction() as session:
        front.main, front.manager = make_main(session)
    front.token = front.token_with(Scope.READ, Scope.WRITE)
    assert front.post(f"/requests/{id}/contact", {"email": "other@example.com"}).status_code == 404


def test_of_a_request_ten_documents_a_day_are_taken(front: Front, back: Back) -> None:
    id = an_order(front, back)
    for count in range(MOST_A_DAY):
        assert upload(front, id, PDF + bytes([count]), key=f"{count}").status_code == 200
    late = upload(front, id, PDF, key="late")
    assert late.status_code == 429 and int(late.headers["Retry-After"]) > 0
    back.clock.advance(timedelta(days=1))
    assert upload(front, id, PDF, key="next day").status_code == 200
