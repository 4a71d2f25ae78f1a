"""Tests that texts from forms and the API are stored without invisible characters, or are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.contract_holders import HolderData, check_holder
from models.people.invitations import Invitation
from models.people.passwords import hash_password
from models.people.users import User
from models.requests.requests import Request
from models.values import utc_now
from tests.factories import PASSWORD
from tests.web.api.test_naughty_bodies import WHOLE_ORDER
from tests.web.conftest import ORDER, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in


def order(**changes: object) -> dict[str, Any]:
    """Return the JSON body of an order with other values in some fields.

    A name such as `contact__email` stands for the field `email` of `contact`.
    """
    body = copy.deepcopy(WHOLE_ORDER if "directory_entry__name" in changes or "local_user__name" in changes else ORDER)
    for path, value in changes.items():
        part, _, name = path.partition("__")
        body[part][name] = value
    return body


def test_invisible_characters_of_an_api_call_are_taken_off(front: Front) -> None:
    body = order(
        location__street="Bru\u0308ckenstr.\u00a05",
        location__postal_code="10179\u200b",
        location__city="\ufeffBer\u00adlin",
        contact__name="\u202aHanna\u2009Palmer\u202c",
        contact__email="hanna\u200b@example.com",
        contact__phone="\u202d030 901820\u202c",
    )
    answer = front.post("/orders", body)
    assert answer.status_code == 202, answer.text
    with front.database.transaction() as session:
        number = answer.get_json()["customer_number"]
        account = session.scalars(sa.select(Account).where(Account.customer_number == number)).one()
        assert [account.street, account.postal_code, account.city] == ["Brückenstr. 5", "10179", "Berlin"]
        assert [account.contact_name, account.contact_email, account.contact_phone] == [
            "Hanna Palmer", "hanna@example.com", "+4930901820",
        ]  # fmt: skip


def test_invisible_characters_of_forms_are_taken_off_but_not_of_passwords(front: Front) -> None:
    status, _, _ = sign_in(front, f"\u200b{front.manager.email}\u00a0", PASSWORD + "\u00ad")
    assert status == 422
    with front.database.transaction() as session:
        session.get_one(User, front.manager.user_id).password_hash = hash_password("Zwölf\u200bZeichen!")
    assert sign_in(front, front.manager.email, "ZwölfZeichen!")[0] == 422
    assert sign_in(front, f"\u200b{front.manager.email}\u00a0", "Zwölf\u200bZeichen!")[0] == 302
    invite = f"/benutzer/{front.main.customer_number}/einladen"
    typed = {
        "name": "Anna\u200b\u00a0Filiale\u202e",
        "email": " Anna <anna@filiale.example\u200b>",
        "role": "administrator",
    }
    front.client.post(invite, data={"csrf_token": csrf(front.client.get(invite).text), **typed})
    with front.database.transaction() as session:
        found = session.scalars(sa.select(Invitation)).one()
        assert (found.name, found.email) == ("Anna Filiale", "anna@filiale.example")
    page = front.client.get(f"/standortverwaltung?suche=\u200b{front.main.customer_number}\u00a0").text
    assert front.main.customer_number in page and "\u200b" not in page


@pytest.mark.parametrize(
    ("field", "value", "english"),
    [
        ("contact__phone", "030 901820 App. 12", "nothing but the digits that are dialled"),
        ("contact__phone", "110", "Emergency and service numbers"),
        ("contact__phone", "Kim", "This is no phone number"),
        ("contact__email", "jörg@example.com", "before the @"),
        ("contact__email", "hanna@", "no complete e-mail address"),
        ("location__name", "分店 \U00012000", "We cannot print \U00012000 (U+12000)"),
        ("location__name", "#N/A", "error of the spreadsheet"),
        ("location__street", "#REF!", "error of the spreadsheet"),
        ("contact__name", "#NV", "error of the spreadsheet"),
        ("local_user__name", "#N/A", "error of the spreadsheet"),
        ("directory_entry__name", "#BEZUG!", "error of the spreadsheet"),
        ("directory_entry__name", "a\ue000", "We cannot print U+E000"),
    ],
)
def test_the_api_says_what_is_wrong(front: Front, field: str, value: str, english: str) -> None:
    answer = front.post("/orders", order(**{field: value}), **{"Accept-Language": "en"})
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["field"] == field.replace("__", ".") and english in str(error), error
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 0


@pytest.mark.parametrize("typed", ["+49 30", "0049 30", "+49 (0)30", "(030)", " 030 "])
def test_an_area_code_is_understood_with_its_country_code(front: Front, typed: str) -> None:
    answer = front.post("/orders", order(numbers__area_code=typed))
    assert answer.status_code == 202, answer.text


def test_a_form_says_that_mail_cannot_be_sent_to_letters_before_the_at(front: Front) -> None:
    sign_in(front, front.manager.email)
    invite = f"/benutzer/{front.main.customer_number}/einladen"
    typed = {"name": "Jörg", "email": "jörg@example.com", "role": "administrator"}
    answer = front.client.post(invite, data={"csrf_token": csrf(front.client.get(invite).text), **typed})
    assert answer.status_code == 422
    assert "vor dem @ kennen Mailserver nicht" in answer.text and 'value="jörg@example.com"' in answer.text
    assert_valid(answer.text)


def test_a_contract_holder_has_letters_that_can_be_printed() -> None:
    typed = {"form": "other", "street": "Hauptstr. 1", "postal_code": "10179", "city": "Berlin"}
    problems = check_holder({**typed, "name": "\U00012000 GmbH"}, utc_now().date())
    assert isinstance(problems, list)
    assert [(problem.field, problem.code, problem.allowed) for problem in problems] == [
        ("name", "unprintable", "\U00012000 (U+12000)")
    ]
    problems = check_holder({**typed, "name": "#NV"}, utc_now().date())
    assert isinstance(problems, list)
    assert [(problem.field, problem.code) for problem in problems] == [("name", "error_value")]
    assert isinstance(check_holder({**typed, "name": "Łódź Σ Жук 株式会社 שלום"}, utc_now().date()), HolderData)
