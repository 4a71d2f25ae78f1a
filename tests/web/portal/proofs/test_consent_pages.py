"""Tests of the page on which an administrator answers a request to link the account, and of the pages of link codes.

Only an administrator can answer, once, by the code from the mail or signed in. A link code is shown once, and can be
replaced or voided.
"""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.errors import NotAwaited
from models.people.rights import Role
from models.people.users import User
from models.proofs.ownership import decide
from models.proofs.proofs import Decision, LinkCode
from models.requests.requests import Request
from models.vault import Vault
from tests.factories import join, make_main, make_user
from tests.web.api.calls import CONTACT, a_link, new_link_code, owned
from tests.web.conftest import BASE_URL, SECRET, Back, Front
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.proofs.answering import WRONG, asked, send, status, title


@pytest.mark.parametrize(("decision", "heading"), [("accepted", "erteilt"), ("declined", "abgelehnt")])
def test_an_owner_decides_once_with_the_code(front: Front, back: Back, decision: str, heading: str) -> None:
    id, account, owner = asked(front, back)
    path, code = back.mail_to(owner.email)
    page = front.client.get(path)
    for shown in (
        front.manager.name,
        front.main.customer_number,
        account.customer_number,
        "Notrufleitung",
        "Sammelrechnung",
    ):
        assert shown in page.text
    wrong = send(front, path, decision=decision, code=WRONG)
    assert wrong.status_code == 422
    assert re.search(rf'value="{decision}" checked', wrong.text) and '<a href="#code">' in wrong.text
    unchosen = send(front, path, code=code)
    assert '<a href="#decision-0">Wählen Sie, ob Sie zustimmen oder ablehnen.</a>' in unchosen.text
    assert send(front, path, decision=decision, code=code).status_code == 303
    told = front.client.get(path)
    assert heading in title(told) and owner.name in told.text and "2. März 2026, 09:00 Uhr" in told.text
    assert "<button" not in told.text.split("<main")[1]
    back.advance()
    assert status(front, id) == ("completed" if decision == "accepted" else "rejected")
    other = "declined" if decision == "accepted" else "accepted"
    token = csrf(told.text)
    assert front.client.post(path, data={"csrf_token": token, "decision": other, "code": code}).status_code == 200
    assert heading in title(front.client.get(path))


def test_an_owner_who_is_signed_in_needs_no_code(front: Front, back: Back) -> None:
    id, _, owner = asked(front, back)
    path = f"/zustimmung/{id}"
    assert front.client.get(path).headers["Location"].startswith("/anmelden")
    sign_in(front, owner.email)
    assert 'name="code"' not in front.client.get(path).text
    assert send(front, path).status_code == 422
    assert send(front, path, decision="accepted").status_code == 303
    assert title(front.client.get(path)) == "Die Zustimmung ist erteilt"
    back.advance()
    assert status(front, id) == "completed"


def test_nobody_else_decides(front: Front, back: Back) -> None:
    id, account, owner = asked(front, back)
    unknown = a_link(front, "9999999").get_json()["id"]
    back.advance()
    path, _ = back.mail_to(owner.email)
    with front.database.transaction() as session:
        member = make_user(session)
        join(session, member, session.get_one(Account, account.id), Role.LOCAL_MEMBER)
    sign_in(front, front.manager.email)
    pages = [front.client.get(f"/zustimmung/{request}") for request in (id, unknown)]
    assert [page.status_code for page in pages] == [404, 404]
    front.client = front.client.application.test_client()
    sign_in(front, member.email)
    assert front.client.get(f"/zustimmung/{id}").status_code == 404
    # A former administrator can no longer answer.
    with front.database.transaction() as session:
        session.execute(sa.text("DELETE FROM memberships WHERE user_id = :id"), {"id": owner.id})
    assert front.client.get(path).status_code == 404


def test_the_page_of_a_consent_says_what_happened(front: Front, back: Back) -> None:
    id, _, owner = asked(front, back)
    path, _ = back.mail_to(owner.email)
    back.clock.advance(timedelta(days=1))
    front.post(f"/requests/{id}/resend", {"what": "consent"})
    back.advance()
    assert title(front.client.get(path)) == "Es gibt eine neuere E-Mail"
    newest, _ = back.mail_to(owner.email)
    front.post(f"/requests/{id}/cancel")
    assert title(front.client.get(newest)) == "Die Anfrage wurde zurückgezogen"
    assert "<button" not in front.client.get(newest).text.split("<main")[1]


def test_a_consent_that_nobody_gave_expires_for_everybody(front: Front, back: Back) -> None:
    id, _, owner = asked(front, back)
    path, code = back.mail_to(owner.email)
    token = csrf(front.client.get(path).text)
    back.clock.advance(timedelta(days=15))
    late = front.client.post(path, data={"csrf_token": token, "decision": "accepted", "code": code})
    assert title(late) == "Die Frist für eine Antwort ist abgelaufen"
    sign_in(front, owner.email)
    assert title(front.client.get(f"/zustimmung/{id}")) == "Die Frist für eine Antwort ist abgelaufen"
    with front.database.transaction() as session:
        request, person = session.get_one(Request, UUID(id)), session.get_one(User, owner.id)
        with pytest.raises(NotAwaited):
            decide(session, Vault(SECRET), request, person, Decision.ACCEPTED, None, back.clock())
    back.advance()
    assert title(front.client.get(path)) == "Die Frist für eine Antwort ist abgelaufen"


def test_a_consent_that_is_not_needed_any_more_is_not_asked_for(front: Front, back: Back) -> None:
    id, account, owner = asked(front, back)
    path, _ = back.mail_to(owner.email)
    code = new_link_code(front, account, owner)
    sign_in(front, front.manager.email)
    page = f"/anfragen/{id}"
    assert send(front, f"{page}/verknuepfungscode", page, code=WRONG).status_code == 422
    assert send(front, f"{page}/verknuepfungscode", page, code=code).status_code == 303
    assert title(front.client.get(path)) == "Es ist keine Antwort mehr nötig"
    back.advance()
    assert status(front, id) == "completed"
    assert title(front.client.get(path)) == "Es ist keine Antwort mehr nötig"


def test_a_link_code_is_shown_once_replaced_on_purpose_and_made_void(front: Front) -> None:
    account, owner = owned(front)
    sign_in(front, owner.email)
    list_, path = "/verknuepfungscode", f"/verknuepfungscode/{account.customer_number}"
    assert ">Verknüpfungscode</a>" in front.client.get("/standortverwaltung").text
    made = send(front, path, list_)
    code = re.search(r'class="code">([A-Z0-9]{5} [A-Z0-9]{5})<', made.text)
    assert code is not None and "9. März 2026" in made.text
    listed = front.client.get(list_).text
    assert "Ein Code ist offen: erstellt am 2. März 2026, 09:00 Uhr" in listed and code[1] not in listed
    sure = send(front, path, list_)
    assert title(sure) == "Neuen Code erstellen?" and code[1] not in sure.text
    replace = re.search(r'name="replace" value="([^"]+)"', sure.text)
    assert replace is not None
    assert code[1] not in send(front, path, list_, replace=replace[1]).text
    # Reloading the answer submits the form again, which does not void the newer code.
    assert title(send(front, path, list_, replace=replace[1])) == "Neuen Code erstellen?"
    assert send(front, f"{path}/ungueltig", list_).status_code == 303
    listed = front.client.get(list_).text
    assert "Code ungültig machen" not in listed and "ist ungültig." in listed
    with front.database.transaction() as session:
        assert session.scalars(sa.select(LinkCode).where(LinkCode.ended_at.is_(None))).all() == []


def test_link_codes_are_offered_where_they_make_sense(front: Front) -> None:
    account, _ = owned(front)
    with front.database.transaction() as session:
        _, manager = make_main(session, subs=1)
    sign_in(front, manager.email)
    assert "Verknüpfungscode" not in front.client.get("/standortverwaltung").text
    page = front.client.get("/verknuepfungscode").text
    assert "Keiner Ihrer Accounts kann zugeordnet werden" in page
    assert send(front, f"/verknuepfungscode/{account.customer_number}", "/standortverwaltung").status_code == 404


def test_a_main_account_gets_no_link_code_and_is_told_why(front: Front) -> None:
    with front.database.transaction() as session:
        main, manager = make_main(session, subs=1)
    sign_in(front, manager.email)
    path = f"/verknuepfungscode/{main.customer_number}"
    assert send(front, path, "/standortverwaltung").headers["Location"] == "/verknuepfungscode"
    shown = front.client.get("/verknuepfungscode").text
    assert "Der Account ist selbst ein Hauptaccount und kann kein Nebenaccount werden." in shown


def test_who_joins_the_account_is_asked_too(front: Front, back: Back) -> None:
    _, account, owner = asked(front, back)
    sign_in(front, owner.email)
    form = f"/benutzer/{account.customer_number}/einladen"
    assert send(front, form, name="Hanna Palmer", email=CONTACT, role="administrator").status_code == 303
    back.advance()
    text = [mail.text for mail in back.mailer.sent if mail.recipient_address == CONTACT][-1]
    found = re.search(rf"{BASE_URL}(/\S+)", text)
    assert found is not None
    front.client = front.client.application.test_client()
    assert send(front, found[1], password="vier Wörter die bleiben").status_code == 303
    back.advance()
    assert back.mail_to(CONTACT)[0].startswith("/zustimmung/")
