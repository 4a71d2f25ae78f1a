"""Tests of changing and removing the roles of an account's users; its last administrator always keeps the role."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden
from models.people.members import remove_user
from models.people.rights import Role
from models.people.users import Membership, User, administrators_of, principal_of
from tests.factories import NOW, join, make_account, make_user
from tests.statements import recorded_statements
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import post


def test_a_role_is_changed_and_taken_away(front: Front) -> None:
    with front.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.merge(front.main), Role.LOCAL_MEMBER)
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/{other.id}"
    assert_valid(front.client.get(path).text)
    post(front.client, path, role=Role.ADMINISTRATOR)
    with front.database.transaction() as session:
        assert {user.id for user in administrators_of(session, front.main.id)} == {front.manager.user_id, other.id}
    assert_valid(front.client.get(path + "/entfernen").text)
    post(front.client, path + "/entfernen")
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert f"{other.name} ist nicht mehr Benutzer" in page and other.email not in page
    assert front.client.get(path).status_code == 404


def test_the_last_administrator_stays(front: Front) -> None:
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/{front.manager.user_id}"
    assert "mindestens eine Person" in post(front.client, path, role=Role.LOCAL_MEMBER).text
    refused = post(front.client, path + "/entfernen")
    assert refused.status_code == 409 and "mindestens eine Person" in refused.text
    assert_valid(refused.text)
    with front.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.merge(front.main))
    assert post(front.client, path + "/entfernen").location == "/standortverwaltung"
    assert front.client.get("/benutzer").status_code == 404
    with front.database.transaction() as session:
        assert session.get(Membership, (front.manager.user_id, front.main.id)) is None


def test_the_users_of_others_are_not_found(front: Front) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
        account = make_account(session, administrator=stranger)
        member = make_user(session)
        join(session, member, session.merge(front.main), Role.LOCATION_MANAGER)
    sign_in(front, front.manager.email)
    for path in ("", "/einladen", f"/{stranger.id}", f"/{stranger.id}/entfernen"):
        assert front.client.get(f"/benutzer/{account.customer_number}{path}").status_code == 404
    sign_in(
        Front(other := front.client.application.test_client(), front.database, front.main, front.manager, ""),
        member.email,
    )
    assert other.get(f"/benutzer/{front.main.customer_number}").status_code == 404
    assert "Benutzer</a>" not in other.get("/standortverwaltung").text


def test_two_administrators_cannot_remove_each_other_at_once(front: Front) -> None:
    with front.database.transaction() as session:
        other = make_user(session)
        for user in (other, make_user(session)):
            join(session, user, session.merge(front.main))
        person = principal_of(session, other)

    def strike_back() -> None:
        with front.database.transaction() as second:
            remove_user(second, person, second.get_one(Account, front.main.id), front.manager.user_id, NOW)

    with ThreadPoolExecutor(1) as pool:
        with front.database.transaction() as first:
            remove_user(first, front.manager, first.get_one(Account, front.main.id), other.id, NOW)
            first.flush()
            waiting = pool.submit(strike_back)
            wait_until_somebody_waits(first)
        # The slower one is no administrator any more; a third administrator would have made the change possible.
        with pytest.raises(Forbidden):
            waiting.result(10)
    with front.database.transaction() as session:
        left = {user.id for user in administrators_of(session, front.main.id)}
    assert front.manager.user_id in left and other.id not in left


def wait_until_somebody_waits(session: Session) -> None:
    """Wait until any transaction on the database server waits for a lock of another one; fail after four seconds."""
    for _ in range(200):
        if session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def test_what_the_menu_says_is_read_once(front: Front) -> None:
    with front.database.transaction() as session:
        make_account(session, administrator=session.get_one(User, front.manager.user_id))
    sign_in(front, front.manager.email)
    with recorded_statements() as ran:
        assert front.client.get("/verknuepfungscode").status_code == 200
    assert len([statement for statement in ran if "FROM requests JOIN consents" in statement]) == 1
