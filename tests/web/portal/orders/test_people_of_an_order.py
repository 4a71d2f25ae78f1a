"""Tests of the people whom an order names: the local user, who will be invited, and the contract holder."""

from __future__ import annotations

import io
import re

import pytest
from pypdf import PdfReader

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder
from models.errors import InvalidField
from models.people.rights import Role
from tests.factories import HOLDER, join, make_user, prove_contact
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.orders.ordering import begin, fill, fill_all, fresh, order, requests_in
from tests.web.portal.page.test_portal import csrf, sign_in

ANNA = {"local_user": "somebody_else", "local_user_name": "Anna Filiale", "local_user_email": "Anna@filiale.example"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"local_user_name": " "}, "Geben Sie den Namen der Person ein, die sich anmelden soll."),
        ({"local_user_email": ""}, "Geben Sie die E-Mail-Adresse der Person ein, die sich anmelden soll."),
        ({"local_user_email": "anna@"}, "keine vollständige E-Mail-Adresse"),
    ],
)
def test_somebody_else_who_signs_in_has_a_name_and_an_address(
    front: Front, changes: dict[str, str], complaint: str
) -> None:
    draft = begin(front)
    fill_all(front, draft)
    answer = fill(front, draft, "kontakt", **ANNA | changes)
    [field] = changes
    assert answer.status_code == 422 and answer.text.count(complaint) == 2 and f'href="#{field}"' in answer.text
    # What is wrong does not matter if somebody else signs in, or nobody yet.
    assert fill(front, draft, "kontakt", **ANNA | changes | {"local_user": "nobody_yet"}).status_code == 303


@pytest.mark.parametrize(
    ("changes", "shown", "named"),
    [
        ({}, "laden wir Hanna Palmer per E-Mail ein", ("Hanna Palmer", "hanna.palmer@example.com")),
        ({"local_user": "contact"}, "laden wir Hanna Palmer per", ("Hanna Palmer", "hanna.palmer@example.com")),
        (ANNA, "laden wir Anna Filiale per E-Mail ein", ("Anna Filiale", "anna@filiale.example")),
        ({"local_user": "nobody_yet"}, "Vorerst niemand", (None, None)),
    ],
)
def test_the_order_asks_who_shall_sign_in_and_that_is_the_contact_unless_said_otherwise(
    front: Front, changes: dict[str, str], shown: str, named: tuple[str | None, str | None]
) -> None:
    draft = begin(front)
    fill_all(front, draft, "produkt", "standort", "rufnummern")
    assert 'value="contact" checked' in front.client.get(f"{draft}/kontakt").text
    fill(front, draft, "kontakt", **changes)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert shown in summary
    order(front.client, draft, summary)
    [request] = requests_in(front.database)
    assert (request.local_user_name, request.local_user_email) == named


def test_a_person_of_the_main_account_needs_no_invitation_and_the_summary_says_so(front: Front) -> None:
    draft = begin(front)
    fill_all(front, draft)
    fill(front, draft, "kontakt", email=front.manager.email)
    summary = front.client.get(f"{draft}/zusammenfassung").text
    assert "Hat über den Hauptaccount schon Zugang" in summary and "laden wir" not in summary


def test_who_is_known_is_not_asked_again(front: Front) -> None:
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    draft = begin(front)
    summary = fill_all(front, draft)
    assert "ist uns schon bekannt" in summary and "Die Anschlussadresse ist schon nachgewiesen." in summary
    assert "einen Brief mit einem Code" not in summary
    own = fill(front, draft, "kontakt", go="own")
    assert own.headers["Location"] == f"{draft}/kontakt"
    assert f'value="{front.manager.email}"' in front.client.get(f"{draft}/kontakt").text


COMPANY = {
    "holder_name": "Muster Logistik GmbH", "holder_form": "company",
    "holder_register_number": "HRB 4711, Amtsgericht Bielefeld", "holder_street": "Kontor 7",
    "holder_postal_code": "33603", "holder_city": "Bielefeld",
}  # fmt: skip


def _refuse_postal_code(*_: object) -> None:
    raise InvalidField("location.postal_code", "unknown_postal_code")


def test_the_contract_holder_is_asked_for_before_the_button_and_shown_from_then_on(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front.database.transaction() as session:
        colleague = make_user(session)
        join(session, colleague, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    sign_in(front, colleague.email)
    draft = fresh(front)
    summary = fill_all(front, draft)
    assert "Mit wem schließen wir den Vertrag?" in summary and 'name="holder_name"' in summary
    shown = re.search(r'name="shown" value="(\w+)"', summary)
    assert shown is not None
    sent = {"csrf_token": csrf(summary), "shown": shown[1]}
    wrong = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY, "holder_city": ""})
    assert wrong.status_code == 422 and wrong.text.count("Geben Sie den Ort ein.") == 2
    assert 'value="Kontor 7"' in wrong.text and requests_in(front.database) == []
    assert_valid(wrong.text)
    changed = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY, "shown": "another"})
    assert changed.status_code == 409 and "seit diese Seite angezeigt wurde" in changed.text
    assert 'value="Kontor 7"' in changed.text and requests_in(front.database) == []
    assert_valid(changed.text)
    with monkeypatch.context() as patch:
        # Something that the forms let pass.
        patch.setattr("web.portal.orders.summary.place_order", _refuse_postal_code)
        refused = front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY})
    assert refused.status_code == 422 and "nicht möglich" in refused.text
    assert 'value="Kontor 7"' in refused.text and requests_in(front.database) == []
    with front.database.transaction() as session:
        assert session.get(ContractHolder, front.main.id) is None
    assert front.client.post(f"{draft}/bestellen", data={**sent, **COMPANY}).status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(ContractHolder, front.main.id).data == HOLDER
    assert len(requests_in(front.database)) == 1
    # Known now: shown on the next summary and on its offer, and not changed by a location manager.
    draft = fresh(front)
    summary = fill_all(front, draft)
    assert "Kontor 7" in summary and 'name="holder_name"' not in summary and "/vertragsinhaber" not in summary
    offer = PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text()
    assert "Muster Logistik GmbH" in offer and "Kontor 7" in offer and "Alter Markt 1" not in offer
    sent = {"csrf_token": csrf(summary), "shown": re.findall(r'name="shown" value="(\w+)"', summary)[0]}
    again = requests_in(front.database)[0].customer_number
    other = {**COMPANY, "holder_name": "Andere AG", "again": again}
    assert front.client.post(f"{draft}/bestellen", data={**sent, **other}).status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(ContractHolder, front.main.id).name == "Muster Logistik GmbH"
