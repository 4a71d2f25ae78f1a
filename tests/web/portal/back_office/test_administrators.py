"""Tests of the page on which staff appoint an administrator of an account that has none."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.audit_log import AuditEntry
from models.people.invitations import Invitation
from models.states import AccountState
from tests.factories import join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.back_office.desk import OFFICE, Desk, staff
from tests.web.portal.links.test_switch import asked as asked_for_switch
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import NEW, link_to, post

PROOF = "Handelsregisterauszug per Post, Rückruf unter der Nummer im Register"


@pytest.fixture
def desk(front: Front) -> Desk:
    """Provide a browser in which a member of staff is signed in."""
    return Desk(front.client.application.test_client(), staff(front, "Bo Backoffice").email)


def test_a_question_that_reaches_nobody_is_something_to_do(front: Front, back: Back, desk: Desk) -> None:
    with front.database.transaction() as session:
        account = make_account(session)
    body = {"customer_number": account.customer_number, "proof": {"method": "consent"}}
    id = front.post("/link-requests", body).get_json()["id"]
    back.advance()
    page = desk.page(OFFICE)
    assert account.customer_number in page and "Zustimmung erreicht niemanden" in page
    assert account.customer_number in desk.page(OFFICE + "?status=consent")
    page = desk.page(f"{OFFICE}/anfragen/{id}")
    path = f"{OFFICE}/konten/{account.customer_number}/administrator"
    assert "Er hat keinen Administrator" in page and f'href="{path}"' in page
    assert f'href="{path}"' in desk.page(f"/standortverwaltung/{account.customer_number}")
    form = desk.page(path)
    wrong = desk.press(path, form, name="Hanna Palmer", email="hanna@example.com", language="en", proof="gesehen")
    assert wrong.status_code == 422 and "20 bis 1.000 Zeichen" in wrong.text and ">gesehen<" in wrong.text
    assert_valid(wrong.text)
    empty = desk.press(path, form, name="", email="x", proof="")
    for said in (
        "Geben Sie den Namen ein.",
        "Das ist keine vollständige E-Mail-Adresse.",
        "Notieren Sie, welchen Nachweis",
    ):
        assert said in empty.text
    done = desk.press(path, form, name="Hanna Palmer", email="Hanna@example.com", language="en", proof=PROOF)
    assert done.request.path == f"/standortverwaltung/{account.customer_number}"
    assert "ist unterwegs" in done.text
    assert "hanna@example.com" in desk.page(path)
    assert "Nichts zu erledigen" in desk.page(OFFICE)
    back.advance()
    assert "Our customer service has invited you" in " ".join(back.mailer.sent[-1].text.split())
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Invitation.email)).all() == ["hanna@example.com"]
        told = session.scalars(sa.select(AuditEntry).where(AuditEntry.facts["proof"].astext == PROOF)).one()
        assert told.by_staff
        # The customer reads it, too.
        owner = make_user(session)
        join(session, owner, session.get_one(Account, account.id))
    sign_in(front, owner.email)
    log = front.client.get(f"/standortverwaltung/{account.customer_number}/protokoll").text
    assert f"Nachweis: {PROOF}" in log and "Kundenservice" in log


def test_a_main_account_that_nobody_can_answer_for_is_something_to_do(
    front: Front, back: Back, desk: Desk, superuser: sa.Engine
) -> None:
    id, account, _, main, chief = asked_for_switch(front, back)
    with superuser.begin() as connection:
        connection.execute(sa.text("DELETE FROM memberships WHERE user_id = :id"), {"id": chief.id})
        connection.execute(sa.text("UPDATE main_consents SET unreached_since = now()"))
    assert "Zustimmung erreicht niemanden" in desk.page(OFFICE)
    page = desk.page(f"{OFFICE}/anfragen/{id}")
    path = f"{OFFICE}/konten/{main.customer_number}/administrator"
    assert "Beim bisherigen Hauptaccount kann niemand" in page and f'href="{path}"' in page
    assert f"{OFFICE}/konten/{account.customer_number}/administrator" not in page
    done = desk.press(path, desk.page(path), name="Hanna Palmer", email="hanna@example.com", proof=PROOF)
    assert "ist unterwegs" in done.text and "Nichts zu erledigen" in desk.page(OFFICE)
    # Who accepts is asked at once, not with the next reminder.
    assert post(front.client.application.test_client(), link_to(back, "hanna@example.com"), password=NEW).location
    back.advance()
    asked = [mail for mail in back.mailer.sent if mail.recipient_address == "hanna@example.com"]
    assert any(f"/zustimmung/{id}/" in mail.text for mail in asked)


def test_several_administrators_can_do_it_themselves(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        one = make_user(session)
        account = make_account(session, administrator=one)
        closed = make_account(session, state=AccountState.CLOSED)
    path = f"{OFFICE}/konten/{account.customer_number}/administrator"
    form = desk.page(path)
    assert one.email in form and "nicht mehr erreichbar" in form
    known = desk.press(path, form, name="One", email=one.email, proof=PROOF)
    assert known.status_code == 422 and "verwaltet den Account schon" in known.text
    with front.database.transaction() as session:
        join(session, make_user(session), session.get_one(Account, account.id))
    refused = desk.press(path, form, name="Hanna", email="hanna@example.com", proof=PROOF)
    assert refused.status_code == 409 and "Mehrere Personen verwalten diesen Account" in refused.text
    assert path not in desk.page(f"/standortverwaltung/{account.customer_number}")
    for number in (closed.customer_number, "9999999"):
        desk.page(f"{OFFICE}/konten/{number}/administrator", 404)


@pytest.mark.parametrize("who", ["customer", None])
def test_the_page_is_there_for_staff_alone(front: Front, who: str | None) -> None:
    visitor = Desk(front.client, front.manager.email if who else None)
    visitor.page(f"{OFFICE}/konten/{front.main.customer_number}/administrator", 404)
