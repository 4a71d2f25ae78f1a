"""The user's own logins, a forgotten password, and the users of an account."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.errors import Forbidden, TooManyInvitations
from models.messages.outbox import Message, Recipient
from models.people import invitations
from models.people.invitations import Invitation, accept
from models.people.invitations import invite as invite_by_mail
from models.people.logins import Login
from models.people.members import remove_user
from models.people.rights import Role
from models.people.users import Membership, User, administrators_of, principal_of
from tests.factories import NOW, PASSWORD, join, make_account, make_staff, make_user
from tests.web.conftest import BASE_URL, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from web.resources import resources

NEW = "vier Wörter die bleiben"


def post(client: FlaskClient, path: str, form: str | None = None, **data: str) -> TestResponse:
    """Submit the form on the page `form`, or on the page at `path`."""
    return client.post(path, data={"csrf_token": csrf(client.get(form or path).text), **data})


def link_to(back: Back, address: str) -> str:
    """Return the path in the newest mail to this address."""
    back.advance()
    text = [mail.text for mail in back.mailer.sent if mail.recipient_address == address][-1]
    found = re.search(rf"{BASE_URL}(/\S+)", text)
    assert found is not None
    return found[1]


def lost(front: Front, back: Back) -> str:
    """Request a new password for the manager and return the path in the mail."""
    assert post(front.client, "/passwort", email=front.manager.email.upper()).location == "/passwort/unterwegs"
    return link_to(back, front.manager.email)


def invite(front: Front, email: str, role: Role = Role.LOCATION_MANAGER) -> TestResponse:
    """Invite a user as the manager."""
    path = f"/benutzer/{front.main.customer_number}/einladen"
    return post(front.client, path, name="Hanna Palmer", email=email, role=role)


def test_nobody_is_invited_under_a_name_with_an_address_in_it(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/einladen"
    fields = {"email": "stranger@example.com", "role": Role.LOCATION_MANAGER}
    answer = post(front.client, path, name="Gewinn: http://evil.example", **fields)
    assert answer.status_code == 422
    assert "lassen Sie Internet- und E-Mail-Adressen weg" in answer.text and "Gewinn: http" in answer.text
    back.advance()
    assert [mail for mail in back.mailer.sent if mail.recipient_address != front.manager.email] == []


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
        with statements(front) as run:
            assert post(front.client, "/passwort", email=email).location == "/passwort/unterwegs"
        ran.append([re.sub("^(RELEASE|ROLLBACK TO) ", "END ", statement) for statement in run])
    assert any("INSERT INTO messages" in statement for statement in ran[0])
    assert [found == ran[0] for found in ran] == [True] * len(asked)
    with front.database.transaction() as session:
        written = sorted(session.scalars(sa.select(Message.recipient_address)))
    assert written == sorted([front.manager.email, "new@example.com"])


@contextmanager
def statements(front: Front) -> Iterator[list[str]]:
    """Record the SQL statements that run inside the block."""
    ran: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        ran.append(statement)

    with front.client.application.app_context():
        engine = resources().database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield ran
    sa.event.remove(engine, "before_cursor_execute", note)


@contextmanager
def no_login_is_kept(front: Front) -> Iterator[None]:
    """Make every commit that writes a login fail."""
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
    """Return the secret of the login in the browser's cookie."""
    with client.session_transaction() as cookie:
        return cookie.get("_user_id")


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
    post(front.client, path, "/anmeldung")
    assert phone.client.get("/standortverwaltung").status_code == 302
    sign_in(phone, front.manager.email)
    post(front.client, "/anmeldung/andere/beenden", "/anmeldung")
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
    post(front.client, f"/anmeldung/{id}/beenden", "/anmeldung")
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


@pytest.mark.parametrize("role", Role)
def test_an_invitation_makes_a_login_with_its_role(front: Front, back: Back, role: Role) -> None:
    sign_in(front, front.manager.email)
    assert invite(front, "Hanna.Palmer@example.com", role).status_code == 303
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert_valid(page)
    assert "hanna.palmer@example.com" in page and "Noch nicht angenommen" in page
    path = link_to(back, "hanna.palmer@example.com")
    client = front.client.application.test_client()
    shown = client.get(path).text
    assert_valid(shown)
    assert "Willkommen, Hanna Palmer" in shown and front.manager.name in shown
    with front.database.transaction() as session:
        assert session.scalar(sa.select(User).where(User.email == "hanna.palmer@example.com")) is None
    for refused in ("kurz", "123456789012"):
        assert post(client, path, password=refused).status_code == 422
    assert post(client, path, password=NEW).location == "/standortverwaltung"
    assert "Willkommen, Hanna Palmer" in client.get("/standortverwaltung", follow_redirects=True).text
    with front.database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == "hanna.palmer@example.com")).one()
        assert user.email_confirmed_at == back.clock.now
        assert principal_of(session, user).roles == {front.main.id: role}
    lapsed = client.get(path)
    assert lapsed.status_code == 404 and "gilt nicht mehr" in lapsed.text
    assert_valid(lapsed.text)
    assert client.get("/benutzer").status_code == (302 if role is Role.ADMINISTRATOR else 404)


def test_an_existing_login_keeps_its_password(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        known = make_user(session)
        account = make_account(session, administrator=known)
    sign_in(front, front.manager.email)
    invite(front, known.email)
    # The page does not reveal that the login exists, and gives no rights.
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert known.name not in page and "Hanna Palmer" in page
    client = front.client.application.test_client()
    path = link_to(back, known.email)
    assert_valid(client.get(path).text)
    assert post(client, path, password=NEW).location == "/anmelden"
    with front.database.transaction() as session:
        roles = principal_of(session, session.get_one(User, known.id)).roles
    assert roles == {account.id: Role.ADMINISTRATOR, front.main.id: Role.LOCATION_MANAGER}
    assert sign_in(Front(client, front.database, front.main, front.manager, ""), known.email)[0] == 302


def test_a_new_invitation_a_withdrawn_one_and_one_that_is_too_old(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    invite(front, "hanna@example.com")
    first = link_to(back, "hanna@example.com")
    page = f"/benutzer/{front.main.customer_number}"
    [again] = re.findall(r"/benutzer/\d+/einladungen/\d+/neu", front.client.get(page).text)
    post(front.client, again, page)
    second = link_to(back, "hanna@example.com")
    assert front.client.get(first).status_code == 404
    assert front.client.get(second).status_code == 200
    back.clock.advance(timedelta(days=8))
    assert front.client.get(second).status_code == 404
    expired = front.client.get(page).text
    assert "Abgelaufen" in expired
    invite(front, "hanna@example.com")
    third = link_to(back, "hanna@example.com")
    [withdraw] = re.findall(r"/benutzer/\d+/einladungen/\d+/zurueckziehen", front.client.get(page).text)
    post(front.client, withdraw, page)
    assert front.client.get(third).status_code == 404
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Invitation)).all() == []
        sent = sa.select(Message.occasion).where(Message.template == "invitation")
        assert len(set(session.scalars(sent))) == 3


def test_what_is_wrong_with_an_invitation_is_said(front: Front) -> None:
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/einladen"
    empty = post(front.client, path)
    assert empty.status_code == 422
    for said in ("Geben Sie den Namen ein.", "Geben Sie die E-Mail-Adresse ein.", "Wählen Sie eine Rolle."):
        assert said in empty.text
    assert_valid(empty.text)
    wrong = {"name": "X", "email": "x", "role": "local_member"}
    assert "Das ist keine vollständige E-Mail-Adresse" in post(front.client, path, **wrong).text
    assert "schon Benutzer" in invite(front, front.manager.email).text


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
    """Wait until another transaction waits for a lock of this one."""
    for _ in range(200):
        if session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("how", ["removed", "given another role"])
def test_nobody_comes_back_by_an_invitation_of_their_own(front: Front, back: Back, how: str) -> None:
    with front.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.merge(front.main))
        elsewhere = make_account(session, administrator=other).customer_number
    leaver = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(leaver, other.email)
    invite(leaver, "private@example.com", Role.ADMINISTRATOR)
    path = link_to(back, "private@example.com")
    form = f"/benutzer/{elsewhere}/einladen"
    post(leaver.client, form, name="Hanna Palmer", email="hanna@example.com", role=Role.LOCAL_MEMBER)
    sign_in(front, front.manager.email)
    invite(front, "kim@example.com")
    member = f"/benutzer/{front.main.customer_number}/{other.id}"
    if how == "removed":
        assert "Einladungen, die diese Person" in front.client.get(member + "/entfernen").text
        post(front.client, member + "/entfernen")
    else:
        post(front.client, member, role=Role.LOCATION_MANAGER)
    assert leaver.client.get(path).status_code == 404
    # Invitations by others and to other accounts stay.
    with front.database.transaction() as session:
        assert set(session.scalars(sa.select(Invitation.email))) == {"kim@example.com", "hanna@example.com"}


def test_only_so_many_invitations_are_open(front: Front, back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_ACCOUNT", 2)
    sign_in(front, front.manager.email)
    page = f"/benutzer/{front.main.customer_number}"
    for name in ("one", "two"):
        assert invite(front, f"{name}@example.com").status_code == 303
    refused = invite(front, "three@example.com")
    assert refused.status_code == 422 and "2 Einladungen sind offen" in refused.text
    assert_valid(refused.text)
    # A new mail for one invitation does not open another one.
    assert invite(front, "one@example.com").status_code == 303
    back.clock.advance(timedelta(days=8))
    for name in ("three", "four"):
        assert invite(front, f"{name}@example.com").status_code == 303
    with front.database.transaction() as session:
        expired = session.scalar(sa.select(Invitation.id).where(Invitation.email == "one@example.com"))
    post(front.client, f"{page}/einladungen/{expired}/neu", page)
    assert "2 Einladungen sind offen" in front.client.get(page).text
    with front.database.transaction() as session:
        open_ones = sa.select(Invitation.email).where(Invitation.expires_at > back.clock.now)
        assert set(session.scalars(open_ones)) == {"three@example.com", "four@example.com"}


def test_who_administers_many_accounts_invites_only_so_many(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_INVITER", 2)
    with front.database.transaction() as session:
        manager = session.get_one(User, front.manager.user_id)
        numbers = [make_account(session, administrator=manager).customer_number for _ in range(3)]
        other = make_user(session)
        join(session, other, session.merge(front.main))
    sign_in(front, front.manager.email)
    answers = [
        post(front.client, f"/benutzer/{number}/einladen", name="Hanna", email="h@example.com", role="administrator")
        for number in numbers
    ]
    assert [answer.status_code for answer in answers] == [303, 303, 422]
    colleague = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(colleague, other.email)
    assert invite(colleague, "h@example.com").status_code == 303


def test_invitations_to_two_accounts_at_once_cannot_pass_the_limit(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_INVITER", 1)
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        accounts = [make_account(session, administrator=user) for _ in range(2)]
        person = principal_of(session, user)
    to = Recipient("Hanna Palmer", "hanna@example.com", "de")

    def invite_too() -> None:
        with front.database.transaction() as second:
            invite_by_mail(second, person, second.merge(accounts[1]), to, Role.ADMINISTRATOR, NOW)

    with ThreadPoolExecutor(1) as pool:
        with front.database.transaction() as first:
            invite_by_mail(first, person, first.merge(accounts[0]), to, Role.ADMINISTRATOR, NOW)
            waiting = pool.submit(invite_too)
            wait_until_somebody_waits(first)
        with pytest.raises(TooManyInvitations):
            waiting.result(10)


def test_two_invitations_accepted_at_once_make_one_login(front: Front) -> None:
    to = Recipient("Hanna Palmer", "hanna@example.com", "de")
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        accounts = [make_account(session, administrator=user) for _ in range(2)]
        person = principal_of(session, user)
        sent = [invite_by_mail(session, person, account, to, Role.ADMINISTRATOR, NOW).id for account in accounts]

    def accept_too() -> bool:
        with front.database.transaction() as second:
            return accept(second, second.get_one(Invitation, sent[1]), "another password", NOW)[1]

    with ThreadPoolExecutor(1) as pool:
        with front.database.transaction() as first:
            assert accept(first, first.get_one(Invitation, sent[0]), NEW, NOW)[1]
            waiting = pool.submit(accept_too)
            wait_until_somebody_waits(first)
        # The slower one is not signed in, because it did not send the password of the existing login.
        assert not waiting.result(10)
    with front.database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == "hanna@example.com")).one()
        assert set(principal_of(session, user).roles) == {account.id for account in accounts}
    assert sign_in(front, "hanna@example.com", NEW)[0] == 302


def test_an_old_page_does_not_sign_in_a_user_who_has_set_a_password_meanwhile(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        account = make_account(session, administrator=session.get_one(User, front.manager.user_id))
    sign_in(front, front.manager.email)
    invite(front, "hanna@example.com")
    first = link_to(back, "hanna@example.com")
    form = f"/benutzer/{account.customer_number}/einladen"
    post(front.client, form, name="Hanna Palmer", email="hanna@example.com", role=Role.LOCAL_MEMBER)
    second, client = link_to(back, "hanna@example.com"), front.client.application.test_client()
    shown = csrf(client.get(second).text)
    post(front.client.application.test_client(), first, password=NEW)
    answer = client.post(second, data={"csrf_token": shown, "password": "another password"})
    assert answer.location == "/anmelden" and who(client) is None


def test_what_the_menu_says_is_read_once(front: Front) -> None:
    with front.database.transaction() as session:
        make_account(session, administrator=session.get_one(User, front.manager.user_id))
    sign_in(front, front.manager.email)
    with statements(front) as ran:
        assert front.client.get("/verknuepfungscode").status_code == 200
    assert len([statement for statement in ran if "FROM requests JOIN consents" in statement]) == 1
