"""Tests of the back office: the list of waiting requests, a request's page and actions, and the scheduled jobs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.db.work_queue import WorkKind
from models.errors import Forbidden, NotFound
from models.jobs.jobs import Job, claim_job
from models.links.links import submit_link
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Principal, Role
from models.people.users import User, principal_of
from models.proofs.document_review import upload_document
from models.proofs.documents import AddressDocument
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.staff.request_actions import cancel, decide_on_document, open_document, retry
from models.states import AccountState, Reason, Status
from models.telephony.trunks import SipTrunk, TrunkState
from models.vault import Vault
from models.views.back_office import Matter
from tasks.ports import GatewayRefused, Subscriber
from tasks.reconcile.job_run import LEASE, run_job
from tasks.reconcile.schedule import JOBS
from tests.factories import (
    NOW,
    PASSWORD,
    a_link,
    an_order,
    join,
    make_main,
    make_staff,
    make_user,
    prove_contact,
    submit_order,
)
from tests.fakes import FakeRegistrar, wait_until
from tests.second_factor import enter_code
from tests.web.api.calls import CONTACT, PDF, upload
from tests.web.api.calls import an_order as waiting_order
from tests.web.conftest import SECRET, Back, Front, FrontOf
from tests.web.html import assert_valid
from tests.web.portal.accounts.test_dashboard import Site, make_site
from tests.web.portal.page.test_portal import csrf
from web.portal.back_office import wording

OFFICE, JOBS_PAGE = "/backoffice", "/backoffice/abgleich"
REMOVALS = f"{JOBS_PAGE}/registrar/entfernen"
PLACES = f"{OFFICE}/vorwahlen"
HOUR = timedelta(hours=1)
NOBODYS = UUID("01890000-0000-7000-8000-000000000000")


class Desk:
    """A browser with cookies of its own, in which the user with the address `email` is signed in; None: nobody.

    `arrives_at` is the path of the page that follows the sign-in.
    """

    def __init__(self, client: FlaskClient, email: str | None = None) -> None:
        self.client = client
        if email is not None:
            form = {"csrf_token": self._token("/anmelden"), "email": email, "password": PASSWORD}
            answer = enter_code(self.client, self.client.post("/anmelden", data=form))
            self.arrives_at = self.client.get(answer.location, follow_redirects=True).request.path

    def page(self, path: str, status: int = 200) -> str:
        """Return the HTML of the page. Expect the status, and valid HTML if the status is 200."""
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code)
        if status == 200:
            assert_valid(answer.text)
        return answer.text

    def press(self, path: str, shown: str, **fields: str) -> TestResponse:
        """Submit `fields` to `path` from the page `shown` (HTML), and return the page that follows.

        The CSRF token and the version of the request that the page showed (`seen`) are sent as that page has them.
        """
        found = re.search(r'name="seen" value="(\d+)"', shown)
        seen = {"seen": found[1]} if found is not None else {}
        data = {"csrf_token": csrf(shown), **seen, **fields}
        return self.client.post(path, data=data, follow_redirects=True)

    def _token(self, path: str) -> str:
        return csrf(self.client.get(path).text)


@pytest.fixture
def sit_down(front: Front) -> Callable[[str | None], Desk]:
    """Return a function that opens a browser in which the user with this e-mail address is signed in; None: nobody."""
    return lambda email: Desk(front.client.application.test_client(), email)


SitDown = Callable[[str | None], Desk]


def staff(front: Front, name: str) -> User:
    """Create a member of the carrier's staff with this name, and return the user."""
    with front.database.transaction() as session:
        return make_staff(session, name=name)


@pytest.fixture
def bo(front: Front) -> User:
    return staff(front, "Bo Backoffice")


@pytest.fixture
def desk(bo: User, sit_down: SitDown) -> Desk:
    """Provide a browser in which a member of staff is signed in."""
    return sit_down(bo.email)


@pytest.fixture
def colleague(front: Front, sit_down: SitDown) -> Desk:
    """Provide a browser in which another member of staff is signed in."""
    return sit_down(staff(front, "Kay Kollegin").email)


def ordered(front: Front, change: Callable[[Request], None] | None = None) -> UUID:
    """Create an order, call `change` with its request (None: leave it as it is), and return the order's id."""
    with front.database.transaction() as session:
        order = submit_order(session, front.manager, session.get_one(Account, front.main.id), an_order(), NOW)
        session.flush()
        if change is not None:
            change(order)
        return order.id


def held(front: Front, reason: Reason = Reason.INTERNAL_ERROR, at: datetime = NOW) -> UUID:
    """Create an order that is held for this reason since `at`; return its id."""
    return ordered(front, lambda order: order.hold(reason, at))


def failed(front: Front, at: datetime = NOW) -> UUID:
    """Create an order that was refused by the telephone network; return its id."""

    def fail(order: Request) -> None:
        order.begin(at)
        order.fail(Reason.GATEWAY_REFUSED, at)

    return ordered(front, fail)


def with_document(front: Front, back: Back) -> str:
    """Create an order with a document that waits for review; return its id."""
    id = waiting_order(front, back)
    assert upload(front, id, PDF).status_code == 200
    back.advance()
    return id


def of(id: UUID | str, more: str = "") -> str:
    """Return the path of a request's page in the back office; `more` is added to it, such as the path of an action."""
    return f"{OFFICE}/anfragen/{id}{more}"


def request_of(front: Front, id: UUID | str) -> Request:
    with front.database.transaction() as session:
        return session.get_one(Request, UUID(str(id)), options=[sa.orm.joinedload(Request.account)])


def codes(front: Front, id: UUID | str) -> list[str]:
    """Return the codes of the request's timeline entries, the oldest first."""
    with front.database.transaction() as session:
        lines = sa.select(TimelineEntry.code).where(TimelineEntry.request_id == UUID(str(id)))
        return list(session.scalars(lines.order_by(TimelineEntry.id)))


def deeds(front: Front) -> list[tuple[AuditEvent, int | None, int | None, bool]]:
    """Return the audit log: deed, acting user's id, account's id, and whether the user acted as staff."""
    with front.database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        return [(entry.deed, entry.user_id, entry.account_id, entry.by_staff) for entry in entries]


def listed(page: str) -> list[str]:
    """Return the ids of the requests on a page of the back office, in their order."""
    return re.findall(rf'<a href="{OFFICE}/anfragen/([0-9a-f-]+)"', page)


@pytest.mark.parametrize("who", ["administrator", "customer", "member", "token", "stranger"])
def test_for_everybody_else_it_is_not_there(front: Front, back: Back, sit_down: SitDown, who: str) -> None:
    document, other = with_document(front, back), held(front)
    with front.database.transaction() as session:
        customer = make_main(session)[1].email
        member = make_user(session)
        join(session, member, session.get_one(Account, front.main.id), Role.LOCAL_MEMBER)
    known = {"administrator": front.manager.email, "customer": customer, "member": member.email}
    guest = sit_down(known.get(who))
    head = {"Authorization": f"Bearer {front.token}"} if who == "token" else {}
    asked = [OFFICE, JOBS_PAGE, of(document), of(other, "/stornieren")]
    asked += [of(document, "/dokument"), of(document, "/dokument/datei"), of(NOBODYS), PLACES, f"{PLACES}/{NOBODYS}"]
    for path in asked:
        assert guest.client.get(path, headers=head).status_code == 404, path
    token = csrf(guest.client.get("/anmeldung", follow_redirects=True).text)
    sent = [of(other, "/wiederholen"), of(other, "/stornieren"), of(document, "/dokument"), f"{JOBS_PAGE}/requests"]
    sent.append(f"{PLACES}/{NOBODYS}")
    for path in sent:
        data = {"csrf_token": token, "decision": "release", "seen": "1"}
        assert guest.client.post(path, data=data, headers=head).status_code == 404, path
    assert request_of(front, other).status is Status.HELD
    assert deeds(front) == []
    page = guest.client.get("/standortverwaltung", follow_redirects=True).text
    assert OFFICE not in page


def test_the_models_let_nobody_else_either(front: Front, back: Back) -> None:
    id = UUID(with_document(front, back))
    staff_too = Principal(front.manager.user_id, "bo@example.com", "Bo", "de", is_staff=True)
    with front.database.transaction() as session:
        for verb in (retry, cancel):
            with pytest.raises(Forbidden):
                verb(session, front.manager, id, 1, NOW)
            with pytest.raises(NotFound):
                verb(session, staff_too, NOBODYS, 1, NOW)
        with pytest.raises(Forbidden):
            decide_on_document(session, front.manager, id, None, NOW, refusal=None)
        with pytest.raises(Forbidden):
            open_document(session, front.manager, id, NOW)


def test_staff_arrive_where_their_work_is(front: Front, desk: Desk, bo: User, sit_down: SitDown) -> None:
    assert desk.arrives_at == OFFICE
    page = desk.page(OFFICE)
    assert "Nichts zu erledigen" in page and "0 Anfragen warten auf uns" in page
    assert ">Zu erledigen</a>" in page and ">Abgleich</a>" in page and "Mein Produkt" not in page
    with front.database.transaction() as session:
        join(session, session.get_one(User, bo.id), session.get_one(Account, front.main.id))
    both = sit_down(bo.email)
    assert both.arrives_at == "/standortverwaltung"
    page = both.page("/standortverwaltung")
    assert "Mein Produkt" in page and f'href="{OFFICE}"' in page


def test_what_waits_for_us_the_longest_first_with_what_to_do(front: Front, back: Back, desk: Desk) -> None:
    ordered(front)
    newest = failed(front, NOW + 2 * HOUR)
    oldest = held(front, Reason.NO_NUMBERS_AVAILABLE, NOW - HOUR)
    document = with_document(front, back)
    ended = waiting_order(front, back)
    upload(front, ended, PDF, key="ended")
    front.post(f"/requests/{ended}/cancel")
    page = desk.page(OFFICE)
    assert listed(page) == [str(oldest), document, str(newest)]
    assert "3 Anfragen warten auf uns" in page and "Bestellung: 3" in page
    for said in (
        f"Hauptaccount: {front.main.customer_number}, {front.main.name}",
        "Keine Rufnummern mehr im Vorrat <code>no_numbers_available</code>",
        "Vorrat auffüllen: Vorwahl 030, Blöcke zu 10.",
        "Dokument ansehen, dann freigeben oder ablehnen.",
        "Vom Telefonnetz abgelehnt",
        "Seit <time",
        "2. März 2026, 08:00 Uhr",
    ):
        assert said in page
    for query, found in (
        ("status=held", [str(oldest)]),
        ("status=failed", [str(newest)]),
        ("status=document", [document]),
        ("art=link", []),
        ("grund=gateway_refused&art=order", [str(newest)]),
        ("status=nonsense", [str(oldest), document, str(newest)]),
    ):
        assert listed(desk.page(f"{OFFICE}?{query}")) == found
    assert "Keine Anfrage passt zu Suche und Filtern." in desk.page(f"{OFFICE}?art=link")


def test_a_held_request_that_is_tried_again_by_itself_says_when(front: Front, desk: Desk) -> None:
    ordered(front, lambda order: order.hold(Reason.GATEWAY_UNAVAILABLE, NOW, NOW + HOUR))
    assert "Nächster Versuch von selbst: 2. März 2026, 10:00 Uhr." in desk.page(OFFICE)


def test_the_search_finds_every_request_by_number_and_id(front: Front, desk: Desk) -> None:
    first, second = held(front), ordered(front)
    front.post(f"/requests/{second}/cancel")
    with front.database.transaction() as session:
        other, manager = make_main(session)
        link = submit_link(session, Vault(SECRET), manager, other, a_link("7654321"), NOW).id
    number = request_of(front, second).customer_number
    assert listed(desk.page(f"{OFFICE}?suche={number}")) == [str(second)]
    assert listed(desk.page(f"{OFFICE}?suche={second}")) == [str(second)]
    assert set(listed(desk.page(f"{OFFICE}?suche={front.main.customer_number}"))) == {str(first), str(second)}
    assert listed(desk.page(f"{OFFICE}?suche={front.main.customer_number}&status=held")) == [str(first)]
    assert listed(desk.page(f"{OFFICE}?suche=765-4321")) == [str(link)]
    for nothing in ("1000000", "palmer", str(NOBODYS), "%25"):
        assert "Nichts gefunden" in desk.page(f"{OFFICE}?suche={nothing}")


@pytest.mark.parametrize("search", [False, True])
def test_the_list_goes_on_page_by_page(front: Front, desk: Desk, monkeypatch: pytest.MonkeyPatch, search: bool) -> None:
    monkeypatch.setattr("web.portal.back_office.requests_and_jobs.PAGE", 2)
    ids = [str(held(front, at=NOW + turn * HOUR)) for turn in (0, 1, 1, 2, 3)]
    path, found = OFFICE + (f"?suche={front.main.customer_number}" if search else ""), []
    while path:
        page = desk.page(path)
        found += listed(page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert found == (ids[::-1] if search else ids)
    assert 'rel="start"' in page
    for place in ("x", "2026-03-02T08:00:00_x", f"2026-03-02T08:00:00_{NOBODYS}", "_", "2026-03-02T08:00:00+00:00"):
        assert desk.client.get(OFFICE, query_string={"nach": place}).status_code == 404


def test_one_request_with_everything_that_there_is_to_know(front: Front, back: Back, desk: Desk) -> None:
    id = with_document(front, back)
    page = desk.page(of(id))
    found = request_of(front, id)
    for said in (
        f"<code>{id}</code>",
        "Wartet auf Antwort <code>pending</code>",
        "Prüfen <code>verify</code>",
        "Die E-Mail-Adresse der Ansprechperson ist noch nicht bestätigt <code>email_not_confirmed</code>",
        f'<a href="/backoffice/kunden/{found.customer_number}">{found.customer_number}</a>, Filiale Berlin',
        f"{front.manager.name}, {front.manager.email}",
        f"<code>email_code</code> · {CONTACT}: verschickt",
        "Dokument „Auszug.pdf“, eingereicht am 2. März 2026, 09:00 Uhr: offen.",
        "<code>order_received</code>",
        "<code>document_received</code>",
        "Anfrage ansehen wie der Kunde",
        "Anfrage stornieren",
    ):
        assert said in page
    assert "Erneut versuchen" not in page
    desk.page(of(NOBODYS), 404)


def test_a_failed_request_is_tried_again_in_somebodys_name(front: Front, desk: Desk, bo: User) -> None:
    id = failed(front)
    page = desk.page(of(id))
    assert "Ein neuer Versuch wiederholt sofort den Schritt „Prüfen“." in page
    shown = desk.press(of(id, "/wiederholen"), page)
    assert "Die Anfrage wird jetzt erneut versucht." in shown.text
    found = request_of(front, id)
    assert (found.status, found.due_at) == (Status.IN_PROGRESS, NOW)
    assert deeds(front) == [(AuditEvent.REQUEST_RETRIED, bo.id, front.main.id, True)]
    assert "Bo Backoffice, <time" in shown.text and "erneut gestartet." in shown.text
    again = desk.press(of(id, "/wiederholen"), page)
    assert "Jetzt ist nichts geschehen, denn es ist schon erledigt. Bo Backoffice, 2. März 2026" in again.text
    assert codes(front, id).count("retried") == 1 and len(deeds(front)) == 1


def test_an_order_is_cancelled_after_a_question_and_once(front: Front, desk: Desk, bo: User) -> None:
    id = held(front)
    asks = desk.page(of(id, "/stornieren"))
    assert "Das lässt sich nicht rückgängig machen." in asks and front.main.customer_number in asks
    assert request_of(front, id).status is Status.HELD
    assert "Die Anfrage ist storniert." in desk.press(of(id, "/stornieren"), asks).text
    found = request_of(front, id)
    assert (found.status, found.reason) == (Status.CANCELLED, Reason.CANCELLED_BY_BACK_OFFICE)
    assert found.account is not None and found.account.state is AccountState.CLOSED
    assert "es ist schon erledigt" in desk.press(of(id, "/stornieren"), asks).text
    assert deeds(front) == [(AuditEvent.REQUEST_CANCELLED, bo.id, front.main.id, True)]
    assert desk.client.get(of(id, "/stornieren")).headers["Location"] == of(id)


def test_an_order_that_the_network_refused_is_cancelled_with_its_trunk(front: Front, back: Back, desk: Desk) -> None:
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    id = ordered(front)
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    registrar.failures = [GatewayRefused("no")]
    back.advance()
    assert request_of(front, id).status is Status.FAILED
    path = of(id, "/stornieren")
    assert "Die Anfrage ist storniert." in desk.press(path, desk.page(path)).text
    with front.database.transaction() as session:
        assert [trunk.state for trunk in session.scalars(sa.select(SipTrunk))] == [TrunkState.CLOSED]
        assert None not in session.scalars(sa.select(Contract.ended_at)).all()


def test_a_faster_colleague_is_named_and_nothing_is_done(front: Front, desk: Desk, colleague: Desk) -> None:
    id = held(front)
    page, asks = desk.page(of(id)), colleague.page(of(id, "/stornieren"))
    colleague.press(of(id, "/stornieren"), asks)
    late = desk.press(of(id, "/wiederholen"), page).text
    assert "es ist schon erledigt. Kay Kollegin" in late and "storniert." in late
    assert request_of(front, id).status is Status.CANCELLED
    assert [deed for deed, *_ in deeds(front)] == [AuditEvent.REQUEST_CANCELLED]


def test_what_the_customer_has_changed_meanwhile_is_said(front: Front, desk: Desk) -> None:
    id = held(front)
    page = desk.page(of(id))
    front.post(f"/requests/{id}/cancel")
    late = desk.press(of(id, "/wiederholen"), page).text
    assert "die Anfrage hat sich inzwischen geändert. Sie steht auf: Storniert." in late
    assert deeds(front) == []
    # A form without the version that was shown is refused.
    unseen = desk.client.post(of(id, "/wiederholen"), data={"csrf_token": csrf(page)}, follow_redirects=True)
    assert "inzwischen geändert" in unseen.text


def test_what_a_worker_has_in_hand_is_not_cancelled(front: Front, desk: Desk) -> None:
    id = ordered(front)
    asks = desk.page(of(id, "/stornieren"))
    with front.database.transaction() as session:
        session.get_one(Request, id).lease = uuid.uuid4()
    assert "wird gerade bearbeitet" in desk.press(of(id, "/stornieren"), asks).text
    assert request_of(front, id).status is Status.ACKNOWLEDGED
    assert deeds(front) == []


def confirm_contact(front: Front, back: Back, id: str) -> None:
    """Confirm the contact's e-mail address of an order with the code of the mail, and run the workers."""
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
        assert session.scalars(sa.select(AddressDocument.released)).one() is False
        assert session.scalars(sa.select(AddressProof.proved_at)).one() is None


def test_another_document_than_that_which_was_seen_is_not_released(front: Front, back: Back, desk: Desk) -> None:
    id = with_document(front, back)
    page = desk.page(of(id, "/dokument"))
    upload(front, id, PDF + b" of somebody else", key="another")
    late = desk.press(of(id, "/dokument"), page, decision="release").text
    assert "inzwischen geändert" in late and "Wir haben das Dokument „Auszug.pdf“" in late
    with front.database.transaction() as session:
        assert session.scalars(sa.select(AddressDocument.released)).one() is None
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
        assert session.scalars(sa.select(AddressDocument.released)).one() is True


def test_the_customer_reads_what_we_did_without_our_names(
    front: Front, back: Back, desk: Desk, bo: User, sit_down: SitDown
) -> None:
    id = with_document(front, back)
    desk.client.get(of(id, "/dokument/datei"))
    desk.press(of(id, "/dokument"), desk.page(of(id, "/dokument")), decision="refuse", reason="too_old")
    log = sit_down(front.manager.email).page(f"/standortverwaltung/{front.main.customer_number}/protokoll")
    number = request_of(front, id).customer_number
    assert f"Hat den Adressnachweis zur Kundennummer {number} geöffnet." in log
    assert f"Hat den Adressnachweis zur Kundennummer {number} abgelehnt." in log
    assert log.count("Unser Kundenservice</p>") == 2 and bo.name not in log


def test_a_look_of_ours_is_in_the_local_log_once_an_hour(front: Front, desk: Desk, bo: User, sit_down: SitDown) -> None:
    with front.database.transaction() as session:
        site: Site = make_site(session, session.get_one(Account, front.main.id))
    for _ in range(2):
        desk.page(site.path)
    assert deeds(front) == [(AuditEvent.LOOKED_IN, bo.id, site.account.id, True)]
    page = sit_down(site.administrator.email).page(site.path)
    assert "Unser Kundenservice" in page and "Hat das Dashboard angesehen." in page and bo.name not in page


def test_staff_whose_login_has_ended_sign_in_again(back: Back, desk: Desk) -> None:
    back.clock.advance(timedelta(days=1))
    answer = desk.client.get(JOBS_PAGE)
    assert answer.status_code == 302 and answer.headers["Location"].startswith("/anmelden?next=")


def test_the_jobs_and_what_they_could_not_repair(
    front: Front, back: Back, desk: Desk, bo: User, sit_down: SitDown
) -> None:
    before = desk.page(JOBS_PAGE)
    assert before.count(">nie<") == len(JOBS)
    assert "Die letzten Läufe haben alles repariert" in before and "5 Minuten" in before
    id = held(front)
    stuck = ordered(front)
    back.clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    page = sit_down(bo.email).page(JOBS_PAGE)
    open_ones = page.split("Nicht repariert</h2>")[1].split("Aufgaben</h2>")[0]
    assert "hängt seit 2. März 2026, 09:00 Uhr bei uns." in open_ones and f'href="{of(id)}"' in open_ones
    assert str(stuck) not in open_ones and f'href="{of(stuck)}"' in page
    assert "1 repariert, 1 nicht" in page and "3. März 2026, 09:01 Uhr" in page and "3. März 2026, 09:06 Uhr" in page


def test_more_findings_than_are_shown_are_counted(
    front: Front, back: Back, bo: User, sit_down: SitDown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.portal.back_office.requests_and_jobs.FINDINGS", 2)
    for _ in range(5):
        held(front)
    back.clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    page = sit_down(bo.email).page(JOBS_PAGE)
    assert page.count("hängt seit") == 2 and "… und 3 weitere" in page


def due_at(front: Front, name: str) -> datetime | None:
    with front.database.transaction() as session:
        return session.get_one(Job, name).due_at


def test_a_job_is_made_due_by_a_press_and_taken_by_a_worker(front: Front, back: Back, desk: Desk) -> None:
    run_job(back.runtime, JOBS["mails"])
    assert run_job(back.runtime, JOBS["mails"]) is None
    page = desk.page(JOBS_PAGE)
    for _ in range(2):
        # The tests have no broker.
        assert "Die Worker sind gerade nicht erreichbar" in desk.press(f"{JOBS_PAGE}/mails", page).text
        assert due_at(front, "mails") == NOW
    assert "sobald ein Worker dazu kommt" in desk.page(JOBS_PAGE)
    assert run_job(back.runtime, JOBS["mails"]) is not None
    assert desk.press(f"{JOBS_PAGE}/nonsense", page).status_code == 404


def test_a_run_that_is_under_way_is_not_doubled(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        claim_job(session, "mails", now=NOW, lease=uuid.uuid4(), until=NOW + LEASE, by_hand=False)
    page = desk.page(JOBS_PAGE)
    assert "unterwegs, längstens bis 2. März 2026, 09:05 Uhr" in page
    pressed = desk.press(f"{JOBS_PAGE}/mails", page).text
    assert "Ein Lauf ist schon unterwegs, längstens bis 2. März 2026, 09:05 Uhr." in pressed
    assert due_at(front, "mails") == NOW + LEASE


def test_removing_what_looks_like_our_mistake_is_decided_after_a_look_and_for_one_run(back: Back, desk: Desk) -> None:
    registrar = back.runtime.ports.subscribers
    assert isinstance(registrar, FakeRegistrar)

    def appear(user: str) -> None:
        # As we write a trunk; our database has forgotten it.
        ours = Subscriber(user, "sip.example", ("a", "b", ""), (), (("provision_key", user),), frozenset({user}))
        registrar.strangers[user, "sip.example"] = ours

    appear("newer")
    assert REMOVALS not in desk.page(JOBS_PAGE)
    nothing = desk.client.get(REMOVALS, follow_redirects=True).text
    assert "wartet nichts mehr auf eine Entscheidung" in nothing
    run_job(back.runtime, JOBS["registrar"], by_hand=True)
    assert REMOVALS in desk.page(JOBS_PAGE)
    asked = desk.page(REMOVALS)
    assert "newer@sip.example" in asked and "nicht rückgängig" in asked
    assert len(registrar.strangers) == 1
    desk.press(REMOVALS, asked)
    run_job(back.runtime, JOBS["registrar"])
    assert registrar.strangers == {}
    # It was allowed once.
    appear("newest")
    run_job(back.runtime, JOBS["registrar"], by_hand=True)
    assert len(registrar.strangers) == 1


def test_a_worker_is_told_of_the_job(front_of: FrontOf, front: Front, bo: User, redis_url: str) -> None:
    desk = Desk(front_of(redis_url=redis_url), bo.email)
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(WorkKind.JOBS)
        page = desk.page(JOBS_PAGE)
        assert "Ein Worker beginnt jetzt damit." in desk.press(f"{JOBS_PAGE}/invoices", page).text
        [message] = broker.lrange(WorkKind.JOBS, 0, -1)
        broker.delete(WorkKind.JOBS)
    assert b"jobs.run" in message


def test_there_are_words_for_every_job_and_matter() -> None:
    assert set(wording.JOB_WORDS) == set(JOBS)
    assert set(wording.MATTERS) == set(Matter)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (OFFICE, ["To do", "request waits for us", "Look at the document, then release or refuse it."]),
        ("", ["What is to do", "Asked for by", "Document “Auszug.pdf”, handed in"]),
        ("/dokument", ["Does the document prove this address?", "This cannot be undone."]),
        ("/stornieren", ["No mail is sent."]),
        (JOBS_PAGE, ["Reconciliation", "Reconcile now", "5 minutes", "Nothing: the last runs"]),
    ],
)
def test_it_speaks_english_too(front: Front, back: Back, sit_down: SitDown, path: str, said: list[str]) -> None:
    id = with_document(front, back)
    with front.database.transaction() as session:
        english = make_staff(session, locale="en").email
    page = sit_down(english).page(path if path.startswith(OFFICE) else of(id, path))
    facts: dict[str, Any] = {words: words in page for words in said}
    assert all(facts.values()), facts
