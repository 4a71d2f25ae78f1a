"""Takes pictures of the portal's main pages, with the demo data, for docs/screenshots (`make screenshots`)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pyotp
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.visit import chromium
from tests.sip.phones import Phone, call_in
from tests.sip.sipp import Line
from workers import programs
from workers.demo.cast import BACK_OFFICE, HAMBURG, KOELN, MAIN, MAXI, PASSWORD, Site
from workers.stack.data_directory import StackDirectory
from workers.stack.kamailio import installed
from workers.stack.ports import free_port

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
COLOURS = 96
"""Number of colours of a saved picture: enough for pages without photographs, at a quarter of the file size."""

DESKTOP, PHONE = (1280, 800), (390, 844)
HAMBURG_NUMBER, BERLIN_NUMBER = "+494066969500", "+493023125000"
_READY = "Standortverwaltung is ready"
# The contact of the order, with an address that is not confirmed yet.
_CONTACT = ("Hanna Palmer", "hanna.palmer@example.com", "030 23125901")

_FILE = """\
Name des Standorts;Straße und Hausnummer;Postleitzahl;Ort;Ansprechperson;E-Mail;Produkt;Vorwahl;Anzahl Rufnummern
Filiale Mitte;Brückenstr. 5;10179;Berlin;Hanna Palmer;hanna.palmer@example.com;trunk-10;030;10
Filiale Süd;Hauptstr. 12;1015;Berlin;Hanna Palmer;hanna.palmer@example.com;trunk-10;030;10
Filiale West;Am Markt 3;10585;Berlin;Kim Beispiel;kim@;trunk-10;030;10
"""


def main() -> None:
    """Start an embedded stack, take all pictures, and stop the stack."""
    executable = chromium()
    if executable is None:
        sys.exit("Screenshots need Chromium on PATH. As root on Debian: .make/chromium")
    if installed() is None or shutil.which("sipp") is None:
        sys.exit("Screenshots need Kamailio and sipp, for the page of calls. As root on Debian: .make/sip")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with fresh_stack() as (url, running), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        take_all(browser, url, FOLDER)
        calls(browser, url, running, FOLDER)
        back_office(browser, url, FOLDER)
        browser.close()


@contextmanager
def fresh_stack() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Run an embedded stack (the whole system as child processes) with the demo data only.

    Yield its URL and the environment variables of its programs. The stack and its data are removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="standorte-") as folder:
        port = free_port()
        environment = {**os.environ, "STANDORTE_DIR": f"{folder}/stack", "PORT": str(port)}
        stack = subprocess.Popen(programs.console("up"), env=environment, stdout=subprocess.PIPE, text=True)
        assert stack.stdout is not None
        try:
            if not any(_READY in line for line in stack.stdout):
                sys.exit("The stack did not start.")
            # Keep reading, so that the stack never blocks on a full pipe.
            reader = subprocess.Popen(["cat"], stdin=stack.stdout, stdout=subprocess.DEVNULL)
            running = StackDirectory(Path(folder, "stack")).running_environment()
            assert running is not None
            yield f"http://127.0.0.1:{port}", running
        finally:
            stack.send_signal(signal.SIGINT)
            stack.wait(60)
        reader.wait(10)


def take_all(browser: Browser, url: str, folder: Path) -> None:
    """Take all pictures of the pages that customers use, and save them in the folder.

    Also order a location and request a link, because some pictures show these.
    """
    page = open_page(browser, url, MAXI.email)
    page.goto(url + "/standortverwaltung/hinzufuegen")
    page.get_by_label("Kundennummer").fill(f"{KOELN.customer_number}")
    page.get_by_role("button", name="Weiter").click()
    page.get_by_role("link", name="Mit Zustimmung per E-Mail").wait_for()
    keep(page, folder / "link-ways.png")
    page.get_by_role("link", name="Mit Zustimmung per E-Mail").click()
    page.get_by_role("button", name="Um Zustimmung bitten").click()
    order(page, url, folder)
    expect(page.locator("#locations")).to_contain_text("muss ihre E-Mail-Adresse bestätigen", timeout=30_000)
    overview(browser, page, url, folder)
    request_page(page, url, folder)
    other_pages(page, url, folder)
    owner = open_page(browser, url, KOELN.administrator.email)
    owner.goto(url + "/zustimmungen")
    owner.get_by_role("link", name="Ansehen und entscheiden").click()
    keep(owner, folder / "consent.png")
    mail(owner, url, folder)


def order(page: Page, url: str, folder: Path) -> None:
    """Order a location in Dresden, and take pictures of the order's third step and of its summary."""
    page.goto(url + "/standortverwaltung/neu")
    page.get_by_label("SIP-Trunk mit 10 Kanälen").check()
    onward = page.locator(".order-main .primary")
    onward.click()
    for label, value in (
        ("Name des Standorts", "Filiale Dresden Neustadt"),
        ("Straße und Hausnummer", "Königstr. 5"),
        ("Postleitzahl", "01097"),
        ("Ort", "Dresden"),
    ):
        page.get_by_label(label, exact=True).fill(value)
    onward.click()
    page.get_by_label("Rufnummernblock mit 10 Nummern").check()
    expect(page.locator("#basket")).to_contain_text("Rufnummernblock")
    expect(page.locator("#free-text")).not_to_be_empty()
    keep(page, folder / "order-numbers.png")
    onward.click()
    name, email, phone = _CONTACT
    page.get_by_label("Name der Ansprechperson").fill(name)
    page.get_by_label("E-Mail-Adresse der Ansprechperson").fill(email)
    page.locator("#phone").fill(phone)
    onward.click()
    page.get_by_role("button", name="Zahlungspflichtig bestellen").wait_for()
    keep(page, folder / "order-summary.png")
    page.get_by_role("button", name="Zahlungspflichtig bestellen").click()
    page.wait_for_url(re.compile("/standortverwaltung(#.*)?$"))


def overview(browser: Browser, page: Page, url: str, folder: Path) -> None:
    """Take pictures of the overview: cards in both colour schemes and on a phone, and the table."""
    page.goto(url + "/standortverwaltung?ansicht=tabelle")
    keep(page, folder / "overview-table.png")
    page.goto(url + "/standortverwaltung?ansicht=karten")
    keep(page, folder / "overview.png")
    page.emulate_media(color_scheme="dark")
    keep(page, folder / "overview-dark.png")
    page.emulate_media(color_scheme="light")
    phone = open_page(browser, url, MAXI.email, PHONE)
    phone.goto(url + "/standortverwaltung")
    keep(phone, folder / "overview-phone.png", whole=False)


def request_page(page: Page, url: str, folder: Path) -> None:
    """Take a picture of the page of an order that waits for its proofs."""
    page.goto(url + "/standortverwaltung")
    page.locator(".card:has([data-new])").get_by_role("link", name=re.compile("fehlt|Verlauf")).first.click()
    page.locator(".timeline").wait_for()
    keep(page, folder / "request.png")


def other_pages(page: Page, url: str, folder: Path) -> None:
    """Take pictures of a sub-account's dashboard, of the numbers and costs, and of a bulk file with invalid cells."""
    page.goto(f"{url}/standortverwaltung/{HAMBURG.customer_number}")
    keep(page, folder / "dashboard.png")
    page.goto(url + "/standortverwaltung/rufnummern")
    keep(page, folder / "numbers.png")
    page.goto(url + "/standortverwaltung/kosten")
    keep(page, folder / "costs.png")
    page.goto(url + "/standortverwaltung/sammelauftrag")
    page.get_by_label("Datei (CSV oder XLSX)").set_input_files(
        {"name": "Filialen.csv", "mimeType": "text/csv", "buffer": _FILE.encode()}
    )
    page.get_by_role("button", name="Hochladen und prüfen").click()
    page.get_by_role("alert").wait_for()
    keep(page, folder / "bulk.png")


def calls(browser: Browser, url: str, running: Mapping[str, str], folder: Path) -> None:
    """Play three calls of two trunks with sipp, and take a picture of the page that lists one trunk's calls.

    `running` is the environment of the stack's programs, which names Kamailio's ports.
    """
    page = open_page(browser, url, MAXI.email)
    with tempfile.TemporaryDirectory() as scenarios:
        phones, network = (int(running[name].rpartition(":")[2]) for name in ("SIP_SERVER", "SIP_INTERCONNECT_LISTEN"))
        line = Line(Path(scenarios), phones, "sip.portal.example", interconnect=network)
        hamburg, main = (phone(page, url, line, site) for site in (HAMBURG, MAIN))
        try:
            taking = hamburg.answer()
            main.call(HAMBURG_NUMBER)
            taking.finish()
            refusing, forwarded = hamburg.refuse("486 Busy Here"), main.answer()
            call_in(line, HAMBURG_NUMBER)
            refusing.finish()
            forwarded.finish()
            taking = main.answer()
            hamburg.call(BERLIN_NUMBER)
            taking.finish()
        finally:
            line.end()
    page.goto(f"{url}/standortverwaltung/{HAMBURG.customer_number}")
    page.get_by_role("link", name="Anmeldung und Anrufe").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    keep(page, folder / "calls.png")


def phone(page: Page, url: str, line: Line, site: Site) -> Phone:
    """Return a phone system, played by sipp, that has registered at the site's trunk.

    User name and password are read from the site's pages in the portal.
    """
    page.goto(f"{url}/standortverwaltung/{site.customer_number}")
    page.get_by_role("link", name="SIP-Passwort anzeigen").click()
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="SIP-Passwort anzeigen").click()
    secret = page.locator(".code").inner_text()
    found = Phone(line, page.locator("dd code").first.inner_text(), secret, free_port(udp=True))
    found.register()
    return found


def back_office(browser: Browser, url: str, folder: Path) -> None:
    """Upload a document that proves an order's address, and take a picture of the back office.

    The back office lists the document for review.
    """
    page = open_page(browser, url, MAXI.email)
    page.goto(url + "/standortverwaltung")
    page.locator(".card:has([data-new])").get_by_role("link", name=re.compile("fehlt|Verlauf")).first.click()
    register = BytesIO()
    Image.new("RGB", (60, 80), "white").save(register, "PNG")
    page.locator("input[type=file]").set_input_files(
        {"name": "Handelsregister.png", "mimeType": "image/png", "buffer": register.getvalue()}
    )
    page.get_by_role("button", name="Dokument einreichen").click()
    page.get_by_text("Handelsregister.png").first.wait_for()
    office = open_page(browser, url, BACK_OFFICE.email)
    set_up_app(office, url)
    office.goto(url + "/backoffice")
    keep(office, folder / "back-office.png")


def mail(page: Page, url: str, folder: Path) -> None:
    """Take a picture of the mail that asks an account's administrator for consent to a link."""
    page.goto(f"{url}/dev/mail?an={KOELN.administrator.email}")
    page.locator(".rows a").first.click()
    page.goto(f"{page.locator('.mail-html').evaluate('frame => frame.src')}")
    page.set_viewport_size({"width": 760, "height": 700})
    keep(page, folder / "mail.png")


def set_up_app(page: Page, url: str) -> None:
    """Set up an authenticator app for the signed-in user: the back office demands a second factor."""
    page.goto(url + "/anmeldung/app")
    secret = page.locator("#secret .code").inner_text().replace(" ", "")
    page.get_by_label("Code aus der App").fill(pyotp.TOTP(secret).now())
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    page.get_by_role("button", name="App einrichten").click()
    page.get_by_role("heading", name="Ihre Wiederherstellungscodes").wait_for()


def open_page(browser: Browser, url: str, email: str, size: tuple[int, int] = DESKTOP) -> Page:
    """Sign in as the user with this e-mail address in a new browser context; return its page. `size` is in pixels."""
    context = browser.new_context(
        locale="de-DE", color_scheme="light", reduced_motion="reduce", viewport={"width": size[0], "height": size[1]}
    )
    page = context.new_page()
    page.goto(url)
    page.get_by_label("E-Mail-Adresse").fill(email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    page.get_by_role("button", name="Abmelden").wait_for()
    return page


def keep(page: Page, file: Path, *, whole: bool = True) -> None:
    """Save a picture of the page to the file; with `whole`, of the whole page, otherwise of the part on the screen."""
    page.wait_for_load_state("networkidle")
    picture = Image.open(BytesIO(page.screenshot(full_page=whole)))
    picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
