"""Tests of the back office in the browser: staff accept a document, and the order that waited for it continues."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from models.db.session import Database
from models.orders.orders import Contact
from models.people.users import principal_of
from tests.browser.visit import ONCE_EACH, Visit
from tests.factories import NOW, an_order, make_staff, submit_order

EXTRACT = b"%PDF-1.7 an extract from the commercial register"


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_a_document_is_handed_in_looked_at_and_released(visit: Visit, database: Database, tmp_path: Path) -> None:
    with visit.database.transaction() as session:
        draft = an_order(contact=Contact("Maxi Mustermensch", visit.person.email, None))
        order = submit_order(session, principal_of(session, visit.person), session.merge(visit.main), draft, NOW)
    with database.transaction() as session:
        staff = make_staff(session, name="Bo Backoffice", locale=visit.device.language)
    visit.workers.work()
    visit.open_portal()
    visit.page.goto(f"{visit.url}/anfragen/{order.id}")
    (tmp_path / "Auszug.pdf").write_bytes(EXTRACT)
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "Auszug.pdf")
    visit.button("Dokument einreichen").click()
    visit.workers.work()

    desk = visit.of(staff)
    desk.open_portal(by_form=True)
    desk.sees("Zu erledigen")
    desk.link("Bestellung · Kundennummer: {}", order.customer_number).click()
    desk.sees("Kundennummer: {}", order.customer_number)
    desk.link("Dokument ansehen und entscheiden").click()
    desk.sees("Adressnachweis")
    with desk.page.expect_download() as download:
        desk.link("Dokument öffnen").click()
    assert download.value.suggested_filename == f"adressnachweis-{order.customer_number}.pdf"
    download.value.save_as(tmp_path / "opened.pdf")
    assert (tmp_path / "opened.pdf").read_bytes() == EXTRACT
    desk.page.get_by_label(desk.say("Freigeben")).check()
    desk.button("Entscheidung speichern").click()
    expect(desk.text("Das Dokument ist freigegeben, die Adresse ist nachgewiesen.")).to_be_visible()
    desk.link("Zu erledigen").click()
    desk.sees("Nichts zu erledigen")

    visit.workers.work()
    visit.waits_for("Der Anschluss ist bereit, und der Account steht in Ihrer Übersicht.")
