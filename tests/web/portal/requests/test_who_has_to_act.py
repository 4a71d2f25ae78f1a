"""Tests that a request's page and the overview both name every person from whom the request waits for a proof."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

from models.proofs.document_review import upload_document
from models.requests.requests import Request
from tests.factories import prove_contact
from tests.web.api.calls import CONTACT, an_order
from tests.web.conftest import ORDER, Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.proofs.answering import asked, send

TURN = "Jetzt ist Hanna Palmer an der Reihe"
EMAIL = "Die Ansprechperson muss ihre E-Mail-Adresse bestätigen"
LETTER = "Die Anschlussadresse muss nachgewiesen werden"
LOOKED_AT = "Wir prüfen, was eingegangen ist."


def test_every_open_proof_is_named_with_who_has_to_act(front: Front, back: Back) -> None:
    id = an_order(front, back)
    sign_in(front, front.manager.email)
    page = front.client.get(f"/anfragen/{id}").text
    assert_valid(page)
    state = page.split('data-region="state"')[1].split("</section>")[0]
    # The address may be proved by anybody who may act on the order.
    assert state.count(TURN) == 1 and state.count("Jetzt sind Sie oder jemand am Standort an der Reihe") == 1
    assert EMAIL in state and LETTER in state
    assert "Die E-Mail ist meist" in state and "Ein Brief" in state
    for path in ("/standortverwaltung", f"/standortverwaltung/stand?id={id}"):
        overview = front.client.get(path).text
        assert EMAIL in overview and LETTER in overview, path
        assert "Die Ansprechperson des Standorts, Sie oder jemand am Standort" in overview


def test_a_document_in_review_has_no_other_proofs_deadline(front: Front, back: Back) -> None:
    id = an_order(front, back)
    sign_in(front, front.manager.email)
    back.clock.advance(timedelta(days=2))
    with front.database.transaction() as session:
        request, now = session.get_one(Request, UUID(id)), back.clock()
        upload_document(session, front.manager, request, "a.pdf", "application/pdf", b"%PDF-1.7", now)
    back.advance()

    def proofs() -> list[str]:
        page = front.client.get(f"/anfragen/{id}").text
        cards = re.findall(r'<li class="card">(.*?)</p>\s*(?:<form|<p class="quiet|</li>)', page, re.DOTALL)
        return [" ".join(re.sub(r"<[^>]+>", " ", card).split()) for card in cards]

    [document] = [card for card in proofs() if "Dokument" in card]
    assert document.endswith("Wir prüfen es.")
    link, code = back.mail_to(CONTACT)
    send(front, link, code=code)
    back.advance()
    [document] = [card for card in proofs() if "Dokument" in card]
    assert "Wir prüfen es. Bis " in document


def test_after_a_code_the_page_does_not_wait_until_it_was_looked_at(front: Front, back: Back) -> None:
    id = an_order(front, back)
    sign_in(front, front.manager.email)
    path = f"/anfragen/{id}"
    given = send(front, f"{path}/brief", path, code=back.letter_code())
    assert given.status_code == 303
    page = front.client.get(path).text
    assert_valid(page)
    assert "Der Code ist angenommen." in page and LOOKED_AT in page and "In Arbeit" in page
    assert "an der Reihe" not in page.replace("Jetzt sind wir an der Reihe", "")
    assert "Wartet auf Antwort" not in page and "geht es von selbst weiter" not in page
    overview = front.client.get("/standortverwaltung").text
    assert LOOKED_AT in overview and EMAIL not in overview
    back.advance()
    after = front.client.get(path).text
    assert TURN in after and EMAIL in after and LETTER not in after and LOOKED_AT not in after
    link, code = back.mail_to(CONTACT)
    send(front, link, code=code)
    assert LOOKED_AT in front.client.get(path).text


def test_an_answered_consent_waits_for_nobody(front: Front, back: Back) -> None:
    id, account, owner = asked(front, back)
    link, code = back.mail_to(owner.email)
    sign_in(front, front.manager.email)
    assert "an der Reihe" in front.client.get(f"/anfragen/{id}").text
    send(front, link, code=code, decision="accepted")
    page = front.client.get(f"/anfragen/{id}").text
    assert LOOKED_AT in page and "Jetzt sind wir an der Reihe" in page and "Jetzt sind die Adm" not in page
    assert "Dashboard anzeigen" not in page
    back.advance()
    linked = front.client.get(f"/anfragen/{id}").text
    assert_valid(linked)
    assert f'href="/standortverwaltung/{account.customer_number}">Dashboard anzeigen' in linked


def test_of_an_order_that_waits_for_us_the_day_is_said(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    order = {**ORDER, "numbers": {"area_code": "030", "block_size": 100}}
    id = front.post("/orders", order).get_json()["id"]
    back.advance()
    body = front.get(f"/requests/{id}").get_json()
    assert (body["status"], body["next"]["actor"]) == ("held", "carrier")
    assert body["next"]["until"] == "2026-03-07T23:00:00+00:00"
    sign_in(front, front.manager.email)
    page = front.client.get(f"/anfragen/{id}").text
    assert_valid(page)
    assert "Jetzt sind wir an der Reihe" in page and "Bis 7. März 2026." in " ".join(page.split())
    assert "Sie müssen nichts tun. Wir schreiben Ihnen" in page
