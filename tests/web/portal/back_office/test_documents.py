"""Tests of the pages on which staff open, accept and refuse a document that proves a connection address.

After an acceptance the order continues; after a refusal it waits, and the customer reads the reason. Of two decisions
the first counts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.changes.moves import MoveDraft, submit_move
from models.people.audit_log import AuditEvent
from models.people.users import User, principal_of
from models.proofs.document_review import upload_document
from models.proofs.documents import ProofDocument
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.same_address import Place
from models.staff.request_actions import decide_on_document
from models.states import Status
from tests.factories import NOW
from tests.fakes import wait_until
from tests.web.api.calls import CONTACT, PDF, upload
from tests.web.api.calls import an_order as waiting_order
from tests.web.conftest import Back, Front
from tests.web.portal.back_office.desk import OFFICE, Desk, SitDown, codes, deeds, listed, of, request_of, with_document
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.changes.test_more_numbers import make_koeln


def confirm_contact(front: Front, back: Back, id: str) -> None:
    """Confirm the e-mail address of the contact of the order `id` with the code from the mail, and run the workers."""
    code = back.mail_to(CONTACT)[1]
    assert front.post(f"/requests/{id}/proofs", {"kind": "email_code", "code": code}).status_code == 200
    back.advance()


def test_a_document_is_opened_as_a_file_and_by_whom_is_written_down(
    front: Front, back: Back, desk: Desk, bo: User
) -> None:
    id = waiting_order(front, back)
    desk.page(of(id, "/dokument/datei"), 404)
    assert desk.client.get(of(id, "/dokument")).headers["Location"] == of(id)
    upload(front, id, PDF + b"<script>alert(1)</script>", "Auszug.html")
    answer = desk.client.get(of(id, "/dokument/datei"))
    assert answer.data == PDF + b"<script>alert(1)</script>"
    number = request_of(front, id).customer_number
    assert answer.headers["Content-Disposition"] == f'attachment; filename="adressnachweis-{number}.pdf"'
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert deeds(front) == [(AuditEvent.DOCUMENT_OPENED, bo.id, front.main.id, True)]


def test_a_released_document_proves_the_address_and_the_order_goes_on(
    front: Front, back: Back, desk: Desk, bo: User
) -> None:
    id = with_document(front, back)
    confirm_contact(front, back, id)
    page = desk.page(of(id, "/dokument"))
    assert "Brückenstr. 5" in page and "Die Adresse gilt dauerhaft als nachgewiesen" in page
    unchosen = desk.press(of(id, "/dokument"), page)
    assert unchosen.status_code == 422
    assert '<a href="#decision-0">Wählen Sie, ob Sie das Dokument freigeben oder ablehnen.</a>' in unchosen.text
    shown = desk.press(of(id, "/dokument"), unchosen.text, decision="release").text
    assert "Das Dokument ist freigegeben, die Adresse ist nachgewiesen." in shown
    assert deeds(front) == [(AuditEvent.DOCUMENT_RELEASED, bo.id, front.main.id, True)]
    back.advance()
    assert request_of(front, id).status is Status.COMPLETED
    with front.database.transaction() as session:
        assert session.scalars(sa.select(AddressProof.proved_by)).one() == bo.id


def test_a_refused_document_leaves_the_order_waiting_and_says_why(
    front: Front, back: Back, desk: Desk, sit_down: SitDown
) -> None:
    id = with_document(front, back)
    page = desk.page(of(id, "/dokument"))
    unsaid = desk.press(of(id, "/dokument"), page, decision="refuse")
    assert unsaid.status_code == 422 and "Wählen Sie, warum das Dokument abgelehnt wird." in unsaid.text
    unsaid = desk.press(of(id, "/dokument"), page, decision="refuse", reason="other", note=" ")
    assert unsaid.status_code == 422 and "Schreiben Sie, warum das Dokument abgelehnt wird." in unsaid.text
    said = {"reason": "other_address", "note": "Bitte mit <Hausnummer>."}
    shown = desk.press(of(id, "/dokument"), unsaid.text, decision="refuse", **said).text
    assert "Das Dokument ist abgelehnt." in shown
    back.advance()
    assert codes(front, id)[-1] == "document_refused"
    why = "Das Dokument zeigt eine andere Adresse. Unser Hinweis: „Bitte mit <Hausnummer>“."
    [mail] = [mail for mail in back.mailer.sent if "Das Dokument reicht nicht aus" in mail.subject]
    assert mail.recipient_address == front.manager.email and why in " ".join(mail.text.split())
    customer = sit_down(front.manager.email).page(f"/anfragen/{id}")
    assert customer.count(why.replace("<", "&lt;").replace(">", "&gt;")) == 2
    assert request_of(front, id).status is Status.PENDING
    assert listed(desk.page(OFFICE)) == []
    with front.database.transaction() as session:
        assert session.scalars(sa.select(AddressProof.proved_at)).one() is None


def test_of_two_who_decide_the_first_counts(front: Front, back: Back, desk: Desk, colleague: Desk) -> None:
    id = with_document(front, back)
    pages = [each.page(of(id, "/dokument")) for each in (desk, colleague)]
    colleague.press(of(id, "/dokument"), pages[1], decision="refuse", reason="too_old")
    late = desk.press(of(id, "/dokument"), pages[0], decision="release").text
    assert "es ist schon erledigt. Kay Kollegin" in late and "abgelehnt." in late
    with front.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.released)).one() is False
        assert session.scalars(sa.select(AddressProof.proved_at)).one() is None


def test_another_document_than_that_which_was_seen_is_not_released(front: Front, back: Back, desk: Desk) -> None:
    id = with_document(front, back)
    page = desk.page(of(id, "/dokument"))
    upload(front, id, PDF + b" of somebody else", key="another")
    late = desk.press(of(id, "/dokument"), page, decision="release").text
    assert "inzwischen geändert" in late and "Wir haben das Dokument „Auszug.pdf“" in late
    with front.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.released)).one() is None
    assert deeds(front) == []


def test_a_document_of_an_order_that_has_ended_is_not_decided_on(front: Front, back: Back, desk: Desk) -> None:
    id = with_document(front, back)
    page = desk.page(of(id, "/dokument"))
    front.post(f"/requests/{id}/cancel")
    assert "Sie steht auf: Storniert." in desk.press(of(id, "/dokument"), page, decision="release").text
    assert codes(front, id)[-1] == "cancelled"


def test_who_decides_waits_for_a_worker_before_they_lock_anything(front: Front, back: Back, bo: User) -> None:
    first, second = waiting_order(front, back), waiting_order(front, back)
    with front.database.transaction() as session:
        person = principal_of(session, session.get_one(User, bo.id))
        request = session.get_one(Request, UUID(second))
        upload_document(session, front.manager, request, "Auszug.pdf", "application/pdf", PDF, NOW)

    def decide() -> None:
        with front.database.transaction() as session:
            decide_on_document(session, person, UUID(second), None, NOW, refusal=None)

    def waits() -> bool:
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with front.database.transaction() as session:
            return bool(session.scalar(sa.text(blocked)))

    with ThreadPoolExecutor(1) as other:
        with front.database.transaction() as worker:
            worker.get_one(Request, UUID(first), with_for_update=True)
            deciding = other.submit(decide)
            wait_until(waits, what="the decision to wait")
            # If the decision held this lock, the two transactions would deadlock.
            worker.get_one(Request, UUID(second), with_for_update={"nowait": True})
        deciding.result(20)
    with front.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.released)).one() is True


def test_staff_see_the_new_address_of_a_move(front: Front, back: Back, desk: Desk) -> None:
    site = make_koeln(front, stocked="089")
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        draft = MoveDraft(Place("Marienplatz 8", "80331", "München"), None, None, "de")
        id = str(submit_move(session, front.manager, account, draft, NOW).id)
    back.advance()
    assert upload(front, id, PDF).status_code == 200
    back.advance()
    assert "Marienplatz 8, 80331 München" in plain(desk.page(of(id)))
    page = desk.page(of(id, "/dokument"))
    assert "Marienplatz 8 80331 München" in plain(page) and "50667" not in page
    desk.press(of(id, "/dokument"), page, decision="release")
    back.advance_to_the_network()
    assert request_of(front, id).status is Status.COMPLETED
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).city == "München"
