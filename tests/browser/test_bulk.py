"""Tests in the browser of a bulk order of a thousand rows: 37 invalid cells are corrected, then the file is sent.

The page shows the progress until all are ordered. The same file uploaded again orders nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.db.session import Database
from models.requests.requests import Request
from tasks.bulk.place import place_due
from tests.browser.axe import assert_accessible
from tests.browser.conftest import Portal
from tests.browser.test_portal import assert_no_sideways_scrolling, sign_in
from tests.due_work import advance_requests
from tests.factories import fill_pool, prove_contact
from tests.fakes import FakeClock
from tests.web.conftest import Back, back_of
from tests.web.portal.bulk.uploading import HEAD, START, as_csv, row
from tests.workbooks import as_xlsx

ROWS = 1000
BAD = {"Postleitzahl": "1017", "E-Mail": "hanna@", "Produkt": "trunk-7", "Kanäle": "99", "Vorwahl": "3"}
RIGHT = {"Postleitzahl": "10179", "E-Mail": "hanna.palmer@example.com", "Produkt": "trunk-10", "Kanäle": "4",
         "Vorwahl": "030"}  # fmt: skip
# 37 invalid cells in 36 rows.
SPOILT = {number * 27: [list(BAD)[number % 5]] for number in range(1, 36)} | {999: ["Postleitzahl", "Kanäle"]}


def lines() -> list[list[str]]:
    """Return the rows of the bulk file as cells: the headings, then a thousand orders with 37 invalid cells."""
    return [HEAD, *(row(n, **{name: BAD[name] for name in SPOILT.get(n, [])}) for n in range(1, ROWS + 1))]


@pytest.fixture
def works(portal: Portal, database: Database, clock: FakeClock) -> Iterator[Event]:
    """Provide an event; once the test sets it, a worker runs in a thread until the end of the test.

    Also records the proofs that the orders need, and fills the number pool.
    """
    with database.transaction() as session:
        fill_pool(session, count=ROWS, first="50000000")
        prove_contact(session, portal.main)
    begin, end = Event(), Event()
    worker = Thread(target=_work, args=(back_of(database, clock), begin, end))
    worker.start()
    yield begin
    end.set()
    begin.set()
    worker.join()


def _work(back: Back, begin: Event, end: Event) -> None:
    begin.wait()
    # The front and the browser want to compute too.
    while not end.wait(0.02):
        place_due(back.runtime, lambda: None)
        advance_requests(back.runtime)
        back.clock.advance(timedelta(seconds=1))


def orders(portal: Portal) -> int:
    """Return how many orders the bulk file has created."""
    with portal.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).where(Request.bulk_id.is_not(None))) or 0


def upload(page: Page, portal: Portal, name: str, content: bytes) -> None:
    """Choose a file with this name and content on the page for bulk files, and press the upload button."""
    page.goto(portal.url + START)
    page.get_by_role("radio", name="Sammelbestellung", exact=True).check()
    page.get_by_label("Datei (CSV oder XLSX)").set_input_files({"name": name, "mimeType": "", "buffer": content})
    page.get_by_role("button", name="Hochladen und prüfen").click()


def test_a_thousand_orders_with_37_bad_cells(page: Page, portal: Portal, works: Event) -> None:
    sign_in(page, portal)
    page.goto(portal.url + "/standortverwaltung/nebenaccount")
    page.get_by_role("link", name="Viele auf einmal, per Datei").click()
    expect(page.get_by_role("heading", name="Viele auf einmal, per Datei")).to_be_visible()
    assert_accessible(page)
    upload(page, portal, "Filialen.xlsx", as_xlsx(lines()))
    expect(page.get_by_role("alert")).to_contain_text("37 Felder stimmen nicht")
    address = page.url
    cells = page.locator("td.is-wrong input")
    expect(cells).to_have_count(37)
    assert_accessible(page)
    assert_no_sideways_scrolling(page)
    # Correct half of the cells first, one of them still wrong: no input is lost.
    for number in list(SPOILT)[:18]:
        [name] = SPOILT[number]
        page.get_by_label(f"{name}, Zeile {number + 1}", exact=True).fill(RIGHT[name])
    page.get_by_label("E-Mail, Zeile 28", exact=True).fill("hanna@firma")
    page.get_by_role("button", name="Speichern und erneut prüfen").first.click()
    expect(page.get_by_role("alert")).to_contain_text("20 Felder stimmen nicht")
    expect(page.get_by_label("E-Mail, Zeile 28", exact=True)).to_have_value("hanna@firma")
    for number in [27, *list(SPOILT)[18:]]:
        for name in SPOILT[number]:
            page.get_by_label(f"{name}, Zeile {number + 1}", exact=True).fill(RIGHT[name])
    page.get_by_role("button", name="Speichern und erneut prüfen").first.click()
    expect(page.get_by_text("1.000 Zeilen, und jedes Feld stimmt.")).to_be_visible()
    assert orders(portal) == 0
    page.get_by_role("button", name="1.000 Standorte zahlungspflichtig bestellen").click()
    # The page updates itself until the end.
    expect(page.get_by_text("1.000 Zeilen werden noch aufgenommen.")).to_be_visible()
    assert_accessible(page)
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", "0")
    works.set()
    expect(page.get_by_text("Alle Zeilen sind abgeschlossen.")).to_be_visible(timeout=240_000)
    expect(bar).to_have_attribute("value", "1000")
    expect(page.get_by_text("1.000 von 1.000 Bestellungen sind abgeschlossen.")).to_be_visible()
    assert orders(portal) == ROWS
    # The same rows again, under another file name and in another format.
    upload(page, portal, "noch einmal.csv", as_csv(lines()))
    expect(page.get_by_role("status").filter(has_text="hat denselben Inhalt wie die Datei")).to_be_visible()
    expect(page).to_have_url(address)
    assert orders(portal) == ROWS


def test_without_a_script_it_works_too(page: Page, portal: Portal, works: Event) -> None:
    page.route("**/*.js", lambda route: route.abort())
    sign_in(page, portal)
    upload(page, portal, "Filialen.csv", as_csv([HEAD, row(1, Postleitzahl="x"), row(2)]))
    page.get_by_label("Postleitzahl, Zeile 2", exact=True).fill("10179")
    page.get_by_role("button", name="Speichern und erneut prüfen").first.click()
    works.set()
    with page.expect_navigation():
        page.get_by_role("button", name="2 Standorte zahlungspflichtig bestellen").click()
    for _ in range(100):
        page.reload()
        if page.get_by_text("Alle Zeilen sind abgeschlossen.").is_visible():
            break
    expect(page.get_by_text("2 von 2 Bestellungen sind abgeschlossen.")).to_be_visible()
