"""Tests of people who delete their login: their access ends, and their name and addresses are erased.

They stay in business letters, which must be kept for six years (§ 257 HGB).
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

import models.schema
from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.db.session import Database
from models.errors import BeingErased
from models.messages.outbox import Message, Recipient
from models.orders.drafts import Draft
from models.people.erasure_requests import Erasure
from models.people.invitation_acceptance import accept
from models.people.invitations import Invitation, invite
from models.people.members import change_role
from models.people.rights import Role
from models.people.second_factors import SecondFactor, reset_factors
from models.people.users import Membership, User, principal_of, roles_of
from models.requests.requests import Request
from models.staff.erasing_people import BUSINESS_LETTERS, ask_for_erasure
from models.states import AccountState, Status
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tests.factories import NOW, PASSWORD, give_app, join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.web.api.calls import token_of
from tests.web.conftest import ORDER, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.test_roles_of_users import wait_until_somebody_waits
from tests.web.portal.people.test_second_factor import NEW_PASSWORD, browser, press

PAGE = "/anmeldung/loeschen"
NAME, ADDRESS = "Ulrike Unverwechselbar", "ulrike@unverwechselbar.example"
KEPT = {("messages", "recipient_name"), ("messages", "recipient_address"), ("messages", "facts")}
"""Tables and columns in which name and address stay: those of business letters."""


def delete(front: Front, password: str = PASSWORD) -> Any:
    page = front.client.get(PAGE).text
    assert_valid(page)
    return front.client.post(PAGE, data={"csrf_token": csrf(page), "password": password})


def job(back: Back) -> None:
    back.advance()
    run = run_job(back.runtime, JOBS["erasures"], by_hand=True)
    assert run is not None and run.error is None


def where_found(database: Database, word: str) -> set[tuple[str, str]]:
    """Return pairs of table and column for each column of the database in which a value contains the word."""
    found = set()
    with database.transaction() as session:
        for table in models.schema.metadata.sorted_tables:
            for column in table.columns:
                text = sa.cast(column, sa.Text).ilike(f"%{word}%")
                if session.scalar(sa.select(sa.exists().select_from(table).where(text))):
                    found.add((table.name, column.name))
    return found


def newcomer(front: Front, role: Role = Role.LOCATION_MANAGER) -> int:
    with front.database.transaction() as session:
        user = make_user(session, name=NAME, email=ADDRESS)
        join(session, user, session.get_one(Account, front.main.id), role)
        give_app(session, user)
        return user.id


def test_a_role_in_a_closed_account_stays_out_of_it(front: Front) -> None:
    with front.database.transaction() as session:
        user = make_user(session)
        make_account(session, administrator=user, state=AccountState.CLOSED)
        ask_for_erasure(session, user, NOW)
        assert session.get_one(Erasure, user.id).done_at is None


def test_name_and_address_are_gone_everywhere_but_in_business_letters(
    front: Front, back: Back, owner_database: Database
) -> None:
    id = newcomer(front)
    with front.database.transaction() as session:
        # Entries of the log that are about the person.
        account = session.get_one(Account, front.main.id)
        change_role(session, front.manager, account, id, Role.LOCAL_MEMBER, back.clock())
        change_role(session, front.manager, account, id, Role.ADMINISTRATOR, back.clock())
    front.client.post("/passwort", data={"csrf_token": csrf(front.client.get("/passwort").text), "email": ADDRESS})
    back.advance()
    with owner_database.transaction() as session:
        reset_factors(session, session.get_one(User, id), "letter of 2 March", back.clock())
    sign_in(front, ADDRESS)
    assert press(front.client, "/anmeldung/passwort", current=PASSWORD, password=NEW_PASSWORD).status_code == 303
    wizard = front.client.get("/standortverwaltung/neu").headers["Location"]
    front.client.get(wizard)
    log = f"/standortverwaltung/{front.main.customer_number}/protokoll"
    other = front.client.application.test_client()
    assert where_found(owner_database, "Unverwechselbar") >= {("users", "name"), ("messages", "recipient_address")}
    assert delete(front, "wrong").status_code == 422
    assert delete(front, NEW_PASSWORD).headers["Location"] == "/anmelden"
    assert front.client.get("/anmeldung").status_code == 302
    assert sign_in(front, ADDRESS)[0] == 422
    job(back)
    [last] = [mail for mail in back.mailer.sent if mail.subject == "Ihr Zugang zum Kundenportal ist gelöscht"]
    assert last.recipient_address == ADDRESS and ADDRESS in last.text
    job(back)
    assert where_found(owner_database, "Unverwechselbar") <= KEPT
    with owner_database.transaction() as session:
        user = session.get_one(User, id)
        assert (user.name, user.password_hash) == ("Gelöschte Person", None)
        for table in (Draft, Membership, SecondFactor):
            assert session.scalar(sa.select(table).where(table.user_id == id)) is None
    front.client = other
    sign_in(front, front.manager.email)
    page = front.client.get(log).text
    assert "Die Rolle von Gelöschte Person" in page or "Gelöschte Person" in page
    assert "alle zweiten Faktoren von Gelöschte Person" in page
    assert "Unverwechselbar" not in page


def test_who_is_invited_again_meanwhile_accepts_once_the_former_login_is_gone(
    front: Front, back: Back, owner_database: Database
) -> None:
    id = newcomer(front)
    sign_in(front, ADDRESS)
    assert delete(front).status_code == 303
    back.clock.advance(timedelta(seconds=1))
    link = invited_again(front, back)
    guest = browser(front)
    early = press(guest, link, password=NEW_PASSWORD)
    assert early.status_code == 409 and "in einigen Minuten noch einmal" in early.text
    assert_valid(early.text)
    job(back)
    assert press(guest, link, password=NEW_PASSWORD).status_code == 303
    job(back)
    with owner_database.transaction() as session:
        assert session.get_one(User, id).name == "Gelöschte Person"
        again = session.scalars(sa.select(User).where(User.email == ADDRESS)).one()
        assert again.id != id and roles_of(session, again.id) == {front.main.id: Role.ADMINISTRATOR}


def test_who_has_a_role_again_is_not_erased(front: Front, back: Back, owner_database: Database) -> None:
    id = newcomer(front)
    sign_in(front, ADDRESS)
    assert delete(front).status_code == 303
    with owner_database.transaction() as session:
        join(session, session.get_one(User, id), session.get_one(Account, front.main.id), Role.ADMINISTRATOR)
    job(back)
    with owner_database.transaction() as session:
        assert session.get_one(User, id).name == NAME and session.get_one(Erasure, id).done_at is None


def test_names_go_from_invitations_and_from_mails_to_others(front: Front, back: Back, owner_database: Database) -> None:
    link, guest = invited_again(front, back), browser(front)
    assert press(guest, link, password=NEW_PASSWORD).status_code == 303
    # The person is named in mails to others, and was invited elsewhere under the same address.
    form = f"/benutzer/{front.main.customer_number}/einladen"
    assert press(guest, form, name="Kim Kollegin", email="kim@example.com", role="administrator").status_code == 303
    with front.database.transaction() as session:
        person = session.scalars(sa.select(User).where(User.email == ADDRESS)).one()
        other = make_account(session, administrator=session.get_one(User, front.manager.user_id)).customer_number
        asked = make_account(session, administrator=make_user(session)).customer_number
        main = session.get_one(Account, front.main.id)
    front.token = token_of(front, main, person)
    assert front.post("/link-requests", {"customer_number": asked, "proof": {"method": "consent"}}).status_code == 202
    again = f"/benutzer/{other}/einladen"
    assert press(front.client, again, name=NAME, email=ADDRESS, role="local_member").status_code == 303
    back.advance()
    named = sa.cast(Message.facts, sa.Text).contains(NAME), Message.recipient_address != ADDRESS
    with owner_database.transaction() as session:
        assert set(session.scalars(sa.select(Message.template).where(*named))) >= {"invitation", "consent_asked"}
    log = f"/standortverwaltung/{front.main.customer_number}/protokoll"
    assert f"Hat {NAME} eingeladen (Rolle: Administration)" in front.client.get(log).text
    with owner_database.transaction() as session:
        ask_for_erasure(session, session.get_one(User, person.id), back.clock())
    job(back)
    job(back)
    with owner_database.transaction() as session:
        assert set(session.scalars(sa.select(Message.template).where(*named))) <= set(BUSINESS_LETTERS)
    assert where_found(owner_database, "Unverwechselbar") <= KEPT
    page = front.client.get(log).text
    assert "Hat (Name gelöscht) eingeladen (Rolle: Administration)" in page
    assert "Unverwechselbar" not in page and "Kim Kollegin" in page


@pytest.mark.parametrize("first", ["invitation", "erasure"])
def test_an_invitation_accepted_while_its_person_asks_for_erasure_leaves_no_role(
    front: Front, owner_database: Database, first: str
) -> None:
    id, to = newcomer(front), Recipient(NAME, ADDRESS, "de")
    with owner_database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        account = make_account(session, administrator=user)
        invitation = invite(session, principal_of(session, user), account, to, Role.LOCAL_MEMBER, NOW).id

    def joins(session: Session) -> None:
        found = session.get_one(Invitation, invitation)
        lock_account(session, session.get_one(Account, found.account_id))
        accept(session, found, None, NOW)

    def leaves(session: Session) -> None:
        ask_for_erasure(session, session.get_one(User, id), NOW)

    steps = [joins, leaves] if first == "invitation" else [leaves, joins]

    def second() -> None:
        with owner_database.transaction() as later:
            steps[1](later)

    with ThreadPoolExecutor(1) as pool:
        with owner_database.transaction() as earlier:
            steps[0](earlier)
            earlier.flush()
            waiting = pool.submit(second)
            wait_until_somebody_waits(earlier)
        if first == "erasure":
            with pytest.raises(BeingErased):
                waiting.result(30)
        else:
            waiting.result(30)
    with owner_database.transaction() as session:
        assert session.get_one(Erasure, id).done_at is None and roles_of(session, id) == {}


def invited_again(front: Front, back: Back) -> str:
    """Invite the person whose login was deleted, as an administrator; return the path of the link in the mail."""
    front.client = browser(front)
    sign_in(front, front.manager.email)
    form = f"/benutzer/{front.main.customer_number}/einladen"
    assert press(front.client, form, name=NAME, email=ADDRESS, role="administrator").status_code == 303
    back.advance()
    mail = [sent for sent in back.mailer.sent if sent.recipient_address == ADDRESS][-1]
    found = re.search(r"https?://[^/\s]+(/einladung/\S+)", mail.text)
    assert found is not None
    return found[1]


def test_the_receipt_of_an_order_stays(front: Front, back: Back, owner_database: Database) -> None:
    newcomer(front)
    sign_in(front, ADDRESS)
    with front.database.transaction() as session:
        person = session.scalars(sa.select(User).where(User.email == ADDRESS)).one()
        front.manager = type(front.manager)(person.id, person.email, person.name, person.locale)
    with front.database.transaction() as session:
        account = session.get_one(Account, front.main.id)
    front.token = token_of(front, account, person)
    assert front.post("/orders", ORDER).status_code == 202
    back.advance()
    assert delete(front).status_code == 303
    # The token has ended with its person's access.
    assert front.post("/orders", ORDER).status_code == 401
    job(back)
    assert where_found(owner_database, ADDRESS) == {("messages", "recipient_address")}


def test_the_administrators_are_told_how_an_order_of_an_erased_person_ends(
    front: Front, back: Back, owner_database: Database
) -> None:
    id = newcomer(front)
    with front.database.transaction() as session:
        account, person = session.get_one(Account, front.main.id), session.get_one(User, id)
    front.token = token_of(front, account, person)
    assert front.post("/orders", ORDER).status_code == 202
    sign_in(front, ADDRESS)
    assert delete(front).status_code == 303
    job(back)
    for _ in range(10):
        back.clock.advance(timedelta(days=2))
        back.advance()
    with owner_database.transaction() as session:
        assert session.scalars(sa.select(Request.status)).one() is Status.REJECTED
        told = session.scalars(sa.select(Message.recipient_address).where(Message.template == "request_ended"))
        assert list(told) == [front.manager.email]


def test_the_only_administrator_reads_the_way_out(front: Front, clock: FakeClock) -> None:
    sign_in(front, front.manager.email)
    page = front.client.get(PAGE).text
    assert f"/benutzer/{front.main.customer_number}" in page and "Endgültig löschen" not in page
    token = csrf(front.client.get("/anmeldung/daten").text)
    assert front.client.post(PAGE, data={"csrf_token": token, "password": PASSWORD}).status_code == 409
    assert front.client.get("/anmeldung").status_code == 200
    with front.database.transaction() as session:
        another = make_user(session)
        join(session, another, session.get_one(Account, front.main.id), Role.ADMINISTRATOR)
    assert delete(front).status_code == 303


def test_staff_do_not_delete_themselves(front: Front) -> None:
    with front.database.transaction() as session:
        staff = make_staff(session).email
    sign_in(front, staff)
    assert "Endgültig löschen" not in front.client.get(PAGE).text
    token = csrf(front.client.get("/anmeldung/daten").text)
    assert front.client.post(PAGE, data={"csrf_token": token, "password": PASSWORD}).status_code == 409
