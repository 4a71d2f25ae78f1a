"""Tests of the second factor, which people set up and enter at sign-in and again before important changes.

A code works once. A recovery code replaces a lost app, once. Staff must have a second factor. Wrong codes are limited
in number, but lock nobody out of a browser in which they have signed in before.
"""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pyotp
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.messages.outbox import Message
from models.people.audit_log import AuditEvent
from models.people.invitations import Invitation
from models.people.login_sessions import Login
from models.people.rights import Role
from models.people.second_factors import PROOF_LASTS, RecoveryCode, SecondFactor
from models.people.users import User
from tests.audit_entries import entries_of_deeds
from tests.factories import PASSWORD, give_app, join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.second_factor import app_codes, enter_code
from tests.web.api.calls import a_link
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in

SET_UP = "/anmeldung/app"
OVERVIEW = "/anmeldung"
NEW_PASSWORD = "lantern violet harbour quilt"
HALF_MINUTE = timedelta(seconds=30)


def press(client: FlaskClient, path: str, page: str | None = None, **fields: str) -> TestResponse:
    """Submit `fields` to `path` together with the hidden fields of a form; return the answer.

    `page` is the HTML that has the form (None: the page at `path`).
    """
    shown = page or client.get(path).text
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', shown[shown.index("<main") :]))
    sent = {"csrf_token": csrf(shown), **{name: unescape(value) for name, value in hidden.items()}, **fields}
    return client.post(path, data=sent)


def set_up(client: FlaskClient, clock: FakeClock, **fields: str) -> tuple[TestResponse, str]:
    """Set up an authenticator app for the signed-in user with the key on the page and a code that is valid now.

    `fields` replace fields of the form. Return the answer and the key.
    """
    page = client.get(SET_UP).text
    assert_valid(page)
    key = re.search(r'<p class="code" translate="no">([A-Z2-7 ]+)</p>', page)
    assert key is not None
    secret = key[1].replace(" ", "")
    typed = {"name": "Telefon", "password": PASSWORD, "code": pyotp.TOTP(secret).at(clock.now)}
    return press(client, SET_UP, page, **{**typed, **fields}), secret


def browser(front: Front) -> FlaskClient:
    """Return a test client of the application without cookies, as a new browser."""
    return front.client.application.test_client()


def enter_password(client: FlaskClient, email: str, target: str = "") -> TestResponse:
    """Submit the sign-in form with e-mail address and password; return the answer. No code is entered.

    `target` is the query string of the sign-in page.
    """
    form = {"csrf_token": form_token(client), "email": email, "password": PASSWORD}
    return client.post("/anmelden" + target, data=form)


def mails(front: Front, *templates: str) -> list[Message]:
    """Return the messages with these templates, the oldest first."""
    with front.database.transaction() as session:
        found = session.scalars(sa.select(Message).where(Message.template.in_(templates)).order_by(Message.id))
        return list(found)


def deeds(front: Front) -> list[tuple[AuditEvent, int | None]]:
    """Return event and account's id (None: no account) of each entry of the audit log, the oldest first.

    Entries about access are left out.
    """
    with front.database.transaction() as session:
        return [(one.deed, one.account_id) for one in entries_of_deeds(session)]


@pytest.fixture
def protected(front: Front) -> Front:
    """Provide a client whose manager has an authenticator app."""
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    return front


def test_an_app_is_set_up_by_its_first_code_and_the_recovery_codes_are_shown_once(
    front: Front, back: Back, clock: FakeClock
) -> None:
    elsewhere = browser(front)
    assert enter_password(elsewhere, front.manager.email).status_code == 302
    sign_in(front, front.manager.email)
    wrong, _ = set_up(front.client, clock, code="000000")
    assert wrong.status_code == 422 and "Das ist nicht der Code, den die App jetzt zeigt" in wrong.text
    assert set_up(front.client, clock, password="wrong")[0].status_code == 422
    answer, secret = set_up(front.client, clock)
    assert answer.status_code == 201
    assert_valid(answer.text)
    codes = re.findall(r'<code translate="no">(\w{5} \w{5} \w{5})</code>', answer.text)
    assert len(set(codes)) == 10
    page = front.client.get(OVERVIEW).text
    assert_valid(page)
    assert "Telefon" in page and "Sie haben noch 10 Codes" in page and codes[0] not in page
    assert elsewhere.get(OVERVIEW).status_code == 302
    with front.database.transaction() as session:
        kept = session.scalars(sa.select(SecondFactor)).one()
        assert secret.encode() not in kept.secret
        hashes = [code.code_hash for code in session.scalars(sa.select(RecoveryCode))]
        assert len(set(hashes)) == 10 and codes[0].replace(" ", "").encode() not in b"".join(hashes)
    back.advance()
    told = [mail for mail in back.mailer.sent if "Telefon" in mail.text]
    assert [(mail.recipient_address, mail.subject) for mail in told] == [
        (front.manager.email, "Zu Ihrem Zugang wurde ein zweiter Faktor hinzugefügt")
    ]
    assert "Wenn Sie es nicht waren, setzen Sie sofort ein neues Passwort" in told[0].text.replace("\n", " ")
    assert deeds(front) == [(AuditEvent.FACTOR_ADDED, front.main.id)]


def test_sign_in_asks_for_the_code_and_a_code_works_once(protected: Front, clock: FakeClock) -> None:
    target = f"/benutzer/{protected.main.customer_number}"
    client = browser(protected)
    asked = enter_password(client, protected.manager.email, f"?next={target}")
    assert asked.status_code == 200 and "Ihr zweiter Faktor" in asked.text
    assert_valid(asked.text)
    assert client.get(target).status_code == 302
    wrong = press(client, f"/anmelden/faktor?next={target}", code="123 45")
    assert wrong.status_code == 422
    assert_valid(wrong.text)
    code = app_codes(clock.now)[1]
    right = press(client, f"/anmelden/faktor?next={target}", code=f"{code[:3]} {code[3:]}")
    assert right.location == target and client.get(target).status_code == 200

    thief = browser(protected)
    enter_password(thief, protected.manager.email)
    assert press(thief, "/anmelden/faktor", code=code).status_code == 422
    assert press(thief, "/anmelden/faktor", code=app_codes(clock.now)[0]).status_code == 422
    clock.advance(HALF_MINUTE)
    assert press(thief, "/anmelden/faktor", code=app_codes(clock.now)[1]).status_code == 302


def test_the_second_step_ends_with_the_password_and_after_ten_minutes(protected: Front, clock: FakeClock) -> None:
    early, late = browser(protected), browser(protected)
    assert early.get("/anmelden/faktor").location.startswith("/anmelden")
    for client in (early, late):
        enter_password(client, protected.manager.email)
    page = late.get("/anmelden/faktor").text
    assert enter_code(early, early.get("/anmelden/faktor")).status_code == 302
    press(early, "/anmeldung/passwort", current=PASSWORD, password=NEW_PASSWORD)
    assert press(late, "/anmelden/faktor", page, code=app_codes(clock.now)[2]).location.startswith("/anmelden")
    again = browser(protected)
    enter_password(again, protected.manager.email)
    form = {"csrf_token": form_token(again), "email": protected.manager.email, "password": NEW_PASSWORD}
    page = again.post("/anmelden", data=form).text
    clock.advance(timedelta(minutes=10))
    assert press(again, "/anmelden/faktor", page, code=app_codes(clock.now)[1]).location.startswith("/anmelden")


def test_a_recovery_code_lets_in_once_and_its_use_is_told(front: Front, back: Back, clock: FakeClock) -> None:
    sign_in(front, front.manager.email)
    answer, _ = set_up(front.client, clock)
    first, second = re.findall(r'<code translate="no">([\w ]+)</code>', answer.text)[:2]
    client = browser(front)
    for code, status in ((first.lower(), 302), (first, 422), (second.replace(" ", "-"), 302)):
        client = browser(front)
        enter_password(client, front.manager.email)
        assert press(client, "/anmelden/faktor", code=code).status_code == status
    assert "Sie haben noch 8 Codes" in client.get(OVERVIEW).text
    back.advance()
    told = [mail.text for mail in back.mailer.sent if "statt Ihres zweiten Faktors" in " ".join(mail.text.split())]
    assert len(told) == 2 and "Codes: 8" in " ".join(told[1].split())
    page = press(client, "/anmeldung/wiederherstellung", client.get(OVERVIEW).text)
    assert page.status_code == 201 and second not in page.text
    assert "Sie haben noch 10 Codes" in client.get(OVERVIEW).text
    assert [deed for deed, _ in deeds(front)] == [
        AuditEvent.FACTOR_ADDED, AuditEvent.RECOVERY_CODE_USED, AuditEvent.RECOVERY_CODE_USED,
        AuditEvent.RECOVERY_CODES_MADE,
    ]  # fmt: skip


def test_staff_set_up_a_factor_before_anything_else(front: Front, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        staff = make_user(session, is_staff=True)
    client = browser(front)
    assert enter_password(client, staff.email).status_code == 302
    for path in ("/backoffice", f"/backoffice/kunden/{front.main.customer_number}", "/anfragen"):
        assert client.get(path).location == OVERVIEW
    page = client.get(OVERVIEW).text
    assert "Für unser Personal ist ein zweiter Faktor Pflicht" in page
    assert press(client, "/backoffice/abgleich/requests", page).location == OVERVIEW
    assert set_up(client, clock)[0].status_code == 201
    assert client.get("/backoffice").status_code == 200
    assert deeds(front) == [(AuditEvent.FACTOR_ADDED, None)]


def test_the_last_factor_is_removed_only_of_a_person_who_needs_none(protected: Front, clock: FakeClock) -> None:
    with protected.database.transaction() as session:
        staff = make_staff(session).email
    for email, status in ((staff, 409), (protected.manager.email, 303)):
        client = browser(protected)
        enter_code(client, enter_password(client, email))
        with protected.database.transaction() as session:
            owned = sa.select(SecondFactor.id).join(User, User.id == SecondFactor.user_id).where(User.email == email)
            path = f"/anmeldung/faktor/{session.scalars(owned).one()}/entfernen"
        assert_valid(client.get(path).text)
        assert press(client, path).status_code == status
        if status == 409:
            clock.advance(HALF_MINUTE)
            assert set_up(client, clock)[0].status_code == 303
            assert press(client, path).status_code == 303
    assert [mail.facts["what"] for mail in mails(protected, "login_changed")] == [
        "factor_added", "factor_removed", "factor_removed",
    ]  # fmt: skip
    assert browser(protected).get(path).status_code == 302
    client = browser(protected)
    assert enter_password(client, protected.manager.email).status_code == 302


def test_the_factor_of_another_person_is_not_there(protected: Front) -> None:
    with protected.database.transaction() as session:
        stranger = make_user(session).email
        id = session.scalars(sa.select(SecondFactor.id)).one()
    client = browser(protected)
    enter_password(client, stranger)
    assert client.get(f"/anmeldung/faktor/{id}/entfernen").status_code == 404


def test_an_old_proof_is_renewed_before_an_invitation_and_nothing_typed_is_lost(
    protected: Front, clock: FakeClock
) -> None:
    ask = f"/benutzer/{protected.main.customer_number}/einladen"
    sign_in(protected, protected.manager.email)
    page = protected.client.get(ask).text
    typed = {"name": "Ida Invitata", "email": "ida@example.com", "role": "administrator"}
    clock.advance(PROOF_LASTS)
    assert protected.client.get(ask).location == f"/anmeldung/bestaetigen?next={ask}"
    assert protected.client.get(OVERVIEW).status_code == 200
    assert "<strong>Benutzer einladen</strong>" in protected.client.get(f"/anmeldung/bestaetigen?next={ask}").text
    answer = press(protected.client, ask, page, **typed)
    assert "<strong>Benutzer einladen</strong>" in answer.text
    assert answer.status_code == 401 and "Was Sie eingegeben haben, bleibt erhalten" in answer.text
    assert_valid(answer.text)
    wrong = press(protected.client, "/anmeldung/bestaetigen", answer.text, code="000000")
    assert wrong.status_code == 422
    kept = enter_code(protected.client, answer)
    assert kept.status_code == 200 and 'value="ida@example.com"' in kept.text
    assert_valid(kept.text)
    assert ">Jetzt senden: Benutzer einladen</button>" in kept.text
    with protected.database.transaction() as session:
        assert session.scalars(sa.select(Invitation)).all() == []
    assert press(protected.client, ask, kept.text).status_code == 303
    with protected.database.transaction() as session:
        assert session.scalars(sa.select(Invitation.email)).all() == ["ida@example.com"]
    assert protected.client.get(ask).status_code == 200


def test_a_form_of_passwords_alone_is_led_back_to_and_not_offered_for_sending(
    protected: Front, clock: FakeClock
) -> None:
    path = "/anmeldung/passwort"
    sign_in(protected, protected.manager.email)
    page = protected.client.get(path).text
    clock.advance(PROOF_LASTS)
    typed = {"username": protected.manager.email, "current": PASSWORD, "password": NEW_PASSWORD}
    asked = press(protected.client, path, page, **typed)
    assert asked.status_code == 401 and "<strong>Passwort ändern</strong>" in asked.text
    answer = enter_code(protected.client, asked)
    assert (answer.status_code, answer.location) == (302, path)
    assert "denn Passwörter bewahren wir nicht auf" in protected.client.get(path).text


def test_a_person_without_a_factor_is_not_asked(front: Front, clock: FakeClock) -> None:
    sign_in(front, front.manager.email)
    clock.advance(PROOF_LASTS)
    assert front.client.get(f"/benutzer/{front.main.customer_number}/einladen").status_code == 200
    assert front.client.get("/anmeldung/bestaetigen").status_code == 302


def test_a_login_from_before_the_factor_has_to_prove_it(front: Front) -> None:
    sign_in(front, front.manager.email)
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    answer = front.client.get("/standortverwaltung")
    assert answer.location == "/anmeldung/bestaetigen?next=/standortverwaltung"
    assert enter_code(front.client, front.client.get(answer.location)).location == "/standortverwaltung"
    assert front.client.get("/standortverwaltung").status_code == 200


def test_the_mailed_link_alone_consents_for_nobody_who_has_a_factor(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    a_link(front, account.customer_number)
    back.advance()
    path, code = back.mail_to(owner.email)
    client = browser(front)
    page = client.get(path).text
    assert "Code" in page
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, owner.id))
    answer = press(client, path, page, code=code, decision="accepted")
    assert answer.status_code == 303 and client.get(answer.location).location.startswith("/anmelden")


def test_the_password_alone_proves_no_ownership_for_a_person_with_a_factor(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    id = a_link(front, account.customer_number).get_json()["id"]
    back.advance()
    login = {"kind": "credentials", "email": owner.email, "password": PASSWORD}
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, owner.id))
    assert front.post(f"/requests/{id}/proofs", login).status_code == 422
    with front.database.transaction() as session:
        session.execute(sa.delete(SecondFactor))
    assert front.post(f"/requests/{id}/proofs", login).status_code == 200


def test_wrong_codes_are_braked_and_lock_out_nobody_in_a_known_browser(protected: Front) -> None:
    sign_in(protected, protected.manager.email)
    press(protected.client, "/abmelden", protected.client.get(OVERVIEW).text)
    thief = browser(protected)
    page = enter_password(thief, protected.manager.email).text
    tries = [press(thief, "/anmelden/faktor", page, code="000000").status_code for _ in range(12)]
    assert tries == [422] * 10 + [429] * 2
    assert sign_in(protected, protected.manager.email)[0] == 302


def test_a_new_password_by_mail_gives_no_new_tries(protected: Front, back: Back) -> None:
    email, tries = protected.manager.email, []
    thief = browser(protected)
    for number in range(4):
        password = f"{NEW_PASSWORD} {number}"
        press(thief, "/passwort", email=email)
        back.advance()
        mail = [sent for sent in back.mailer.sent if sent.recipient_address == email and "/passwort/" in sent.text][-1]
        link = re.search(r"https?://[^/\s]+(/passwort/\d+/\d+/\S+)", mail.text)
        assert link is not None and press(thief, link[1], password=password).status_code == 303
        asked = press(thief, "/anmelden", email=email, password=password).text
        tries += [press(thief, "/anmelden/faktor", asked, code="000000").status_code for _ in range(11)]
    assert tries.count(422) == 20 and set(tries[-11:]) == {429}


def test_the_secret_of_an_app_is_of_no_use_in_the_row_of_another_person(protected: Front, superuser: sa.Engine) -> None:
    with protected.database.transaction() as session:
        stranger = make_user(session)
        give_app(session, stranger)
        [own] = session.scalars(sa.select(SecondFactor.secret).where(SecondFactor.user_id == stranger.id))
    with superuser.begin() as connection:
        connection.execute(sa.update(SecondFactor).values(secret=own))
    client = browser(protected)
    asked = enter_password(client, protected.manager.email)
    assert enter_code(client, asked).status_code == 422


def test_a_sign_in_is_told_once_for_each_browser(front: Front, back: Back) -> None:
    for _ in range(2):
        sign_in(front, front.manager.email)
        press(front.client, "/abmelden", front.client.get(OVERVIEW).text)
    other = browser(front)
    form = {"csrf_token": form_token(other), "email": front.manager.email, "password": PASSWORD}
    other.post("/anmelden", data=form, headers={"User-Agent": "Mozilla/5.0 (Windows NT 10.0) Firefox/130.0"})
    back.advance()
    told = [mail.text for mail in back.mailer.sent if "Browser" in mail.text]
    assert len(told) == 2
    assert "Firefox, Windows" in told[1] and "127.0.0.1" in told[1] and "09:00 Uhr" in told[1]


def test_a_changed_password_is_told_and_keeps_the_proof(protected: Front, back: Back) -> None:
    sign_in(protected, protected.manager.email)
    assert press(protected.client, "/anmeldung/passwort", current=PASSWORD, password=NEW_PASSWORD).status_code == 303
    assert protected.client.get("/standortverwaltung").status_code == 200
    back.advance()
    assert [mail.subject for mail in back.mailer.sent][-1] == "Ihr Passwort für das Kundenportal wurde geändert"
    assert deeds(protected) == [(AuditEvent.PASSWORD_CHANGED, protected.main.id)]


def test_a_local_member_can_have_a_factor(front: Front, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        member = make_user(session)
        join(session, member, session.get_one(Account, front.main.id), Role.LOCAL_MEMBER)
    client = browser(front)
    enter_password(client, member.email)
    _, secret = set_up(client, clock)
    again = browser(front)
    enter_password(again, member.email)
    clock.advance(HALF_MINUTE)
    assert press(again, "/anmelden/faktor", code=pyotp.TOTP(secret).at(clock.now)).status_code == 302
    assert again.get("/rufweiterleitung", follow_redirects=True).request.path.endswith("/rufweiterleitung")
    with front.database.transaction() as session:
        assert session.scalar(sa.select(Login.factor_at).order_by(Login.id.desc()).limit(1)) == clock.now
