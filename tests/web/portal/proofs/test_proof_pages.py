"""Tests of the pages on which people give proofs, opened from a mail, a letter or the portal, without a browser.

Opening a link proves nothing; the code has to be entered. Strangers learn nothing and change nothing. Wrong tries are
limited.
"""

from __future__ import annotations

import io
import re
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from models.db.session import Database
from models.orders.orders import cancel_and_release
from models.people.users import User
from models.proofs.proofs import AddressProof, Consent, EmailProof
from models.requests.requests import Request
from models.states import Reason
from tests.factories import NOW, PASSWORD, make_account, make_main, make_staff
from tests.web.api.calls import CONTACT, PDF, an_order, owned, statements
from tests.web.conftest import ORDER, Back, Front
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.proofs.answering import WRONG, asked, send, status, title


def rows(front: Front) -> list[object]:
    """Return all values in the database that answers on these pages can change, so that a test can compare them."""
    with front.database.transaction() as session:
        return [
            session.execute(sa.select(EmailProof.proved_at)).all(),
            session.execute(sa.select(AddressProof.proved_at)).all(),
            session.execute(sa.select(Consent.decision)).all(),
            session.execute(sa.select(Request.id, Request.status, Request.due_at)).all(),
        ]


def test_a_contact_confirms_with_the_code_and_comes_back_to_a_calm_page(front: Front, back: Back) -> None:
    id = an_order(front, back)
    path, code = back.mail_to(CONTACT)
    page = front.client.get(path)
    assert title(page) == "E-Mail-Adresse bestätigen"
    for shown in (front.main.name, ORDER["location"]["name"], ORDER["location"]["street"], CONTACT, "16. März 2026"):
        assert shown in page.text
    wrong = send(front, path, code=WRONG)
    assert wrong.status_code == 422
    assert '<a href="#code">Dieser Code stimmt nicht' in wrong.text and f'value="{WRONG}"' in wrong.text
    done = send(front, path, code=f" {code.lower()} ")
    assert (done.status_code, done.headers["Location"]) == (303, path)
    assert title(front.client.get(path)) == "Die E-Mail-Adresse ist bestätigt"
    confirmed = front.client.get(path).text
    assert "<form" not in confirmed.split("<main")[1]
    # The letter is still on its way, perhaps to the same person.
    assert "noch nachzuweisen, bis 16. März 2026" in confirmed and "nichts weiter tun" not in confirmed
    number = front.get(f"/requests/{id}").get_json()["customer_number"]
    answered = send(front, "/brief", customer_number=number, code=back.letter_code())
    assert "Für die Adresse ist nichts weiter zu tun" in answered.text
    assert "Sie müssen nichts weiter tun" in front.client.get(path).text


def test_a_scanner_that_opens_and_posts_every_link_decides_nothing(front: Front, back: Back) -> None:
    an_order(front, back)
    _, _, owner = asked(front, back)
    scanner = front.client.application.test_client()
    before = rows(front)
    for path in (back.mail_to(CONTACT)[0], back.mail_to(owner.email)[0]):
        assert scanner.get(path).status_code == 200
        assert scanner.post(path).status_code == 400
        token = csrf(scanner.get(path).text)
        assert scanner.head(path).status_code == 200
        # A mail scanner that presses the button, and one that also chooses an answer.
        assert scanner.post(path, data={"csrf_token": token, "code": ""}).status_code == 422
        assert scanner.post(path, data={"csrf_token": token, "decision": "accepted"}).status_code == 422
        assert scanner.post(path, data={"csrf_token": token, "decision": "maybe"}).status_code == 422
    assert rows(front) == before


@pytest.mark.parametrize("what", ["email", "consent"])
def test_an_invalid_link_is_not_found_whatever_is_wrong(front: Front, back: Back, what: str) -> None:
    an_order(front, back)
    link, _, owner = asked(front, back)
    path, _ = back.mail_to(CONTACT if what == "email" else owner.email)
    parts = path.split("/")
    other = "01890000-0000-7000-8000-000000000000"
    misled = link if what == "email" else other
    wrong = [path + "x", path[:-1], path.replace(parts[2], other), path.replace(parts[2], misled)]
    if what == "consent":
        wrong.append(path.replace(f"/{parts[3]}/", f"/{front.manager.user_id}/"))
    pages = {re.sub(r'value="[^"]+"', "", front.client.get(address).text) for address in wrong}
    assert len(pages) == 1
    assert {front.client.get(address).status_code for address in wrong} == {404}


def test_the_page_of_an_email_says_what_happened(front: Front, back: Back) -> None:
    id = an_order(front, back)
    first, _ = back.mail_to(CONTACT)
    back.clock.advance(timedelta(minutes=10))
    front.post(f"/requests/{id}/resend", {"what": "email"})
    back.advance()
    second, code = back.mail_to(CONTACT)
    assert title(front.client.get(first)) == "Es gibt eine neuere E-Mail"
    assert title(front.client.get(second)) == "E-Mail-Adresse bestätigen"
    stale = csrf(front.client.get(second).text)
    back.clock.advance(timedelta(days=15))
    assert title(front.client.get(second)) == "Die Frist für die Bestätigung ist abgelaufen"
    late = front.client.post(second, data={"csrf_token": stale, "code": code})
    assert title(late) == "Die Frist für die Bestätigung ist abgelaufen"
    back.advance()
    assert status(front, id) == "rejected"
    assert title(front.client.get(second)) == "Die Frist für die Bestätigung ist abgelaufen"


def test_a_mail_is_good_for_the_next_order_when_the_first_was_cancelled(front: Front, back: Back) -> None:
    first, second = an_order(front, back), an_order(front, back)
    path, code = back.mail_to(CONTACT)
    front.post(f"/requests/{first}/cancel")
    assert send(front, path, code=code).status_code == 303
    assert front.get(f"/requests/{second}").get_json()["proofs"][0]["state"] == "proved"


def test_a_mail_for_a_cancelled_order_says_so(front: Front, back: Back) -> None:
    id = an_order(front, back)
    path, _ = back.mail_to(CONTACT)
    front.post(f"/requests/{id}/cancel")
    assert title(front.client.get(path)) == "Die Bestellung wurde storniert"


def test_the_letter_is_answered_with_what_it_says(front: Front, back: Back) -> None:
    id = an_order(front, back)
    number = front.get(f"/requests/{id}").get_json()["customer_number"]
    assert f"{number}" in back.printer.printed[0].text and "/brief" in back.printer.printed[0].text
    empty = send(front, "/brief")
    assert empty.status_code == 422
    assert '<a href="#customer_number">' in empty.text and '<a href="#code">' in empty.text
    for _ in range(2):
        # A second submit changes nothing.
        done = send(front, "/brief", customer_number=f" {number[:3]} {number[3:]} ", code=back.letter_code())
        assert (done.status_code, title(done)) == (200, "Die Anschlussadresse ist bestätigt")
        assert ORDER["location"]["street"] in done.text
    assert send(front, "/brief", customer_number=number, code=WRONG).status_code == 422


def test_a_letter_for_a_cancelled_order_confirms_nothing(front: Front, back: Back) -> None:
    id = an_order(front, back)
    number = front.get(f"/requests/{id}").get_json()["customer_number"]
    front.post(f"/requests/{id}/cancel")
    before = rows(front)
    assert send(front, "/brief", customer_number=number, code=back.letter_code()).status_code == 422
    assert rows(front) == before


def test_a_letter_is_good_for_the_next_order_when_the_first_was_cancelled(front: Front, back: Back) -> None:
    first, second = an_order(front, back), an_order(front, back)
    number = front.get(f"/requests/{first}").get_json()["customer_number"]
    front.post(f"/requests/{first}/cancel")
    assert send(front, "/brief", customer_number=number, code=back.letter_code()).status_code == 200
    assert front.get(f"/requests/{second}").get_json()["proofs"][1]["state"] == "proved"


def test_the_letters_page_tells_an_outsider_nothing(front: Front, back: Back, database: Database) -> None:
    def answer(number: str) -> tuple[int, str, list[str]]:
        with statements() as said:
            page = send(front, "/brief", customer_number=number, code=WRONG)
        text = re.sub(r'name="csrf_token" value="[^"]+"', "", page.text).replace(number, "")
        return page.status_code, text, said

    unknown = answer("9999999")
    waiting, expired, proved, ended = (make_waiting(front, back, place) for place in ("Nord", "Süd", "West", "Ost"))
    with front.database.transaction() as session:
        ordinary = make_account(session).customer_number
        session.execute(sa.update(AddressProof).where(AddressProof.address_key.contains("sued")).values(expires_at=NOW))
        west = sa.update(AddressProof).where(AddressProof.address_key.contains("west"))
        session.execute(west.values(proved_at=NOW, method="letter"))
        order = session.scalars(sa.select(Request).where(Request.customer_number == ended)).one()
        cancel_and_release(order, Reason.CANCELLED_BY_REQUESTER, NOW)
    assert unknown[0] == 422 and len(unknown[2]) > 4
    for number in (ordinary, waiting, expired, proved, ended):
        assert answer(number) == unknown


def make_waiting(front: Front, back: Back, street: str) -> str:
    """Place an order at "<street>weg 1" that waits for the code in its letter; return the ordered customer number.

    Each call needs another `street`, as addresses that were proved once need no letter.
    """
    order = {**ORDER, "location": {**ORDER["location"], "street": f"{street}weg 1"}}
    number: str = front.post("/orders", order).get_json()["customer_number"]
    back.advance()
    return number


def test_the_requests_page_offers_what_helps(front: Front, back: Back) -> None:
    id = an_order(front, back)
    page = f"/anfragen/{id}"
    sign_in(front, front.manager.email)
    shown = front.client.get(page).text
    assert "Hanna Palmer, hanna.palmer@example.com" in shown
    assert "Erwartet bis 16. März 2026." in shown
    assert "Eine neue E-Mail ist ab 2. März 2026, 09:10 Uhr möglich." in shown
    assert "Ein neuer Brief ist ab 5. März 2026, 09:00 Uhr möglich." in shown
    early = send(front, f"{page}/erneut-senden", page, what="letter")
    assert early.status_code == 303
    assert "Das ist ab 5. März 2026, 09:00 Uhr wieder möglich." in front.client.get(page).text
    assert send(front, f"{page}/erneut-senden", page, what="flowers").status_code == 404
    old = back.letter_code()
    back.clock.advance(timedelta(days=3))
    assert send(front, f"{page}/erneut-senden", page, what="letter").status_code == 303
    back.advance()
    wrong = send(front, f"{page}/brief", page, code=old)
    assert wrong.status_code == 422 and '<a href="#code">Dieser Code stimmt nicht' in wrong.text
    assert send(front, f"{page}/brief", page, code=back.letter_code()).status_code == 303
    assert "Code aus dem Brief eingeben" not in front.client.get(page).text
    assert send(front, f"{page}/brief", page, code=back.letter_code()).status_code == 303


def test_a_document_is_handed_in_on_the_requests_page(front: Front, back: Back) -> None:
    id = an_order(front, back)
    page = f"/anfragen/{id}"
    sign_in(front, front.manager.email)

    def hand_in(content: bytes, name: str = "Auszug.pdf") -> TestResponse:
        token = csrf(front.client.get(page).text)
        boundary, body = encode_multipart({"csrf_token": token, "file": FileStorage(io.BytesIO(content), name)})
        kind = f"multipart/form-data; boundary={boundary}"
        return front.client.post(f"{page}/dokument", data=body, content_type=kind)

    for content, said in [(b"", "Wählen Sie ein Dokument aus."), (b"MZ", "Das ist weder PDF noch PNG noch JPEG.")]:
        refused = hand_in(content)
        assert refused.status_code == 422 and f'<a href="#file">{said}</a>' in refused.text
    assert title(hand_in(PDF + b"\0" * 11_000_000)) == "Das Dokument ist zu groß"
    assert hand_in(PDF + b"\0" * 5_000_000).status_code == 303
    back.advance()
    assert "Wir prüfen es." in front.client.get(page).text


def test_a_request_is_cancelled_after_a_question(front: Front, back: Back) -> None:
    id = an_order(front, back)
    page = f"/anfragen/{id}"
    sign_in(front, front.manager.email)
    asks = front.client.get(f"{page}/stornieren")
    assert "Das lässt sich nicht rückgängig machen." in asks.text
    assert status(front, id) == "pending"
    assert send(front, f"{page}/stornieren").status_code == 303
    assert status(front, id) == "cancelled"
    ended = front.client.get(page).text
    assert "Anfrage stornieren" not in ended and "Code aus dem Brief" not in ended
    front.client.post(f"{page}/stornieren", data={"csrf_token": csrf(ended)})
    assert "für eine Stornierung schon zu weit" in front.client.get(page).text
    front.client.post(f"{page}/wiederholen", data={"csrf_token": csrf(ended)})
    assert "schon in Arbeit" in front.client.get(page).text
    assert front.client.get(f"{page}/stornieren").status_code == 303


def test_a_held_request_can_be_tried_again_there(front: Front) -> None:
    id = front.post("/orders", ORDER).get_json()["id"]
    sign_in(front, front.manager.email)
    with front.database.transaction() as session:
        session.get_one(Request, UUID(id)).hold(Reason.INTERNAL_ERROR, NOW)
    page = f"/anfragen/{id}"
    assert "Erneut versuchen" in front.client.get(page).text
    assert send(front, f"{page}/wiederholen", page).status_code == 303
    assert status(front, id) == "in_progress"


def test_strangers_do_nothing_to_a_request(front: Front, back: Back) -> None:
    id = an_order(front, back)
    with front.database.transaction() as session:
        _, stranger = make_main(session)
        staff = make_staff(session)
    page = f"/anfragen/{id}"
    for email, seen in ((stranger.email, 404), (staff.email, 200)):
        front.client = front.client.application.test_client()
        sign_in(front, email)
        shown = front.client.get(page)
        assert shown.status_code == seen
        assert "Anfrage stornieren" not in shown.text and 'name="code"' not in shown.text
        for path in ("stornieren", "wiederholen", "erneut-senden"):
            answer = send(front, f"{page}/{path}", "/anmeldung", what="letter")
            assert answer.status_code == 404
        assert send(front, f"{page}/brief", "/anmeldung", code=back.letter_code()).status_code == 404
        assert send(front, f"{page}/ansprechpartner", "/anmeldung", email="mine@example.com").status_code == 404
    assert status(front, id) == "pending"


def test_every_page_speaks_english_too(front: Front, back: Back) -> None:
    id = an_order(front, back)
    link, account, owner = asked(front, back)
    english = {"Accept-Language": "en"}
    expected = {
        back.mail_to(CONTACT)[0]: "Confirm e-mail address",
        back.mail_to(owner.email)[0]: f"May your account {account.customer_number} be attached?",
        "/brief": "Confirm the connection address",
    }
    for path, heading in expected.items():
        assert title(front.client.get(path, headers=english)) == heading
    with front.database.transaction() as session:
        session.get_one(User, front.manager.user_id).locale = "en"
    sign_in(front, front.manager.email)
    shown = front.client.get(f"/anfragen/{id}").text
    assert "Awaited until 16 March 2026." in shown
    assert "Faster with a link code" in front.client.get(f"/anfragen/{link}").text
    assert title(front.client.get("/verknuepfungscode")) == "Link code"


@pytest.mark.parametrize("kind", ["sign in", "letter"])
def test_wrong_tries_on_pages_are_throttled_and_say_for_how_long(front: Front, kind: str) -> None:
    path = "/anmelden" if kind == "sign in" else "/brief"

    def attempt(name: str) -> TestResponse:
        fields = {"email": name, "password": "wrong"} if kind == "sign in" else {"customer_number": name, "code": WRONG}
        return send(front, path, **fields)

    names = ("nobody@example.com", front.manager.email) if kind == "sign in" else ("9999999", "8888888")
    for name in names:
        answers = [attempt(name) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [422] * 10 + [429]
        assert title(answers[-1]) == "Zu viele falsche Versuche"
        assert "Weiter geht es um " in answers[-1].text and int(answers[-1].headers["Retry-After"]) > 800
    if kind == "sign in":
        assert sign_in(front, front.manager.email, PASSWORD)[0] == 429
        assert sign_in(front, owned(front)[1].email, PASSWORD)[0] == 302
