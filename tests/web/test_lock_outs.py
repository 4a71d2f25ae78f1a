"""Tests that strangers who try codes and passwords are slowed down, and cannot lock out other people by that."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from models.people.known_browsers import VALID_FOR
from models.proofs.proofs import OwnershipProof
from models.requests.requests import Request
from tests.factories import PASSWORD
from tests.web.api.calls import CONTACT, a_link, an_order, new_link_code, owned, token_of
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in

WRONG = "AAAAA AAAAA"
OFFICE = "192.0.2.1"
NEW_PASSWORD = "lantern violet harbour quilt"


def browser(front: Front) -> FlaskClient:
    """Return a test client of the application without cookies, as a new browser."""
    return front.client.application.test_client()


def enter(client: FlaskClient, path: str, peer: str = "127.0.0.1", **fields: str) -> int:
    """Submit `fields` to the form at `path`; return the status of the answer. `peer` is the browser's IP address."""
    token = form_token(client)
    answer = client.post(path, data={"csrf_token": token, **fields}, environ_base={"REMOTE_ADDR": peer})
    return answer.status_code


def log_in(client: FlaskClient, email: str, password: str = PASSWORD, peer: str = "127.0.0.1") -> int:
    """Sign in, and sign out again if that succeeds. Return the status of the sign-in, which is 302 if it succeeds.

    `peer` is the browser's IP address.
    """
    status = enter(client, "/anmelden", peer, email=email, password=password)
    if status == 302:
        client.post("/abmelden", data={"csrf_token": form_token(client)})
    return status


def guess(front: Front, email: str, tries: int, peer: str = "198.51.100.7") -> list[int]:
    """Sign in `tries` times as the user with this e-mail address and a wrong password; return the statuses.

    `peer` is the browser's IP address.
    """
    stranger = browser(front)
    return [log_in(stranger, email, "wrong", peer) for _ in range(tries)]


def test_a_lock_out_is_announced_and_says_until_when_alike_for_every_address(front: Front) -> None:
    pages = []
    for email in (front.manager.email, "nobody@example.com"):
        client, said = browser(front), []
        for peer in (f"198.51.100.{n}" for n in range(1, 12)):
            token = form_token(client)
            sent = {"csrf_token": token, "email": email, "password": "wrong"}
            answer = client.post("/anmelden", data=sent, environ_base={"REMOTE_ADDR": peer})
            assert_valid(answer.text)
            said.append(answer.text.replace(email, "…").replace(token, ""))
        assert [("mehr" in one or "Noch" in one) for one in said[:6]] == [False] * 6
        announced = ("Noch 3 Versuche", "Noch 2 Versuche", "Noch 1 Versuch.", "der letzte Versuch")
        for page, words in zip(said[6:10], announced, strict=True):
            assert words in page, words
        assert re.search(r"Weiter geht es um \d\d:\d\d Uhr", said[10])
        pages.append([re.sub(r"\d\d:\d\d Uhr|value=.[^ ]+", "", one) for one in said])
    assert pages[0] == pages[1]


def test_a_strangers_wrong_letter_codes_neither_void_the_letter_nor_stop_its_reader(front: Front, back: Back) -> None:
    id = an_order(front, back)
    number, code = front.get(f"/requests/{id}").get_json()["customer_number"], back.letter_code()
    stranger = browser(front)
    tries = [enter(stranger, "/brief", "198.51.100.7", customer_number=number, code=WRONG) for _ in range(12)]
    assert tries == [422] * 10 + [429] * 2
    assert enter(browser(front), "/brief", customer_number=number, code=code) == 200


def test_wrong_codes_for_other_numbers_stop_nobody_behind_the_same_address(front: Front, back: Back) -> None:
    id = an_order(front, back)
    number, code = front.get(f"/requests/{id}").get_json()["customer_number"], back.letter_code()
    others = [enter(browser(front), "/brief", customer_number=f"90000{n}", code=WRONG) for n in range(10, 45)]
    assert others == [422] * 35
    assert enter(browser(front), "/brief", customer_number=number, code=code) == 200


def test_wrong_tries_of_the_contact_do_not_void_the_mailed_code(front: Front, back: Back) -> None:
    an_order(front, back)
    path, code = back.mail_to(CONTACT)
    with front.database.transaction() as session:
        number = session.scalars(sa.select(Request.customer_number)).one()
    for _ in range(10):
        enter(browser(front), "/brief", customer_number=number, code=WRONG)
    assert [enter(browser(front), path, code=WRONG) for _ in range(9)] == [422] * 9
    assert enter(browser(front), path, code=code) == 303


def test_strangers_wrong_link_codes_do_not_void_the_code(front: Front) -> None:
    account, owner = owned(front)
    code = new_link_code(front, account, owner)
    stranger, mine = owned(front), front.token
    front.token = token_of(front, *stranger)
    for turn in range(11):
        answer = a_link(front, account.customer_number, "link_code", code=WRONG)
        assert answer.status_code == (202 if turn < 10 else 429)
        if answer.status_code == 202:
            front.post(f"/requests/{answer.get_json()['id']}/cancel")
    front.token = mine
    asked = a_link(front, account.customer_number, "link_code", code=code).get_json()
    with front.database.transaction() as session:
        assert session.get(OwnershipProof, UUID(asked["id"])) is not None


def test_a_known_browser_passes_what_strangers_have_used_up(front: Front) -> None:
    email = front.manager.email
    own, elsewhere = browser(front), browser(front)
    assert log_in(own, email) == 302
    assert guess(front, email, 12) == [422] * 10 + [429] * 2
    # A browser that the person has never used waits, even with the right password.
    assert log_in(elsewhere, email) == 429
    assert log_in(own, email) == 302
    # A known browser has ten wrong tries of its own; they take nothing from others.
    assert [log_in(own, email, "wrong") for _ in range(11)] == [422] * 10 + [429]


def test_wrong_passwords_behind_one_address_stop_no_known_browser_there(front: Front) -> None:
    own, new = browser(front), browser(front)
    assert log_in(own, front.manager.email, peer=OFFICE) == 302
    for turn in range(6):
        assert guess(front, f"nobody{turn}@example.com", 5, OFFICE) == [422] * 5
    assert log_in(new, front.manager.email, peer=OFFICE) == 429
    assert log_in(own, front.manager.email, peer=OFFICE) == 302
    assert log_in(new, front.manager.email, peer="192.0.2.2") == 302


def test_a_mark_is_of_one_person_one_password_and_a_year(front: Front, back: Back) -> None:
    _, other = owned(front)
    own = browser(front)
    assert log_in(own, front.manager.email) == 302
    name = f"browser_{front.manager.user_id}"
    mark = own.get_cookie(name)
    assert mark is not None and mark.http_only and mark.same_site == "Lax" and not mark.secure
    assert front.manager.email not in mark.value
    for email in (front.manager.email, other.email):
        guess(front, email, 10)
    forged = browser(front)
    for value in (mark.value[:-1] + "!", "x", "..", "9." + mark.value.partition(".")[2]):
        forged.set_cookie(name, value)
        assert log_in(forged, front.manager.email) == 429
    forged.set_cookie(f"browser_{other.id}", mark.value)
    assert log_in(forged, other.email) == 429
    back.clock.advance(VALID_FOR - timedelta(minutes=1))
    assert log_in(own, front.manager.email) == 302
    own.set_cookie(name, mark.value)
    back.clock.advance(timedelta(minutes=1))
    assert log_in(own, front.manager.email) == 429


def test_with_a_new_password_by_mail_an_unknown_browser_gets_in_at_once(front: Front, back: Back) -> None:
    email, old = front.manager.email, browser(front)
    assert log_in(old, email) == 302
    guess(front, email, 10)
    assert guess_links(front, email) == [303] * 10 + [429]
    own = browser(front)
    form = {"csrf_token": form_token(own), "email": email, "password": PASSWORD}
    refused = own.post("/anmelden", data=form)
    assert refused.status_code == 429 and 'href="/passwort"' in refused.text
    assert_valid(refused.text)
    assert enter(own, "/passwort", email=email) == 303
    back.advance()
    path = next(word for word in back.mailer.sent[-1].text.split() if "/passwort/" in word)
    assert enter(own, path.removeprefix("http://portal.example"), password=NEW_PASSWORD) == 303
    assert log_in(own, email, NEW_PASSWORD) == 302
    # The mark of the old password is worth nothing.
    assert log_in(old, email, NEW_PASSWORD) == 429


def guess_links(front: Front, email: str) -> list[int]:
    """Request eleven links to reset the password of `email`, as a stranger; return the statuses."""
    stranger = browser(front)
    return [enter(stranger, "/passwort", "198.51.100.7", email=email) for _ in range(11)]


def test_strangers_stop_nobody_who_is_signed_in(front: Front) -> None:
    assert sign_in(front, front.manager.email)[0] == 302
    guess(front, front.manager.email, 10)
    path = "/anmeldung/passwort"
    assert enter(front.client, path, current="wrong", password=NEW_PASSWORD) == 422
    assert enter(front.client, path, current=PASSWORD, password=NEW_PASSWORD) == 303


@pytest.mark.parametrize("way", ["link request", "proof"])
def test_passwords_of_others_are_guessed_nowhere_faster_than_at_sign_in(front: Front, back: Back, way: str) -> None:
    account, owner = owned(front)
    login = {"email": owner.email, "password": "wrong"}
    if way == "proof":
        id = a_link(front, account.customer_number).get_json()["id"]
        back.advance()
        proof = {"kind": "credentials", **login}
        answers = [front.post(f"/requests/{id}/proofs", proof).status_code for _ in range(5)]
        assert answers == [422] * 5
    else:
        for _ in range(5):
            asked = a_link(front, account.customer_number, "credentials", **login)
            assert asked.status_code == 202
            front.post(f"/requests/{asked.get_json()['id']}/cancel")
    assert guess(front, owner.email.upper(), 6) == [422] * 5 + [429]
