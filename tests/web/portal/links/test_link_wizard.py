"""Tests of the pages on which users link an existing account, and of the link request's page, without a browser.

A user enters the customer number, then a proof, and reads what the link changes. However often the form is sent, there
is one request. An outsider learns nothing about the account.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.people.users import User
from models.proofs.proofs import LinkCode, OwnershipProof
from models.requests.requests import Request
from tasks.wording.link_rights import link_rights
from tests.factories import NOW, PASSWORD, join, make_account, make_staff, make_user
from tests.web.api.calls import a_link, new_link_code, owned, statements, token_of
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.proofs.answering import asked, send, status, title

START = "/standortverwaltung/hinzufuegen"
NOBODYS = "9876543"


def account_address_key(page: str) -> str:
    """Return the value of the hidden field `key` on the page (HTML).

    A form that is sent twice with the same key makes one request.
    """
    found = re.search(r'name="key" value="([0-9a-f]{32})"', page)
    assert found is not None
    return found[1]


def add(front: Front, number: str, way: str, **typed: str) -> TestResponse:
    """Submit the wizard's last page for the account with the customer number `number`; return the answer.

    `way` is the kind of proof in the page's path, such as "zugangsdaten"; `typed` are fields of the form.
    """
    path = f"{START}/{number}/{way}"
    return send(front, path, key=account_address_key(front.client.get(path).text), **typed)


def requests(front: Front) -> list[Request]:
    """Return all requests in the database, the oldest first."""
    with front.database.transaction() as session:
        return list(session.scalars(sa.select(Request).order_by(Request.id)))


def page_of(answer: TestResponse) -> str:
    """Return the path of the new link request's page, to which the answer must redirect."""
    assert answer.status_code == 303
    place = answer.headers["Location"]
    assert re.fullmatch(r"/anfragen/[0-9a-f-]{36}", place), place
    return place


def test_the_number_then_the_proof_then_what_it_means_then_the_request(front: Front, back: Back) -> None:
    account, owner = owned(front)
    number = account.customer_number
    sign_in(front, front.manager.email)
    first = send(front, START, customer_number=f" {number[:3]} {number[3:]} ")
    assert (first.status_code, first.headers["Location"]) == (303, f"{START}/{number}")
    ways = front.client.get(f"{START}/{number}").text
    links = re.findall(rf'href="{START}/{number}/([a-z-]+)"', ways)
    assert links == ["zugangsdaten", "verknuepfungscode", "zustimmung"]
    assert "Meist weniger als eine Minute" in ways and "höchstens 14 Tage" in ways
    last = front.client.get(f"{START}/{number}/zugangsdaten").text
    for said in ("Was bleibt, wie es ist", "Anschlussadresse und Notrufleitung", "Was sich ändert", "Sammelrechnung"):
        assert said in last
    assert requests(front) == []
    page = page_of(add(front, number, "zugangsdaten", email=f" {owner.email} ", password=PASSWORD))
    back.advance()
    shown = front.client.get(page).text
    assert "Der Account steht jetzt in Ihrer Übersicht" in shown and "data-ended" in shown
    assert shown.count("Die Berechtigung ist nachgewiesen: durch die Zugangsdaten") == 1


def test_both_sides_read_what_a_link_gives_before_it_is_made(front: Front, back: Back) -> None:
    account, owner = owned(front)
    with front.database.transaction() as session:
        own = make_account(session)
        join(session, session.get_one(User, front.manager.user_id), own)
    rights = link_rights("de")
    pages = {}
    sign_in(front, front.manager.email)
    pages["own account"] = front.client.get(START).text
    for way in ("zugangsdaten", "verknuepfungscode", "zustimmung"):
        pages[way] = front.client.get(f"{START}/{account.customer_number}/{way}").text
    page_of(add(front, account.customer_number, "zustimmung"))
    back.advance()
    path, _ = back.mail_to(owner.email)
    front.client.delete_cookie("session")
    pages["consent"] = front.client.get(path).text
    sign_in(front, owner.email)
    pages["link codes"] = front.client.get("/verknuepfungscode").text
    for name, page in pages.items():
        for said in (*rights.may, *rights.may_not, "unter „Vom Hauptaccount lösen“"):
            assert said in page, (name, said)


def test_a_link_code_and_consent_are_ways_too(front: Front, back: Back) -> None:
    account, owner = owned(front)
    code = new_link_code(front, account, owner)
    sign_in(front, front.manager.email)
    page_of(add(front, account.customer_number, "verknuepfungscode", code=code.lower()))
    other, asked_one = owned(front)
    page = page_of(add(front, other.customer_number, "zustimmung"))
    back.advance()
    back.mail_to(asked_one.email)
    assert [str(request.status) for request in requests(front)] == ["completed", "pending"]
    shown = front.client.get(page).text
    assert f"Jetzt sind die Administratoren der Kundennummer {other.customer_number} an der Reihe" in shown
    assert "erinnern wir nach 7 und nach 12 Tagen" in shown


def test_an_account_of_ones_own_is_one_press_away(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        account = make_account(session)
        join(session, session.get_one(User, front.manager.user_id), account)
    sign_in(front, front.manager.email)
    page = front.client.get(START).text
    assert "Notruf" in page and f"{account.customer_number} als Nebenaccount hinzufügen" in page
    path = f"{START}/{account.customer_number}/eigener-account"
    answer = front.client.post(path, data={"csrf_token": csrf(page), "key": account_address_key(page)})
    back.advance()
    assert status(front, page_of(answer).rpartition("/")[2]) == "completed"
    # The second press finds the request of the first.
    late = front.client.post(path, data={"csrf_token": csrf(page), "key": account_address_key(page)})
    assert page_of(late) == page_of(answer)
    assert front.client.get(f"{START}/{NOBODYS}/eigener-account").status_code == 404


def test_a_double_click_a_reload_and_a_second_tab_make_one_request(front: Front, back: Back) -> None:
    account, owner = owned(front)
    sign_in(front, front.manager.email)
    path = f"{START}/{account.customer_number}/zugangsdaten"
    one, other = front.client.get(path).text, front.client.get(path).text
    typed = {"csrf_token": csrf(one), "email": owner.email, "password": PASSWORD}
    cookie = front.client.get_cookie("session")
    assert cookie is not None

    def press(key: str) -> str:
        client = front.client.application.test_client()
        client.set_cookie("session", cookie.value)
        place: str = client.post(path, data={**typed, "key": key}).headers["Location"]
        return place

    with ThreadPoolExecutor(4) as pool:
        pages = set(
            pool.map(
                press,
                [
                    account_address_key(one),
                    account_address_key(one),
                    account_address_key(other),
                    account_address_key(other),
                ],
            )
        )
    assert len(pages) == 1 and len(requests(front)) == 1
    late = front.client.post(path, data={**typed, "key": "0" * 32})
    assert "läuft schon eine Anfrage: diese hier" in front.client.get(page_of(late)).text
    back.advance()
    # Reloading the answer after the request has ended leads to that request.
    assert pages < {press(account_address_key(one)), press(account_address_key(other))} and len(requests(front)) == 1


def test_another_password_under_the_same_key_is_another_try(front: Front, back: Back) -> None:
    account, owner = owned(front)
    sign_in(front, front.manager.email)
    path = f"{START}/{account.customer_number}/zugangsdaten"
    form = front.client.get(path).text
    typed = {"csrf_token": csrf(form), "key": account_address_key(form), "email": owner.email}
    wrong = front.client.post(path, data={**typed, "password": "wrong"})
    back.advance()
    assert "Neue Anfrage stellen" in front.client.get(page_of(wrong)).text
    # After the browser's back button the form is submitted unchanged.
    right = front.client.post(path, data={**typed, "password": PASSWORD})
    back.advance()
    assert page_of(right) != page_of(wrong)
    assert [str(request.status) for request in requests(front)] == ["rejected", "completed"]


def test_what_is_wrong_is_said_and_what_was_typed_is_kept(front: Front) -> None:
    account, _ = owned(front)
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        join(session, session.get_one(User, front.manager.user_id), make_account(session))
    sign_in(front, front.manager.email)
    running = a_link(front, account.customer_number).get_json()["id"]
    for typed, said in (
        ("", "Geben Sie die Kundennummer ein."),
        ("12345", "Eine Kundennummer hat sieben Ziffern."),
        ("<b>", "Eine Kundennummer hat sieben Ziffern."),
        (main.customer_number, "Das ist Ihre eigene Kundennummer."),
        (account.customer_number, "Für diese Kundennummer läuft schon eine Anfrage."),
    ):
        page = send(front, START, customer_number=typed)
        assert page.status_code == 422
        assert f'<a href="#customer_number">{said}' in page.text
        assert f'value="{typed.replace("<b>", "&lt;b&gt;")}"' in page.text
        assert (f'href="/anfragen/{running}"' in page.text) == (typed == account.customer_number)
    assert front.client.get(f"{START}/{account.customer_number}").headers["Location"] == f"/anfragen/{running}"
    away = front.client.get(f"{START}/{main.customer_number}/zustimmung")
    assert (away.status_code, away.headers["Location"]) == (303, f"{START}?kundennummer={main.customer_number}")
    assert "Das ist Ihre eigene Kundennummer." in front.client.get(away.headers["Location"]).text
    path = f"{START}/{NOBODYS}/zugangsdaten"
    missing = send(front, path, key="0" * 32, email="somebody@example.com", password="")
    assert missing.status_code == 422 and 'value="somebody@example.com"' in missing.text
    assert '<a href="#password">' in missing.text and account_address_key(missing.text) == "0" * 32
    secret = send(front, path, key="0" * 32, email="", password="not to be seen")
    assert secret.status_code == 422 and "not to be seen" not in secret.text
    assert send(front, path, key="", email="a@example.com", password="x").status_code == 422
    assert front.client.get(f"{START}/{NOBODYS}/anders").status_code == 404


def test_ones_own_sub_account_is_known(front: Front, back: Back) -> None:
    account, owner = owned(front)
    sign_in(front, front.manager.email)
    add(front, account.customer_number, "zugangsdaten", email=owner.email, password=PASSWORD)
    back.advance()
    assert "ist schon Ihr Nebenaccount" in send(front, START, customer_number=account.customer_number).text


def test_an_outsider_learns_nothing(front: Front, back: Back) -> None:
    account, owner = owned(front)
    _, its_owner = owned(front)
    sign_in(front, front.manager.email)

    def tries(number: str) -> tuple[object, ...]:
        said = []
        ways = front.client.get(f"{START}/{number}").text
        for way, typed in (
            ("zugangsdaten", {"email": its_owner.email, "password": PASSWORD}),
            ("zugangsdaten", {"email": owner.email, "password": "wrong"}),
            ("verknuepfungscode", {"code": "AAAAA AAAAA"}),
            ("zustimmung", {}),
        ):
            with statements() as run:
                answer = add(front, number, way, **typed)
            page = page_of(answer)
            before = front.client.get(page).text
            back.advance()
            after = front.client.get(page).text
            both = re.sub(r'(value|data-[a-z-]+|href|action)="[^"]*"', "", before + after)
            said.append((answer.status_code, run, re.sub(r"<time.*?</time>", "", both).replace(number, "NUMBER")))
        return (re.sub(r'value="[^"]*"', "", ways).replace(number, "NUMBER"), *said)

    assert tries(account.customer_number) == tries(NOBODYS)


def test_wrong_tries_are_throttled(front: Front, back: Back) -> None:
    account, owner = owned(front)
    sign_in(front, front.manager.email)
    number = account.customer_number
    for turn in range(10):
        page_of(add(front, number, "zugangsdaten", email=owner.email, password=f"wrong {turn}"))
        back.advance()
    assert add(front, number, "zugangsdaten", email=owner.email, password=PASSWORD).status_code == 429
    assert page_of(add(front, number, "zustimmung"))


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("sub", "ist ein Nebenaccount"),
        ("staff", "als Kundenservice angemeldet"),
        ("nobody", "Ihr Zugang umfasst das Hinzufügen von Accounts nicht"),
    ],
)
def test_who_may_not_link_is_told_why(front: Front, back: Back, who: str, said: str) -> None:
    with front.database.transaction() as session:
        person = make_staff(session) if who == "staff" else make_user(session)
        account = make_account(session, administrator=person if who == "sub" else None)
    if who == "sub":
        a_link(front, account.customer_number, "credentials", email=person.email, password=PASSWORD)
        back.advance()
    sign_in(front, person.email)
    for path in (START, f"{START}/{NOBODYS}", f"{START}/{NOBODYS}/zustimmung"):
        page = front.client.get(path)
        assert page.status_code == 403 and said in page.text
    form = csrf(page.text)
    sent = front.client.post(f"{START}/{NOBODYS}/zustimmung", data={"csrf_token": form, "key": "0" * 32})
    assert sent.status_code == 403
    assert [request.customer_number for request in requests(front)] in ([], [account.customer_number])


def test_the_fragment_tells_what_is_new_and_304_otherwise(front: Front, back: Back) -> None:
    id, _, owner = asked(front, back)
    sign_in(front, front.manager.email)
    page = front.client.get(f"/anfragen/{id}").text
    version = re.search(r'data-live="[^"]+" data-version="(\w+)"', page)
    assert version is not None
    path = f"/anfragen/{id}/stand"
    same = front.client.get(path, headers={"If-None-Match": f'"{version[1]}"'})
    assert (same.status_code, same.data) == (304, b"")
    front.post(f"/requests/{id}/proofs", {"kind": "credentials", "email": owner.email, "password": PASSWORD})
    back.advance()
    news = front.client.get(path, headers={"If-None-Match": f'"{version[1]}"'})
    assert news.status_code == 200 and "<html" not in news.text and "data-ended" in news.text
    assert "gehört jetzt als Nebenaccount" in news.text
    sign_out(front)
    sign_in(front, owner.email)
    assert front.client.get(path).status_code == 404


def sign_out(front: Front) -> None:
    """Sign the user of the client out in the portal."""
    send(front, "/abmelden", "/standortverwaltung")


def test_a_waiting_request_takes_the_other_login(front: Front, back: Back) -> None:
    id, _, owner = asked(front, back)
    sign_in(front, front.manager.email)
    page, path = f"/anfragen/{id}", f"/anfragen/{id}/zugangsdaten"
    wrong = send(front, path, page, email=owner.email, password="wrong-password")
    assert wrong.status_code == 422 and '<a href="#email">Dieser Zugang stimmt nicht' in wrong.text
    assert f'value="{owner.email}"' in wrong.text and "wrong-password" not in wrong.text
    empty = send(front, path, page, email="", password="")
    assert '<a href="#email">' in empty.text and '<a href="#password">' in empty.text
    right = send(front, path, page, email=owner.email, password=PASSWORD)
    assert page_of(right) == page
    back.advance()
    assert status(front, id) == "completed"
    assert title(front.client.get(page)).endswith(requests(front)[0].customer_number)


def test_progress_names_the_step_and_where_it_stopped(front: Front, back: Back) -> None:
    id, _, _ = asked(front, back)
    sign_in(front, front.manager.email)

    def steps() -> list[tuple[str, str]]:
        page = front.client.get(f"/anfragen/{id}").text
        return re.findall(r'<li class="is-(\w+)"[^>]*>.*?class="step-name">(\w+)<', page)

    assert steps() == [("current", "Prüfen"), ("ahead", "Zuordnen"), ("ahead", "Bestätigen")]
    front.post(f"/requests/{id}/cancel")
    assert steps()[0] == ("stopped", "Prüfen")


def test_an_administrator_finds_the_requests_that_wait_for_an_answer(front: Front, back: Back) -> None:
    id, account, owner = asked(front, back)
    sign_in(front, front.manager.email)
    assert "/zustimmungen" not in front.client.get("/standortverwaltung").text
    assert account.customer_number not in front.client.get("/zustimmungen").text
    sign_out(front)
    sign_in(front, owner.email)
    overview = front.client.get("/standortverwaltung").text
    # Not only in the menu, which is closed: the page itself says so.
    content = overview[overview.index("<main") :]
    assert 'href="/zustimmungen">Eine Anfrage wartet auf Ihre Zustimmung' in content
    assert_valid(overview)
    assert "Eine Anfrage wartet auf Ihre Zustimmung" in front.client.get("/verknuepfungscode").text
    listed = front.client.get("/zustimmungen").text
    assert f'href="/zustimmung/{id}"' in listed and front.main.customer_number in listed
    send(front, f"/zustimmung/{id}", decision="declined")
    assert f"/zustimmung/{id}" not in front.client.get("/zustimmungen").text
    assert 'href="/zustimmungen"' not in front.client.get("/standortverwaltung").text


def test_two_requests_for_one_account_at_the_same_instant_are_one(front: Front) -> None:
    account, _ = owned(front)
    body = {"customer_number": account.customer_number, "proof": {"method": "consent"}}

    def ask(turn: int) -> int:
        client = front.client.application.test_client()
        head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": str(turn)}
        return client.post("/api/v1/link-requests", json=body, headers=head).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, range(6))) == [202] + [409] * 5
    assert len(requests(front)) == 1


def test_a_used_code_is_void(front: Front, back: Back) -> None:
    account, owner = owned(front)
    code = new_link_code(front, account, owner)
    sign_in(front, front.manager.email)
    page_of(add(front, account.customer_number, "verknuepfungscode", code=code))
    with front.database.transaction() as session:
        assert session.scalar(sa.select(LinkCode.ended_at)) == NOW
        [used] = session.scalars(sa.select(OwnershipProof.request_id))
    # Neither the one who used it nor anybody else proves anything by it again.
    front.post(f"/requests/{used}/cancel")
    for token in (front.token, token_of(front, *owned(front))):
        front.token = token
        assert a_link(front, account.customer_number, "link_code", code=code).status_code == 202
    with front.database.transaction() as session:
        assert list(session.scalars(sa.select(OwnershipProof.request_id))) == [used]
