"""Tests of the pages on which a second person approves orders, and of the one on which the company demands that."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from models.accounts.accounts import Account
from models.people.rights import Role
from models.people.users import Membership, User, principal_of
from models.requests.requests import Request
from models.states import Reason, Status
from tests.factories import NOW, join, make_bulk, make_user, prove_contact, sites
from tests.web.conftest import ORDER, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import browser, enter_password, press
from web.portal.requests import approvals

LIST = "/freigaben"


@pytest.fixture
def second(front: Front) -> FlaskClient:
    """Add a location manager to the main account, and sign in the manager; return the location manager's browser."""
    with front.database.transaction() as session:
        person, main = make_user(session, email="zweite@firma.example"), session.get_one(Account, front.main.id)
        join(session, person, main, Role.LOCATION_MANAGER)
        prove_contact(session, main)
    sign_in(front, front.manager.email)
    client = browser(front)
    enter_password(client, "zweite@firma.example")
    return client


def setting(front: Front) -> str:
    """Return the path of the page on which the main account's sum is set."""
    return f"/benutzer/{front.main.customer_number}/freigabe"


def waiting(front: Front, back: Back) -> UUID:
    """Set the sum to one euro, order with the manager's API token, and let the workers run; return the request's id."""
    assert press(front.client, setting(front), sum="1").status_code == 303
    id = UUID(front.post("/orders", ORDER).get_json()["id"])
    back.advance()
    return id


def stand(front: Front, id: UUID) -> tuple[Status, Reason | None]:
    """Return status and reason of the request."""
    with front.database.transaction() as session:
        found = session.get_one(Request, id)
        return found.status, found.reason


def test_a_second_person_approves_what_a_token_has_ordered(front: Front, back: Back, second: FlaskClient) -> None:
    id = waiting(front, back)
    body = front.get(f"/requests/{id}").get_json()
    assert (body["status"], body["reason"], body["next"]["actor"]) == ("pending", "approval_awaited", "approver")
    assert body["proofs"][0]["kind"] == "approval" and body["proofs"][0]["state"] == "open"
    own = front.client.get(f"/anfragen/{id}").text
    assert "Jetzt ist eine zweite Person Ihres Unternehmens an der Reihe" in own and f"{LIST}/{id}" not in own
    assert front.client.get(f"{LIST}/{id}").status_code == 404
    assert "Nichts wartet auf Ihre Freigabe" in front.client.get(LIST).text

    assert "Ein Auftrag wartet auf Ihre Freigabe" in second.get("/standortverwaltung").text
    listed = second.get(LIST).text
    assert_valid(listed)
    assert f"{LIST}/{id}" in listed and front.manager.name in listed
    page = second.get(f"{LIST}/{id}").text
    assert_valid(page)
    assert "Netto" in page and front.manager.email in page
    assert press(second, f"{LIST}/{id}", page).status_code == 422
    assert press(second, f"{LIST}/{id}", page, decision="approve").location == f"/anfragen/{id}"
    for _ in range(3):
        back.advance()
    assert stand(front, id)[0] is Status.COMPLETED
    shown = front.client.get(f"/anfragen/{id}").text
    assert_valid(shown)
    assert "Eine zweite Person des Unternehmens hat den Auftrag freigegeben." in shown and "Freigegeben von" in shown
    log = front.client.get(f"/standortverwaltung/{front.main.customer_number}/protokoll").text
    assert "Festgelegt, dass eine zweite Person Aufträge ab 1,00" in log and "freigegeben (" in log
    assert second.get(f"{LIST}/{id}").location == f"/anfragen/{id}"


def test_a_refusal_shows_its_reason(front: Front, back: Back, second: FlaskClient) -> None:
    id = waiting(front, back)
    path = f"{LIST}/{id}"
    assert press(second, path, decision="refuse", note="x" * 501).status_code == 422
    assert press(second, path, decision="refuse", note="Zu <teuer>.").status_code == 303
    back.advance()
    assert stand(front, id) == (Status.REJECTED, Reason.APPROVAL_REFUSED)
    shown = front.client.get(f"/anfragen/{id}").text
    assert_valid(shown)
    assert "Zu &lt;teuer&gt;." in shown and "Abgelehnt von" in shown
    assert front.get(f"/requests/{id}").get_json()["reason"] == "approval_refused"


def test_the_sum_can_only_be_set_with_a_second_person(front: Front) -> None:
    sign_in(front, front.manager.email)
    page = front.client.get(setting(front)).text
    assert_valid(page)
    assert "Zurzeit kann nur eine Person bestellen" in page and "einladen" in page
    assert press(front.client, setting(front), page, sum="50").status_code == 409
    with front.database.transaction() as session:
        assert session.get_one(Account, front.main.id).approval_from_cents is None


@pytest.mark.parametrize("typed", ["", "0", "-5", "1.5", "1000000", "fünf", "５"])
def test_a_sum_that_is_no_number_of_euros_is_refused(front: Front, second: FlaskClient, typed: str) -> None:
    answer = press(front.client, setting(front), sum=typed)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert_valid(answer.text)


def test_the_administrator_sees_the_sum_and_ends_it_and_nobody_else(front: Front, second: FlaskClient) -> None:
    assert press(front.client, setting(front), sum="50").status_code == 303
    users = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert "ab 50,00" in users
    assert second.get(setting(front)).status_code == 404
    assert press(front.client, setting(front), off="yes").status_code == 303
    with front.database.transaction() as session:
        assert session.get_one(Account, front.main.id).approval_from_cents is None


def test_a_request_says_that_nobody_is_left_and_what_to_do(front: Front, back: Back, second: FlaskClient) -> None:
    id = waiting(front, back)
    with front.database.transaction() as session:
        person = session.scalars(sa.select(User).where(User.email == "zweite@firma.example")).one()
        session.delete(session.get_one(Membership, (person.id, front.main.id)))
        session.get_one(Request, id).make_due(NOW)
    back.advance()
    shown = front.client.get(f"/anfragen/{id}").text
    assert_valid(shown)
    assert "Jetzt sind Sie an der Reihe" in shown and "laden Sie jemanden ein" in shown
    assert second.get(f"{LIST}/{id}").status_code == 404


def waiting_file(front: Front, back: Back) -> UUID:
    """Let orders of any price wait for a second person, send a file with three, and return its id once they wait."""
    assert press(front.client, setting(front), sum="1").status_code == 303
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        manager = principal_of(session, session.get_one(User, front.manager.user_id))
        bulk = make_bulk(session, manager, main, sites(3))
        bulk.send(NOW)
        id = bulk.id
    for _ in range(4):
        back.advance()
    return id


def test_a_decision_for_which_there_was_no_time_is_asked_for_again(
    front: Front, back: Back, second: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{LIST}/datei/{waiting_file(front, back)}"
    monkeypatch.setattr(approvals, "LONGEST", 0)
    monkeypatch.setattr(approvals, "FILE_CHUNK", 2)
    assert press(second, path, second.get(path).text, decision="approve").location == path
    page = second.get(path).text
    assert "1 Anfrage der Datei wartet noch" in page
    assert press(second, path, page, decision="approve").location == LIST
    assert second.get(path).status_code == 404


def test_the_orders_of_a_file_are_decided_on_together(front: Front, back: Back, second: FlaskClient) -> None:
    id = waiting_file(front, back)
    with front.database.transaction() as session:
        reasons = session.scalars(sa.select(Request.reason).where(Request.bulk_id == id)).all()
        assert reasons == [Reason.APPROVAL_AWAITED] * 3
    asked = [mail for mail in back.mailer.sent if "freigeben" in mail.subject]
    assert [mail.recipient_address for mail in asked] == ["zweite@firma.example"]
    assert f"Datei mit Bestellungen, Kundennummer {front.main.customer_number}" in asked[0].subject
    assert re.search(r"warten: ?\s*3", asked[0].text)
    assert front.client.get(f"{LIST}/datei/{id}").status_code == 404
    listed = second.get(LIST).text
    assert_valid(listed)
    assert "3 Anfragen warten." in listed
    page = second.get(f"{LIST}/datei/{id}").text
    assert_valid(page)
    assert press(second, f"{LIST}/datei/{id}", page, decision="approve").location == LIST
    for _ in range(4):
        back.advance()
    with front.database.transaction() as session:
        done = session.scalars(sa.select(Request.status).where(Request.bulk_id == id)).all()
        assert done == [Status.COMPLETED] * 3
    assert second.get(f"{LIST}/datei/{id}").status_code == 404
