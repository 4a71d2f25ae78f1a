"""Tests of replacing a forgotten password by a link in a mail.

The link works once, and a stranger cannot learn from the answer whether an address is known.
"""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from models.messages.outbox import Message
from tests.factories import make_user
from tests.statements import recorded_statements
from tests.web.conftest import Back, Front, forget_attempts, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import NEW, link_to, post


def lost(front: Front, back: Back) -> str:
    """Request a link to reset the manager's password, and return the path of the link in the mail."""
    assert post(front.client, "/passwort", email=front.manager.email.upper()).location == "/passwort/unterwegs"
    return link_to(back, front.manager.email)


def test_a_forgotten_password_is_replaced_by_a_link_that_is_good_once(front: Front, back: Back) -> None:
    elsewhere = front.client.application.test_client()
    sign_in(front, front.manager.email)
    path = lost(Front(elsewhere, front.database, front.main, front.manager, ""), back)
    page = elsewhere.get(path).text
    assert_valid(page)
    assert front.manager.email in page
    common = post(elsewhere, path, password="123456789012")
    assert common.status_code == 422 and "leicht zu erraten" in common.text
    short = post(elsewhere, path, password="zu kurz")
    assert short.status_code == 422 and "mindestens 12 Zeichen" in short.text and "zu kurz" not in short.text
    assert_valid(short.text)
    assert post(elsewhere, path, password=NEW).location == "/anmelden"
    assert "Ihr neues Passwort ist festgelegt" in elsewhere.get("/anmelden").text
    # All browsers are signed out, and the link is used.
    assert front.client.get("/standortverwaltung").status_code == 302
    assert elsewhere.get(path).status_code == 404
    assert sign_in(front, front.manager.email)[0] == 422
    assert sign_in(front, front.manager.email, NEW)[0] == 302


def test_a_link_is_good_for_an_hour_and_for_its_person(front: Front, back: Back) -> None:
    path = lost(front, back)
    with front.database.transaction() as session:
        other = make_user(session)
    assert front.client.get(path.replace(f"/{front.manager.user_id}/", f"/{other.id}/")).status_code == 404
    assert front.client.get(re.sub(r"/(\d+)/([^/]+)$", lambda m: f"/{int(m[1]) + 60}/{m[2]}", path)).status_code == 404
    back.clock.advance(timedelta(minutes=59))
    assert front.client.get(path).status_code == 200
    back.clock.advance(timedelta(minutes=1))
    gone = front.client.get(path)
    assert gone.status_code == 404 and "/passwort" in gone.text
    assert_valid(gone.text)


def test_an_unknown_address_gets_the_same_answer_and_no_mail(front: Front, back: Back) -> None:
    known = post(front.client, "/passwort", email=front.manager.email)
    unknown = post(front.client, "/passwort", email="nobody@example.com")
    assert (known.status_code, known.location, known.text) == (unknown.status_code, unknown.location, unknown.text)
    back.advance()
    assert [mail.recipient_address for mail in back.mailer.sent] == [front.manager.email]
    assert_valid(front.client.get("/passwort").text)
    assert_valid(front.client.get("/passwort/unterwegs").text)


def test_nobody_is_flooded_with_links(front: Front, back: Back) -> None:
    answers = [post(front.client, "/passwort", email=front.manager.email).status_code for _ in range(11)]
    assert answers == [303] * 10 + [429]
    back.advance()
    assert len(back.mailer.sent) == 1
    # Requests for links by others do not stop a user from signing in.
    assert sign_in(front, front.manager.email)[0] == 302


def test_strangers_have_few_links_mailed_on_a_day_and_never_end_them(front: Front, back: Back) -> None:
    mailed = []
    for turn in range(2 * 24 * 6):
        client = front.client.application.test_client()
        client.environ_base["REMOTE_ADDR"] = f"198.51.{turn // 250}.{turn % 250}"
        forget_attempts(front.client.application)
        form = {"csrf_token": form_token(client), "email": front.manager.email}
        assert client.post("/passwort", data=form).location == "/passwort/unterwegs"
        with front.database.transaction() as session:
            mailed.append(session.scalars(sa.select(sa.func.count()).select_from(Message)).one())
        back.clock.advance(timedelta(minutes=10))
    days = mailed[143], mailed[-1] - mailed[143]
    assert days == (10, 8)
    # The person has never had to wait longer than three hours.
    assert all(mailed[turn] > mailed[turn - 18] for turn in range(18, len(mailed)))
    # With a new password it begins anew.
    back.clock.advance(timedelta(hours=3))
    path = lost(front, back)
    assert post(front.client, path, password=NEW).location == "/anmelden"
    assert lost(front, back) != path


def test_an_address_is_the_same_however_it_is_typed(front: Front) -> None:
    typed = [" " * turn + front.manager.email for turn in range(11)]
    answers = [post(front.client, "/passwort", email=email).status_code for email in typed]
    assert answers == [303] * 10 + [429]


def test_who_asks_for_many_addresses_is_stopped(front: Front) -> None:
    answers = [post(front.client, "/passwort", email=f"{turn}@example.com").status_code for turn in range(31)]
    assert answers == [303] * 30 + [429]
    front.client.environ_base["REMOTE_ADDR"] = "198.51.100.7"
    assert post(front.client, "/passwort", email="31@example.com").status_code == 303


def test_the_time_of_the_answer_tells_nothing(front: Front) -> None:
    with front.database.transaction() as session:
        make_user(session, email="new@example.com", password_hash=None)
    asked = ("nobody@example.com", front.manager.email, front.manager.email, "new@example.com", "İ@example.com")
    ran = []
    for email in asked:
        with recorded_statements() as run:
            assert post(front.client, "/passwort", email=email).location == "/passwort/unterwegs"
        ran.append([re.sub("^(RELEASE|ROLLBACK TO) ", "END ", statement) for statement in run])
    assert any("INSERT INTO messages" in statement for statement in ran[0])
    assert [found == ran[0] for found in ran] == [True] * len(asked)
    with front.database.transaction() as session:
        written = sorted(session.scalars(sa.select(Message.recipient_address)))
    assert written == sorted([front.manager.email, "new@example.com"])
