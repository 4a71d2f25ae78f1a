"""A test in the browser of one site, from its order until it is detached from its main account.

The site is ordered and proved. Its administrator accepts the invitation, registers a phone system that takes a call,
and forwards calls. All of that still works after the site was detached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from sqlalchemy.orm import selectinload

from models.telephony.trunks import SipTrunk
from tests.browser.test_seed import CONTACT, confirm_by_code, fill_in_the_order
from tests.browser.visit import DESKTOP, PHONE, Device, Visit
from tests.browser.working import link_in
from tests.due_work import sync_registrar
from tests.sip.conftest import DOMAIN
from tests.sip.phones import NETWORK, Phone, answer, call_in
from tests.sip.sipp import Line
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.subscribers import KamailioSubscribers
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import free_sip_port

PASSWORD = "vier Wörter die bleiben"
MOBILE = "+4915112345678"


@dataclass
class Telephony:
    """A visit to the portal whose workers write to a real Kamailio.

    `line` runs sipp, which plays the phone system and the telephone network.
    """

    visit: Visit
    line: Line

    def provision(self) -> None:
        """Run a batch of each kind of due work, including the writes of trunks and number blocks to the registrar."""
        self.visit.workers.work()
        sync_registrar(self.visit.workers.runtime)

    def numbers(self) -> tuple[str, ...]:
        """Return the numbers of the only trunk in the database, such as +493020000000."""
        with self.visit.database.transaction() as session:
            [trunk] = session.scalars(sa.select(SipTrunk).options(selectinload(SipTrunk.blocks)))
            return tuple(number for block in trunk.blocks for number in block.numbers)


@pytest.fixture
def telephony(
    visit: Visit, kamailio: EmbeddedKamailio, registrar_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Telephony]:
    """Provide a visit whose workers write trunks to a real Kamailio, and sipp, which plays phone systems.

    After the test, sipp and the connection to Kamailio's database are ended.
    """
    registrar = KamailioRegistrar(registrar_url)
    runtime = visit.workers.runtime
    ports = replace(runtime.ports, registrar=registrar, subscribers=KamailioSubscribers(registrar_url))
    workers = replace(visit.workers, runtime=replace(runtime, ports=ports))
    line = Line(Path(tmp_path_factory.mktemp("sipp")), kamailio.port, DOMAIN, interconnect=kamailio.interconnect_port)
    found = Telephony(replace(visit, workers=workers), line)
    found.provision()
    yield found
    line.end()
    registrar.close()


@pytest.mark.parametrize("visit", [DESKTOP, Device("en", PHONE)], indirect=True, ids=str)
def test_a_site_is_ordered_works_for_its_people_and_goes_on_alone(telephony: Telephony, network_port: int) -> None:
    visit, line, say = telephony.visit, telephony.line, telephony.visit.say
    visit.add_account("Neuen Nebenaccount erstellen")
    fill_in_the_order(visit)
    visit.button("zahlungspflichtig bestellen").click()
    visit.sees("Unternehmensstandorte")
    number = visit.requests()[0].customer_number
    telephony.provision()
    hanna = visit.of(visit.person)
    confirm_by_code(hanna, number)
    telephony.provision()
    invited = visit.workers.mail_to(CONTACT, "/einladung/")
    assert visit.person.name in invited and visit.main.customer_number in invited
    dashboard = f"{visit.url}/standortverwaltung/{number}"

    page = hanna.page
    page.goto(link_in(invited))
    hanna.sees("Willkommen, {}", "Hanna Palmer")
    hanna.field("Neues Passwort").fill(PASSWORD)
    hanna.button("Einladung annehmen").click()
    hanna.sees("Ihre ersten Schritte")
    hanna.button("Abmelden").click()
    hanna.field("E-Mail-Adresse").fill(CONTACT)
    hanna.field("Passwort").fill(PASSWORD)
    hanna.button("Anmelden").click()
    hanna.sees("Filiale Mitte")
    expect(page).to_have_url(dashboard)
    _sees_the_site_only(hanna, number)

    # The phone system registers with what the page shows.
    page.goto(dashboard)
    hanna.link("Zugangsdaten abrufen").click()
    hanna.field("Ihr Passwort").fill(PASSWORD)
    hanna.button("SIP-Passwort anzeigen").click()
    secret = page.locator(".code").inner_text()
    phone = Phone(line, page.locator("[id^=user-]").inner_text(), secret, free_sip_port(), telephony.numbers())
    phone.register()
    called = phone.numbers[0]
    ringing = phone.answer()
    call_in(line, called)
    ringing.finish()

    page.goto(dashboard)
    page.locator("#first-steps").get_by_role("link", name=say("Rufweiterleitung einrichten")).click()
    page.get_by_role("main").locator(".head").get_by_role("link").click()
    page.get_by_label(say("Immer"), exact=True).check()
    hanna.field("Weiterleiten an").fill(MOBILE)
    hanna.button("Speichern").click()
    expect(hanna.text("Gilt jetzt")).to_be_visible()
    telephony.provision()
    _reaches_the_mobile(line, called, network_port)

    visit.open_menu("Standortverwaltung")
    visit.link("Dashboard anzeigen {}", number).click()
    visit.link("Lösen").click()
    visit.field("Kundennummer").fill(number)
    visit.button("Account lösen").click()
    visit.sees("Unternehmensstandorte")
    telephony.provision()
    assert _status(visit.page, dashboard) == 404

    # The site goes on alone: its people, its forwarding, its phone.
    page.goto(dashboard)
    hanna.sees("Filiale Mitte")
    _reaches_the_mobile(line, called, network_port)
    page.goto(f"{dashboard}/rufweiterleitung")
    page.get_by_role("link", name=say("Entfernen")).click()
    hanna.button("Entfernen").click()
    expect(hanna.text("Anrufe werden nicht weitergeleitet.")).to_be_visible()
    telephony.provision()
    ringing = phone.answer()
    call_in(line, called)
    ringing.finish()


def _sees_the_site_only(hanna: Visit, number: str) -> None:
    page, main = hanna.page, hanna.main.customer_number
    steps = page.locator("#first-steps")
    for words in ("Zugangsdaten abrufen", "Rufweiterleitung einrichten", "Kollegen einladen"):
        steps.get_by_role("link", name=hanna.say(words), exact=True).click()
        assert number in page.url
        page.goto(f"{hanna.url}/standortverwaltung/{number}")
    expect(page.get_by_role("link", name=main)).to_have_count(0)
    for path in (f"standortverwaltung/{main}", "standortverwaltung/hinzufuegen", f"benutzer/{main}"):
        assert _status(page, f"{hanna.url}/{path}") in (403, 404), path


def _status(page: Page, url: str) -> int:
    answer = page.goto(url)
    assert answer is not None
    return answer.status


def _reaches_the_mobile(line: Line, called: str, network_port: int) -> None:
    taking = answer(line, network_port, NETWORK)
    call_in(line, called)
    assert f"INVITE sip:{MOBILE}@" in taking.finish().heard("INVITE")
