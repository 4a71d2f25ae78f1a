"""Tests of the pages of a switch: a request by which an account goes to another main account.

They show what the account, its present main account and the new one can do and see, before and after.
"""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.people.audit_log import AuditEntry
from models.people.rights import Role
from models.people.users import User
from models.proofs.proofs import MainConsent
from models.states import AccountRole, Kind, Origin
from tests.factories import NOW, PASSWORD, join, make_account, make_main, make_staff, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.links.test_link_wizard import START, add, page_of, requests
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.proofs.answering import WRONG, send, status, title
from tests.web.whole_portal import signed_in


def elsewhere(front: Front) -> tuple[Account, User, Account, User]:
    """Create a sub-account of another main account.

    Return the sub-account, its administrator, the main account and its administrator.
    """
    with front.database.transaction() as session:
        main, chief = make_main(session, name="Alpenfracht AG")
        owner = make_user(session)
        account = make_account(session, administrator=owner, name="Lager Süd")
        attach(session, main.id, account.id, Origin.LINK, NOW)
        session.flush()
        return account, owner, main, session.get_one(User, chief.user_id)


def turn_to(front: Front, email: str) -> None:
    """Sign in as the user with this e-mail address, in place of the user who is signed in."""
    front.client.delete_cookie("session")
    sign_in(front, email)


def asked(front: Front, back: Back) -> tuple[str, Account, User, Account, User]:
    """Request a switch in the portal for a sub-account of another main account, and run the workers.

    The login of the sub-account's administrator is the proof of ownership. Return the request's id, the sub-account,
    its administrator, its main account and that one's administrator.
    """
    account, owner, main, chief = elsewhere(front)
    sign_in(front, front.manager.email)
    page = page_of(
        add(front, account.customer_number, "zugangsdaten", email=owner.email, password=PASSWORD, switches="y")
    )
    back.advance()
    return page.rpartition("/")[2], account, owner, main, chief


def test_a_link_that_is_refused_leads_to_a_switch(front: Front, back: Back) -> None:
    account, owner, main, _ = elsewhere(front)
    number = account.customer_number
    turn_to(front, front.manager.email)
    refused = page_of(add(front, number, "zugangsdaten", email=owner.email, password=PASSWORD))
    back.advance()
    page = front.client.get(refused).text
    assert "oder er wechselt in einem Schritt" in page and main.customer_number not in page and main.name not in page
    assert f"{START}/{number}?" in page and "wechsel=ja" in page and "Um einen Wechsel bitten" in page
    ways = front.client.get(f"{START}/{number}?wechsel=ja").text
    assert f"{START}/{number}/zustimmung?wechsel=ja" in ways
    last = front.client.get(f"{START}/{number}/zustimmung?wechsel=ja").text
    assert 'name="switches" value="y" checked' in last and "sagen wir niemandem" in last
    assert "Ein Account auf der Sammelrechnung" in last and "entfallen" in last
    # Without that it is not ticked, for any number.
    assert 'value="y" checked' not in front.client.get(f"{START}/{number}/zustimmung").text


def test_the_asking_side_sees_neither_account_nor_main_account_before_both_agreed(front: Front, back: Back) -> None:
    id, account, _, main, _ = asked(front, back)
    shown = front.client.get(f"/anfragen/{id}").text
    assert "Jetzt sind die Administratoren des bisherigen Hauptaccounts an der Reihe" in shown
    assert "Zustimmung des bisherigen Hauptaccounts" in shown and "Wechsel des Hauptaccounts" in shown
    for path in (f"/anfragen/{id}", "/standortverwaltung", "/anfragen"):
        page = front.client.get(path).text
        assert account.customer_number in page
        for secret in (main.customer_number, main.name, account.name):
            assert secret not in page, (path, secret)
    assert front.client.get(f"/standortverwaltung/{account.customer_number}").status_code == 404
    told = front.get(f"/requests/{id}")
    assert main.customer_number not in told.text and account.name not in told.text


def test_the_present_main_account_answers_by_the_mail(front: Front, back: Back) -> None:
    id, account, owner, main, chief = asked(front, back)
    path, code = back.mail_to(chief.email)
    front.client.delete_cookie("session")
    page = front.client.get(path)
    assert_valid(page.text)
    assert title(page) == f"Darf Ihr Nebenaccount {account.customer_number} zu einem anderen Hauptaccount wechseln?"
    for said in (
        front.main.customer_number,
        account.name,
        "Einer seiner Administratoren hat zugestimmt",
        "Sammelrechnung",
    ):
        assert said in page.text
    assert send(front, path, code=WRONG, decision="accepted").status_code == 422
    assert send(front, path, code=code, decision="accepted").status_code == 303
    back.advance()
    assert status(front, id) == "completed"
    done = front.client.get(path)
    assert title(done) == "Die Zustimmung wurde erteilt" or "zugestimmt, dass der Account" in done.text
    assert account.name not in done.text
    with front.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id == front.main.id
        entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "switch_answered")).all()
    assert [(entry.account_id, entry.user_id, entry.through_id) for entry in entries] == [
        (account.id, chief.id, main.id)
    ]
    turn_to(front, owner.email)
    log = front.client.get(f"/standortverwaltung/{account.customer_number}/protokoll").text
    assert f"zugestimmt, dass der Account zum Hauptaccount {front.main.customer_number} wechselt" in log


def test_the_present_main_account_answers_signed_in_and_then_sees_the_account_no_more(front: Front, back: Back) -> None:
    id, account, _, _, chief = asked(front, back)
    turn_to(front, chief.email)
    assert "Eine Anfrage wartet auf Ihre Zustimmung" in front.client.get("/standortverwaltung").text
    listed = front.client.get("/zustimmungen").text
    assert f"/zustimmung/{id}" in listed and "Ihr Nebenaccount" in listed
    page = front.client.get(f"/zustimmung/{id}").text
    assert front.main.name in page and front.manager.name in page
    assert send(front, f"/zustimmung/{id}", decision="accepted").status_code == 303
    assert "zugestimmt, dass der Account" in front.client.get(f"/zustimmung/{id}").text
    back.advance()
    after = front.client.get(f"/zustimmung/{id}")
    assert after.status_code == 200 and account.name not in after.text
    for path in (f"/standortverwaltung/{account.customer_number}", f"/anfragen/{id}"):
        assert front.client.get(path).status_code == 404
    assert account.customer_number not in front.client.get("/standortverwaltung").text
    assert f"/zustimmung/{id}" not in front.client.get("/zustimmungen").text
    turn_to(front, front.manager.email)
    assert account.name in front.client.get(f"/standortverwaltung/{account.customer_number}").text
    assert "Der Account steht jetzt in Ihrer Übersicht" in front.client.get(f"/anfragen/{id}").text


def test_the_account_itself_answers_first_and_its_main_account_is_asked_after_that(front: Front, back: Back) -> None:
    account, owner, _, chief = elsewhere(front)
    turn_to(front, front.manager.email)
    id = page_of(add(front, account.customer_number, "zustimmung", switches="y")).rpartition("/")[2]
    back.advance()
    [question] = [mail.text for mail in back.mailer.sent if mail.recipient_address == owner.email]
    assert "wird dieser nach Ihnen gefragt" in " ".join(question.split())
    assert [mail.recipient_address for mail in back.mailer.sent].count(chief.email) == 0
    turn_to(front, chief.email)
    assert front.client.get(f"/zustimmung/{id}").status_code == 404
    assert "wartet auf Ihre Zustimmung" not in front.client.get("/standortverwaltung").text
    turn_to(front, owner.email)
    assert f"/zustimmung/{id}" in front.client.get("/zustimmungen").text
    assert "Dieser wird nach Ihnen gefragt" in front.client.get(f"/zustimmung/{id}").text
    assert send(front, f"/zustimmung/{id}", decision="accepted").status_code == 303
    back.advance()
    # Mails leave in any order, and one told of the sign-in.
    told = [mail.text for mail in back.mailer.sent if mail.recipient_address == chief.email]
    assert sum(f"/zustimmung/{id}/" in text for text in told) == 1
    turn_to(front, chief.email)
    assert send(front, f"/zustimmung/{id}", decision="declined").status_code == 303
    assert "Er bleibt Ihr Nebenaccount" in front.client.get(f"/zustimmung/{id}").text
    back.advance()
    turn_to(front, front.manager.email)
    shown = front.client.get(f"/anfragen/{id}").text
    assert "Der bisherige Hauptaccount hat abgelehnt" in shown and "Um einen Wechsel bitten" in shown


@pytest.mark.parametrize("who", ["another company", "the asking side", "a location manager", "the account"])
def test_nobody_else_opens_the_question(front: Front, back: Back, who: str) -> None:
    id, _, owner, main, chief = asked(front, back)
    with front.database.transaction() as session:
        stranger = make_user(session)
        make_account(session, administrator=stranger)
        manager = make_user(session)
        join(session, manager, session.get_one(Account, main.id), Role.LOCATION_MANAGER)
    email = {
        "another company": stranger.email, "the asking side": front.manager.email,
        "a location manager": manager.email, "the account": owner.email,
    }[who]  # fmt: skip
    path, _ = back.mail_to(chief.email)
    turn_to(front, email)
    assert front.client.get(f"/zustimmung/{id}").status_code == 404
    parts = path.split("/")
    assert front.client.get(path.replace(f"/{parts[3]}/", f"/{owner.id}/")).status_code == 404
    with front.database.transaction() as session:
        assert session.get_one(MainConsent, UUID(id)).decision is None


def test_an_own_account_of_another_main_account_comes_over_with_a_tick(front: Front, back: Back) -> None:
    account, _, _, chief = elsewhere(front)
    with front.database.transaction() as session:
        join(session, session.get_one(User, front.manager.user_id), session.get_one(Account, account.id))
    turn_to(front, front.manager.email)
    path = f"{START}/{account.customer_number}/eigener-account"
    assert 'value="y" checked' in front.client.get(path).text
    page_of(add(front, account.customer_number, "eigener-account", switches="y"))
    back.advance()
    assert [request.kind for request in requests(front)] == [Kind.SWITCH]
    back.mail_to(chief.email)


def test_the_back_office_sees_who_is_asked(front: Front, back: Back) -> None:
    id, _, _, main, _ = asked(front, back)
    with front.database.transaction() as session:
        staff = make_staff(session)
    page = signed_in(front, staff.email).get(f"/backoffice/anfragen/{id}")
    assert f"Zustimmung des bisherigen Hauptaccounts ({main.customer_number}, {main.name}): offen" in page.text


def test_a_question_that_was_put_to_a_former_main_account_is_settled(front: Front, back: Back) -> None:
    _, account, _, _, chief = asked(front, back)
    path, _ = back.mail_to(chief.email)
    with front.database.transaction() as session:
        found = session.get_one(Account, account.id)
        found.role, found.main_id, found.origin, found.attached_at = AccountRole.STANDALONE, None, None, None
    front.client.delete_cookie("session")
    page = front.client.get(path)
    assert "wartet nicht mehr auf eine Zustimmung" in page.text and "<form" not in page.text.split("<main")[1]


def test_a_former_main_account_sees_the_costs_of_its_own_months_once_the_account_is_closed(
    front: Front, back: Back, superuser: sa.Engine
) -> None:
    _, account, _, _, chief = asked(front, back)
    path, code = back.mail_to(chief.email)
    send(front, path, code=code, decision="accepted")
    back.advance()
    number = account.customer_number
    with superuser.begin() as connection:
        for statement in (
            "INSERT INTO contracts (account_id, started_at) SELECT id, :now FROM accounts WHERE customer_number = :n",
            "INSERT INTO contract_items (contract_id, product_key, monthly_cents, one_off_cents)"
            " SELECT max(id), 'trunk-10', 3100, 0 FROM contracts",
            # As if it had moved two months later.
            "UPDATE main_consents SET moved_at = timestamptz '2026-05-10 12:00+02'",
        ):
            connection.execute(sa.text(statement), {"now": NOW, "n": number})
    months = ("2026-03", "2026-04", "2026-05")

    def listed() -> list[bool]:
        return [number in front.client.get(f"/standortverwaltung/kosten?monat={month}").text for month in months]

    turn_to(front, chief.email)
    assert listed() == [False, False, False]
    with superuser.begin() as connection:
        gone = "state = 'closed', role = 'standalone', main_id = NULL, origin = NULL, attached_at = NULL"
        connection.execute(sa.text(f"UPDATE accounts SET {gone} WHERE customer_number = :n"), {"n": number})
    assert listed() == [True, True, False]
    turn_to(front, front.manager.email)
    assert listed() == [False, False, False]
