"""Tests of the page on which users see and end their logins (the browsers in which they are signed in).

A login ends after a month without use, and after three months in any case; a login of staff ends much earlier. Users
can also change their password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from models.people.login_sessions import Login
from tests.factories import PASSWORD, make_staff, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import NEW, invite, link_to, post


@contextmanager
def no_login_is_kept(front: Front) -> Iterator[None]:
    """Make every transaction that adds a login fail at its commit, for the time of the `with` block."""
    with front.database.transaction() as session:
        session.execute(
            sa.text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;"
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON logins DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    try:
        yield
    finally:
        with front.database.transaction() as session:
            session.execute(sa.text("DROP FUNCTION refuse CASCADE"))


def who(client: FlaskClient) -> str | None:
    """Return the secret of the login in the browser's session cookie; None if nobody is signed in."""
    with client.session_transaction() as cookie:
        return cookie.get("_user_id")


def test_a_password_is_good_for_ever(front: Front, back: Back) -> None:
    back.clock.advance(timedelta(days=3650))
    assert sign_in(front, front.manager.email)[:2] == (302, "/standortverwaltung")
    assert front.client.get("/standortverwaltung").status_code == 200


def test_a_browser_is_signed_in_only_when_its_login_is_kept(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    invite(front, "hanna@example.com")
    path = link_to(back, "hanna@example.com")
    before, client = who(front.client), front.client.application.test_client()
    with no_login_is_kept(front):
        assert post(client, path, password=NEW).status_code == 500
        assert sign_in(Front(client, front.database, front.main, front.manager, ""), front.manager.email)[0] == 500
        assert post(front.client, "/anmeldung/passwort", current=PASSWORD, password=NEW).status_code == 500
    assert who(client) is None
    assert before is not None and who(front.client) == before
    # The transaction was rolled back completely.
    assert post(client, path, password=NEW).location == "/standortverwaltung"
    assert who(client) is not None


def test_logins_are_listed_and_ended(front: Front) -> None:
    app = front.client.application
    phone = Front(app.test_client(), front.database, front.main, front.manager, "")
    phone.client.environ_base["HTTP_USER_AGENT"] = (
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"
    )
    sign_in(phone, front.manager.email)
    sign_in(front, front.manager.email)
    page = front.client.get("/anmeldung").text
    assert_valid(page)
    assert "Chrome, Android" in page and page.count("Dieser Browser") == 1
    [path] = re.findall(r"/anmeldung/\d+/beenden", page)
    assert phone.client.get("/standortverwaltung").status_code == 200
    asked = front.client.get(path)
    assert_valid(asked.text)
    assert "Chrome, Android" in asked.text
    wrong = post(front.client, path, password="wrong")
    assert wrong.status_code == 422 and "nicht Ihr aktuelles Passwort" in wrong.text
    assert post(front.client, path, "/anmeldung").status_code == 422
    assert phone.client.get("/standortverwaltung").status_code == 200
    post(front.client, path, password=PASSWORD)
    assert phone.client.get("/standortverwaltung").status_code == 302
    assert front.client.get(path).status_code == 404
    sign_in(phone, front.manager.email)
    others = "/anmeldung/andere/beenden"
    assert_valid(front.client.get(others).text)
    assert post(front.client, others, password="wrong").status_code == 422
    assert phone.client.get("/standortverwaltung").status_code == 200
    post(front.client, others, password=PASSWORD)
    assert phone.client.get("/standortverwaltung").status_code == 302
    assert front.client.get("/standortverwaltung").status_code == 200


def test_a_phone_that_changes_its_network_stays_signed_in(front: Front) -> None:
    sign_in(front, front.manager.email)
    elsewhere = {"REMOTE_ADDR": "198.51.100.7"}
    assert front.client.get("/anmeldung", environ_base=elsewhere).status_code == 200
    assert front.client.get("/anmeldung").status_code == 200


def test_the_login_of_another_person_cannot_be_ended(front: Front) -> None:
    with front.database.transaction() as session:
        stranger = make_user(session)
    other = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(other, stranger.email)
    sign_in(front, front.manager.email)
    with front.database.transaction() as session:
        id = session.scalar(sa.select(Login.id).where(Login.user_id == stranger.id))
    assert post(front.client, f"/anmeldung/{id}/beenden", "/anmeldung", password=PASSWORD).status_code == 404
    assert other.client.get("/anmeldung").status_code == 200


def test_a_login_that_nobody_has_used_for_a_month_is_over(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    back.clock.advance(timedelta(days=29))
    assert front.client.get("/standortverwaltung").status_code == 200
    back.clock.advance(timedelta(days=29))
    assert front.client.get("/standortverwaltung").status_code == 200
    back.clock.advance(timedelta(days=31))
    assert front.client.get("/standortverwaltung").status_code == 302


def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    back.clock.advance(timedelta(days=29))
    assert front.client.get("/standortverwaltung/stand").status_code == 200
    back.clock.advance(timedelta(days=2))
    assert front.client.get("/standortverwaltung").status_code == 302


def test_a_login_ends_after_three_months_however_often_it_is_used(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    for _ in range(3):
        back.clock.advance(timedelta(days=29))
        assert front.client.get("/standortverwaltung").status_code == 200
    back.clock.advance(timedelta(days=4))
    assert front.client.get("/standortverwaltung").status_code == 302


@pytest.mark.parametrize(("used_every", "times"), [(timedelta(minutes=61), 0), (timedelta(minutes=50), 14)])
def test_a_login_of_staff_ends_after_an_hour_without_use_or_twelve_hours(
    front: Front, back: Back, used_every: timedelta, times: int
) -> None:
    with front.database.transaction() as session:
        staff = make_staff(session)
    sign_in(front, staff.email)
    for _ in range(times):
        back.clock.advance(used_every)
        assert front.client.get("/anmeldung").status_code == 200
    back.clock.advance(used_every)
    assert front.client.get("/anmeldung").status_code == 302


def test_the_password_can_be_changed_with_the_current_one(front: Front) -> None:
    phone = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(phone, front.manager.email)
    sign_in(front, front.manager.email)
    assert_valid(front.client.get("/anmeldung/passwort").text)
    common = post(front.client, "/anmeldung/passwort", current=PASSWORD, password="qwertzuiop123")
    assert common.status_code == 422 and "leicht zu erraten" in common.text
    wrong = post(front.client, "/anmeldung/passwort", current="falsch", password=NEW)
    assert wrong.status_code == 422 and "nicht Ihr aktuelles Passwort" in wrong.text
    assert_valid(wrong.text)
    assert post(front.client, "/anmeldung/passwort", current=PASSWORD, password=NEW).status_code == 303
    assert "Ihr Passwort ist geändert" in front.client.get("/anmeldung").text
    assert phone.client.get("/anmeldung").status_code == 302
    assert sign_in(phone, front.manager.email, NEW)[0] == 302
