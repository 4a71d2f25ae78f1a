"""Tests of ordering a sub-account through the API.

An order is accepted at once, in one transaction. A repeated call with the same idempotency key gets the same answer and
creates no second order. An error names the wrong field and what would be allowed.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.rights import Role
from models.people.users import Membership
from models.requests.requests import Request
from models.telephony.country_prefixes import MOST_COUNTRIES, PREFIXES
from tests.factories import MOBILE
from tests.round_trips import PREPARED, traffic
from tests.web.conftest import ORDER, Front
from web.resources import resources


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the example order's JSON body with the field at this path, such as contact.name, set to `value`.

    The value `...` removes the field.
    """
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


def test_an_order_is_one_transaction_of_a_few_round_trips(front: Front) -> None:
    for _ in range(PREPARED):
        assert front.post("/orders", ORDER).status_code == 202
    with front.client.application.app_context():
        database = resources().database
    with traffic(database) as found:
        assert front.post("/orders", ORDER).status_code == 202
    assert found.transactions == 1
    # BEGIN, who calls, the key, what is known of the company, all rows, COMMIT.
    assert found.round_trips <= 6


def test_an_order_may_name_who_signs_in(front: Front) -> None:
    named = {**ORDER, "local_user": {"name": "Anna Filiale", "email": "Anna@filiale.example"}}
    assert front.post("/orders", named).status_code == 202
    assert front.post("/orders", {**ORDER, "local_user": None}).status_code == 202
    with front.database.transaction() as session:
        kept = session.scalars(sa.select(Request).order_by(Request.id)).all()
        assert [(one.local_user_name, one.local_user_email) for one in kept] == [
            ("Anna Filiale", "anna@filiale.example"),
            (None, None),
        ]
    wrong = front.post("/orders", {**ORDER, "local_user": {"name": "", "email": "x"}})
    assert wrong.status_code == 422
    assert [(found["field"], found["detail"]) for found in wrong.get_json()["errors"]] == [
        ("local_user.name", "Geben Sie den Namen der Person ein, die sich anmelden soll."),
        ("local_user.email", "Das ist keine vollständige E-Mail-Adresse. Ein Beispiel: name@firma.de"),
    ]


def test_an_order_may_say_how_calls_reach_the_phone_system(front: Front) -> None:
    for chosen in ("contact", "number", None):
        assert front.post("/orders", {**ORDER, "request_uri": chosen}).status_code == 202
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request.request_uri).order_by(Request.id)).all() == ["contact", "number", None]
    wrong = front.post("/orders", {**ORDER, "request_uri": "to"})
    assert wrong.status_code == 422
    [found] = wrong.get_json()["errors"]
    assert found["field"] == "request_uri" and "„contact“" in found["detail"]


def test_an_order_may_limit_the_trunk_to_countries(front: Front) -> None:
    assert front.post("/orders", {**ORDER, "countries": ["FR", "AT", "AT"]}).status_code == 202
    assert front.post("/orders", ORDER).status_code == 202
    fallback = {"options": ["mobile-backup"], "mobile_number": "+41791234567"}
    assert front.post("/orders", {**ORDER, **fallback, "countries": ["CH"]}).status_code == 202
    with front.database.transaction() as session:
        kept = session.scalars(sa.select(Request.countries).order_by(Request.id)).all()
    assert kept == [["AT", "DE", "FR"], None, ["CH", "DE"]]
    for wrong, field, words in (
        ({"countries": ["XX"]}, "countries.0", "DE, AT, 870"),
        ({"countries": []}, "countries", "1 bis 60"),
        ({"countries": sorted(PREFIXES.keys() - {"DE"})[:MOST_COUNTRIES]}, "countries", "1 bis 60"),
        ({**fallback, "countries": ["AT"]}, "countries", "+41791234567"),
    ):
        refused = front.post("/orders", {**ORDER, **wrong})
        assert refused.status_code == 422, wrong
        [found] = refused.get_json()["errors"]
        assert found["field"] == field and words in found["detail"]


def test_no_token_orders_a_trunk_that_calls_further_countries_than_usual(front: Front) -> None:
    fallback = {"options": ["mobile-backup"], "mobile_number": "+41791234567"}
    for role in (Role.ADMINISTRATOR, Role.LOCATION_MANAGER):
        with front.database.transaction() as session:
            session.execute(sa.update(Membership).where(Membership.user_id == front.manager.user_id).values(role=role))
        for more, named in (
            ({"countries": ["870", "AT", "CH"]}, "870, CH"),
            ({**fallback, "countries": ["CH", "US"]}, "US"),
        ):
            refused = front.post("/orders", {**ORDER, **more})
            assert refused.status_code == 422
            [found] = refused.get_json()["errors"]
            assert found["field"] == "countries" and "auf dem Dashboard" in found["detail"]
            assert found["detail"].endswith(f": {named}")
    assert count(front, Request) == 0


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
        ("location.city", "𒀀𒁀", "unprintable"),
        ("location.name", "klick auf http://evil.example", "web_address"),
        ("contact.name", "www.evil.example/login", "web_address"),
        ("product", "trunk-3", "unknown_product"),
        ("product", ..., "missing"),
        ("channels", 11, "channels_out_of_range"),
        ("location.postal_code", "1017", "string_pattern_mismatch"),
        ("location.city", " ", "string_too_short"),
        ("contact.email", "hanna", "value_error"),
        ("contact.phone", "abc", "value_error"),
        ("numbers.area_code", "0999", "unknown_area_code"),
        ("numbers.area_code", "089", "area_code_mismatch"),
        ("location.postal_code", "80331", "postal_code_elsewhere"),
        ("location.postal_code", "99999", "unknown_postal_code_of"),
        ("location.street", "Brückenstr.", "house_number_missing"),
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


@pytest.mark.parametrize(
    ("options", "number", "error"),
    [
        (["mobile-backup"], "0151 23456789", None),
        (["mobile-backup"], None, ("mobile_number", "missing")),
        (["mobile-backup"], "030 901820", ("mobile_number", "value_error")),
        (["mobile-backup"], "+8816 12345678", ("mobile_number", "high_risk")),
        ([], "0151 23456789", ("mobile_number", "without_option")),
        (["fax2mail"], None, ("options.0", "unknown_option")),
    ],
)
def test_an_option_is_ordered_with_its_details(
    front: Front, options: list[str], number: str | None, error: tuple[str, str] | None
) -> None:
    body = {**ORDER, "options": options} | ({"mobile_number": number} if number else {})
    answer = front.post("/orders", body)
    if error is not None:
        assert [(found["field"], found["code"]) for found in answer.get_json()["errors"]] == [error]
        return
    assert answer.status_code == 202
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request.option_details)).one() == {"mobile_number": MOBILE}


def test_what_cannot_be_ordered_is_not_on_the_price_list(front: Front) -> None:
    listed = {product["key"]: product for product in front.get("/products").get_json()["items"]}
    assert "fax2mail" not in listed
    assert listed["trunk-10"]["terms"] == {"term_months": 0, "notice_months": 1, "renewal_months": 0}
    assert listed["block-10"]["terms"] is None


PRINTED = {"name": "Muster Berlin", "show_address": True, "published_in": ["online", "print"]}


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (PRINTED, None),
        (None, ("directory_entry", "missing")),
        ({**PRINTED, "name": ""}, ("directory_entry.name", "string_too_short")),
        ({**PRINTED, "show_address": "yes"}, ("directory_entry.show_address", "bool_type")),
        ({**PRINTED, "published_in": []}, ("directory_entry.published_in", "too_short")),
        ({**PRINTED, "published_in": ["neon"]}, ("directory_entry.published_in.0", "literal_error")),
    ],
)
def test_a_directory_entry_is_ordered_with_what_it_says(
    front: Front, entry: dict[str, Any] | None, error: tuple[str, str] | None
) -> None:
    body = {**ORDER, "options": ["directory-entry"]} | ({"directory_entry": entry} if entry else {})
    answer = front.post("/orders", body)
    if error is not None:
        assert [(found["field"], found["code"]) for found in answer.get_json()["errors"]] == [error]
        return
    assert answer.status_code == 202
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request.option_details)).one() == {"directory_entry": PRINTED}
