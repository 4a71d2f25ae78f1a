"""Tests of the back office, which only the carrier's staff can open.

It lists the requests that wait for staff, with what to do. On a request's page staff retry or cancel it; nothing is
done if the request has changed since the page was shown.
"""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit
from models.bulk.bulk import Bulk
from models.contracts.contracts import Contract
from models.errors import Forbidden, NotFound
from models.links.links import submit_link
from models.people.audit_log import AuditEvent
from models.people.rights import Principal, Role
from models.people.users import User
from models.requests.requests import Request
from models.staff.request_actions import cancel, decide_on_document, open_document, retry
from models.states import AccountState, Reason, Status
from models.telephony.trunks import SipTrunk, TrunkState
from models.vault import Vault
from models.version import VERSION
from tasks.ports import GatewayRefused
from tests.factories import NOW, a_link, join, make_bulk, make_main, make_staff, make_user, prove_contact, sites
from tests.fakes import FakeRegistrar
from tests.web.api.calls import CONTACT, PDF, upload
from tests.web.api.calls import an_order as waiting_order
from tests.web.conftest import SECRET, Back, Front, form_token
from tests.web.portal.accounts.sites import Site, make_site
from tests.web.portal.back_office.desk import (
    HOUR,
    JOBS_PAGE,
    NOBODYS,
    OFFICE,
    PLACES,
    Desk,
    SitDown,
    codes,
    deeds,
    failed,
    held,
    listed,
    of,
    ordered,
    request_of,
    with_document,
)
from tests.web.portal.page.test_portal import csrf


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
    token = form_token(guest.client)
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
    # Staff read which version it is, nobody else.
    assert f"<p>Version {VERSION}</p>" in page and VERSION not in front.client.get("/anmelden").text
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


def test_a_file_that_waits_for_a_limit_is_listed_with_the_command_that_raises_it(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        waiting = make_bulk(session, front.manager, session.get_one(Account, front.main.id), sites(2))
        waiting.send(NOW)
    assert "Dateien, die an einer Grenze warten" not in desk.page(OFFICE)
    with front.database.transaction() as session:
        session.get_one(Bulk, waiting.id).wait_for(Limit.BLOCKS, NOW + HOUR)
    page = desk.page(OFFICE)
    assert "Dateien, die an einer Grenze warten" in page
    assert f"Hauptaccount: {front.main.customer_number}, {front.main.name}" in page
    assert f"standorte accounts limits {front.main.customer_number} --blocks N" in page


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
    assert f"Hat die Anfrage zur Kundennummer {number} angesehen." in log
    assert log.count("Unser Kundenservice</p>") == 3 and bo.name not in log


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


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (OFFICE, ["To do", "request waits for us", "Look at the document, then release or refuse it."]),
        ("", ["What is to do", "Asked for by", "Document “Auszug.pdf”, handed in"]),
        ("/dokument", ["Does the document prove it?", "This cannot be undone."]),
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
