"""Tests of the pages on which customers suspend and resume a trunk, and release numbers.

What the carrier has suspended, a customer cannot resume. Numbers cannot be released while an order is running. Of a
closed account users see only that it is closed.
"""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.contracts.contracts import ContractItem
from models.links.account_closing import close_account
from models.messages.outbox import Message
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.telephony.suspension import resume_for_carrier, suspend_for_carrier
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.registrar.trunks import write_due_trunks
from tests.factories import NOW, an_order, join, make_user, submit_order
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, arrive, come_in, deeds, enter, get, give_numbers, make_site
from tests.web.portal.page.test_portal import csrf

REASON = "Rechnung <b>offen</b>"


@pytest.fixture
def site(front: Front) -> Site:
    """Create a sub-account with a trunk and users under the client's main account."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


@pytest.fixture
def block(front: Front, site: Site) -> int:
    """Give the site a block of ten numbers, with its line in the contract; return the block's id."""
    with front.database.transaction() as session:
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        facts = {"product_key": "block-10", "monthly_cents": 290, "one_off_cents": 0}
        session.add(ContractItem(contract_id=contract, **facts))
        return give_numbers(session, site)


def press(front: Front, path: str, page: str | None = None, **fields: str) -> TestResponse:
    """Submit `fields` to `path` with the CSRF token of its form; return the answer.

    `page` is the HTML of the form (None: it is opened now). So a test can submit a form that it has opened earlier.
    """
    data = {"csrf_token": csrf(page or get(front, path)), **fields}
    return front.client.post(path, data=data)


def said(front: Front, answer: TestResponse, site: Site) -> str:
    """Expect that the answer redirects to the site's dashboard; return the dashboard's HTML."""
    assert (answer.status_code, answer.location) == (303, site.path)
    return get(front, site.path)


def state(front: Front, site: Site) -> TrunkState:
    """Return the state of the site's trunk in the database."""
    with front.database.transaction() as session:
        return session.get_one(SipTrunk, site.trunk).state


def by_carrier(front: Front, reason: str | None = REASON) -> None:
    """Suspend the site's trunk as the carrier for this reason; with None, resume it as the carrier."""
    with front.database.transaction() as session:
        if reason is None:
            resume_for_carrier(session, "t000000000001", NOW)
        else:
            suspend_for_carrier(session, "t000000000001", reason, NOW)


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_a_trunk_is_suspended_and_resumed_from_the_dashboard(front: Front, site: Site, back: Back, who: str) -> None:
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    come_in(front, front.manager.email if who == "manager" else site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}"
    assert f'href="{path}/sperren"' in get(front, site.path)
    page = get(front, path + "/sperren")
    for words in (
        "SIP-Trunk t000000000001 sperren?",
        "jederzeit wieder aufheben",
        "Notrufe an 110 und 112",
        "Keine Telefonanlage kann sich mehr anmelden",
        "zurzeit nicht erreichbar",
    ):
        assert words in page
    assert ("Das Team vor Ort sieht das" in page or "durch seinen Hauptaccount" in page) == (who == "manager")
    shown = said(front, press(front, path + "/sperren", page), site)
    assert "Der SIP-Trunk ist gesperrt." in shown and ">Gesperrt</span>" in shown
    assert "Im Portal gesperrt seit dem 2. März 2026, 09:00 Uhr." in shown
    assert f'href="{path}/entsperren"' in shown and f'href="{path}/sperren"' not in shown
    assert "wird keiner seiner Anrufe weitergeleitet" in get(front, f"{site.path}/rufweiterleitung")
    write_due_trunks(back.runtime, lambda: None)
    assert [record.suspended for record in registrar.writes] == [True]
    # Submitted twice.
    assert "ist bereits gesperrt" in said(front, press(front, path + "/sperren", page), site)
    assert "ist bereits gesperrt" in get(front, path + "/sperren")
    page = get(front, path + "/entsperren")
    for _ in range(2):
        assert "nicht mehr gesperrt" in said(front, press(front, path + "/entsperren", page), site)
    assert "ist nicht gesperrt" in get(front, path + "/entsperren")
    write_due_trunks(back.runtime, lambda: None)
    assert [record.suspended for record in registrar.writes] == [True, False]
    by = (front.manager.user_id, front.main.id) if who == "manager" else (site.administrator.id, None)
    done = [deed for deed in deeds(front) if deed[0] is not AuditEvent.LOOKED_IN]
    assert done == [(AuditEvent.TRUNK_SUSPENDED, *by), (AuditEvent.TRUNK_RESUMED, *by)]


def test_a_suspended_trunk_is_marked_in_the_list_of_trunks(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    trunks = "/standortverwaltung/trunks"
    assert "Gesperrt" not in get(front, trunks)
    press(front, f"{site.path}/sip/{site.trunk}/sperren")
    assert "Gesperrt" in get(front, trunks)
    assert "Gesperrt" in front.client.get(trunks + "/export.csv").text


def test_what_the_carrier_has_suspended_the_customer_cannot_lift(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}"
    suspending = get(front, path + "/sperren")
    by_carrier(front)
    page = get(front, path + "/entsperren")
    assert "Unser Kundenservice hat den Trunk am 2. März 2026, 09:00 Uhr gesperrt: Rechnung &lt;b&gt;offen" in page
    assert "Aufheben kann das nur der Kundenservice." in page and site.account.customer_number in page
    assert f'action="{path}/entsperren"' not in page and ">Sperre aufheben</button>" not in page
    answer = press(front, path + "/entsperren", page)
    assert answer.status_code == 409 and "Aufheben kann das nur der Kundenservice." in answer.text
    assert_valid(answer.text)
    # Suspending the trunk first makes no difference.
    assert "ist bereits gesperrt" in said(front, press(front, path + "/sperren", suspending), site)
    assert press(front, path + "/entsperren", page).status_code == 409
    assert state(front, site) is TrunkState.SUSPENDED
    log = get(front, site.path + "/protokoll")
    assert "Kundenservice" in log and "Grund: Rechnung &lt;b&gt;offen" in log
    by_carrier(front, None)
    assert state(front, site) is TrunkState.ACTIVE
    assert "Hat die Sperre des SIP-Trunks t000000000001 aufgehoben." in get(front, site.path)


def test_each_side_lifts_its_own(front: Front, site: Site) -> None:
    come_in(front, site.administrator.email)
    path = f"{site.path}/sip/{site.trunk}"
    press(front, path + "/sperren")
    by_carrier(front)
    page = get(front, path + "/entsperren")
    assert "Unser Kundenservice hat" in page and "Im Portal gesperrt seit" in page
    shown = said(front, press(front, path + "/entsperren", page), site)
    assert "Die Sperre durch unseren Kundenservice bleibt bestehen." in shown
    assert "Im Portal gesperrt" not in shown and "Unser Kundenservice hat" in shown
    assert state(front, site) is TrunkState.SUSPENDED


def readers(front: Front, template: str) -> set[str]:
    """Return the addresses of the recipients of all messages with this template, sent or still queued."""
    with front.database.transaction() as session:
        return set(session.scalars(sa.select(Message.recipient_address).where(Message.template == template)))


def test_numbers_are_given_back(front: Front, site: Site, block: int, back: Back) -> None:
    with front.database.transaction() as session:
        give_numbers(session, site, 49221700350)
    come_in(front, site.administrator.email)
    path = f"{site.path}/rufnummern/{block}/zurueckgeben"
    assert f'href="{path}"' in get(front, site.path)
    page = get(front, path)
    assert "90 Tage" in page and "nicht rückgängig" in page and "Das sind die letzten" not in page
    # Two blocks of this size share one contract item.
    assert "keinen eigenen Posten" in page
    answer = press(front, path, page)
    assert answer.status_code == 422 and "Setzen Sie den Haken" in answer.text
    assert_valid(answer.text)
    shown = said(front, press(front, path, page, meant="y"), site)
    assert "Die Rufnummern 0221 70034-0 … -9 sind zurückgegeben." in shown and path not in shown
    # The main account has not done it and is not told.
    assert readers(front, "numbers_released") == {site.administrator.email}
    write_due_trunks(back.runtime, lambda: None)
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar)
    [record] = registrar.writes
    assert record.numbers == tuple(f"+4922170035{place}" for place in range(10))
    # Submitted twice.
    assert "gehören nicht mehr zum Account" in said(front, press(front, path, page, meant="y"), site)
    get(front, path, 404)
    assert [deed for deed in deeds(front) if deed[0] is AuditEvent.NUMBERS_RELEASED] == [
        (AuditEvent.NUMBERS_RELEASED, site.administrator.id, None)
    ]
    assert "Hat die Rufnummern 0221 70034-0 … -9 zurückgegeben." in get(front, site.path)


def test_the_last_numbers_go_with_their_price(front: Front, site: Site, block: int) -> None:
    come_in(front, front.manager.email)
    path = f"{site.path}/rufnummern/{block}/zurueckgeben"
    page = get(front, path)
    assert "Das sind die letzten Rufnummern des Accounts." in page
    assert "Der SIP-Trunk und sein Passwort" in page and "alle übrigen Rufnummern" not in page
    assert re.search("2,90.€ im Monat \\(netto\\) werden ab sofort nicht mehr berechnet", page)
    shown = said(front, press(front, path, page, meant="y"), site)
    assert ">Keine Rufnummern" in shown and "2,90" not in shown
    assert readers(front, "numbers_released") == {site.administrator.email, front.manager.email}


def test_a_renewed_password_is_told_to_the_account_and_to_the_side_that_did_it(front: Front, site: Site) -> None:
    nobody: set[str] = set()
    for email, told in ((site.administrator.email, nobody), (front.manager.email, {front.manager.email})):
        come_in(front, email)
        assert enter(front, site.renewal)[0] == 200
        assert readers(front, "secret_renewed") == {site.administrator.email} | told


def test_numbers_cannot_be_given_back_while_the_order_runs(front: Front, site: Site, block: int) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        submit_order(session, front.manager, main, an_order(), NOW).account_id = site.account.id
    come_in(front, front.manager.email)
    path = f"{site.path}/rufnummern/{block}/zurueckgeben"
    page = get(front, path, 409)
    assert_valid(page)
    assert "lassen sich noch nicht zurückgeben" in page and "<form" not in page.split("<main")[1].split("</main")[0]
    assert press(front, path, get(front, site.path), meant="y").status_code == 409


def test_an_account_on_order_has_nothing_to_manage(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        path = f"/standortverwaltung/{submit_order(session, front.manager, main, an_order(), NOW).customer_number}"
    come_in(front, front.manager.email)
    get(front, path)
    for page in ("/sip/1/sperren", "/sip/1/entsperren", "/rufnummern/1/zurueckgeben"):
        get(front, path + page, 404)
        assert press(front, path + page, get(front, path), meant="y").status_code == 404


def test_who_was_removed_meanwhile_can_do_nothing_with_an_open_page(front: Front, site: Site, block: int) -> None:
    come_in(front, front.manager.email)
    suspending, giving = f"{site.path}/sip/{site.trunk}/sperren", f"{site.path}/rufnummern/{block}/zurueckgeben"
    pages = {path: get(front, path) for path in (suspending, giving)}
    with front.database.transaction() as session:
        detach(session, front.main.id, site.account.id)
    for path, page in pages.items():
        assert press(front, path, page, meant="y").status_code == 404
    assert state(front, site) is TrunkState.ACTIVE


def test_the_pages_speak_english(front: Front, site: Site, block: int) -> None:
    come_in(front, site.administrator.email)
    front.client.post("/sprache/en", data={"csrf_token": form_token(front.client)})
    path = f"{site.path}/sip/{site.trunk}"
    assert "Emergency calls to 110 and 112" in get(front, path + "/sperren")
    assert "The SIP trunk is suspended." in said(front, press(front, path + "/sperren"), site)
    by_carrier(front)
    assert "Only customer service can lift that." in get(front, path + "/entsperren")
    assert "Your suspension is lifted." in said(front, press(front, path + "/entsperren"), site)
    assert "They rest for 90 days." in get(front, f"{site.path}/rufnummern/{block}/zurueckgeben")
    log = get(front, site.path + "/protokoll")
    assert "Our customer service" in log and "Lifted the suspension of SIP trunk t000000000001." in log


def test_of_a_closed_account_nobody_sees_more_than_that_it_is_closed(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        manager = make_user(session)
        join(session, manager, session.get_one(Account, site.account.id), Role.LOCATION_MANAGER)
        account = session.get_one(Account, site.account.id)
        detach(session, front.main.id, account.id)
        session.flush()
        assert close_account(session, account, NOW)
    number = site.account.customer_number
    closed = f"Der Account {number} (Filiale Köln) ist geschlossen"
    for person in (site.administrator, site.member, manager):
        assert arrive(front, person.email) == "/standortverwaltung"
        assert closed in get(front, "/standortverwaltung")
        assert closed not in get(front, "/verknuepfungscode")
        for path in (
            "", "/protokoll", "/rufweiterleitung", "/rufweiterleitung/neu", "/loesen", f"/sip/{site.trunk}/sperren",
            f"/sip/{site.trunk}/passwort", "/rufnummern/1/zurueckgeben",
        ):  # fmt: skip
            get(front, site.path + path, 404)
        for path in (f"/benutzer/{number}", "/benutzer", "/rufweiterleitung"):
            get(front, path, 404)
        for path in ("/anfragen", "/zustimmungen", "/anmeldung"):
            assert number not in get(front, path)
        for path in ("/standortverwaltung/neu", "/standortverwaltung/hinzufuegen"):
            assert front.client.get(path).status_code in (403, 404), path
        assert front.client.get("/standortverwaltung/trunks").status_code == 404
    # A user with another account sees that account.
    come_in(front, front.manager.email)
    assert closed not in get(front, "/standortverwaltung")
