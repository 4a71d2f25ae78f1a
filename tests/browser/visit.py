"""A visit to the portal in the words of the specification or in English, on a desktop or a phone.

The workers are real: mails are sent by SMTP and letters are printed to PDF. Only the registrar is a fake.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path

import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect
from pypdf import PdfReader

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.users import User
from models.requests.requests import Request
from models.values import Locale
from tasks.ports import Ports
from tasks.runtime import Runtime
from tests.due_work import advance_requests, send_messages
from tests.factories import PASSWORD
from tests.fakes import FakeClock, FakeRegistrar, MailSink
from tests.second_factor import enter_code_in_browser
from tests.web.conftest import CODE, back_of
from workers.gateways.letters import LetterFolder
from workers.gateways.smtp import SmtpMailer

PHONE = (320, 640)


def chromium() -> str | None:
    """Return the path of Debian's Chromium: its headless shell, else the whole browser; None if it is not on PATH."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


@dataclass(frozen=True)
class Way:
    """The language, the screen size in pixels, and whether JavaScript is enabled."""

    language: Locale = "de"
    size: tuple[int, int] = (1280, 800)
    scripts: bool = True

    def __str__(self) -> str:
        return f"{self.language}-{self.size[0]}{'' if self.scripts else '-without scripts'}"


DESKTOP = Way()

# Every test runs once in each language and size, the main tests in every combination.
ONCE_EACH = [DESKTOP, Way("en", PHONE)]
EVERYWHERE = [*ONCE_EACH, Way("de", PHONE), Way("en")]

# The texts of the specification and of the pages that follow it; `{}` is a customer number or an address.
ENGLISH = {
    # The specification.
    "Mein Produkt": "My product",
    "Standortverwaltung": "Locations",
    "Unternehmensstandorte": "Company locations",
    "Nebenaccount hinzufügen": "Add sub-account",
    "Neuen Nebenaccount erstellen": "Create a new sub-account",
    "Bestehendes Konto hinzufügen": "Add an existing account",
    "Hauptaccount": "Main account",
    "Zuordnung": "Affiliation",
    "Nebenaccount": "Sub-account",
    "Kundennummer: {}": "Customer number: {}",
    "Dashboard anzeigen {}": "Show dashboard {}",
    "Neu": "New",
    "Wir haben den Auftrag erhalten und beginnen zeitnah mit der Umsetzung": (
        "We have received your order and will start work shortly."
    ),
    # Signing in.
    "E-Mail-Adresse": "E-mail address",
    "Passwort": "Password",
    "Anmelden": "Sign in",
    "Willkommen, {}": "Welcome, {}",
    "Neues Passwort": "New password",
    "Einladung annehmen": "Accept the invitation",
    "Ihre ersten Schritte": "Your first steps",
    "Zugangsdaten abrufen": "Get the credentials",
    "Rufweiterleitung einrichten": "Set up call forwarding",
    "Kollegen einladen": "Invite your colleagues",
    "Ihr Passwort": "Your password",
    "SIP-Passwort anzeigen": "Show the SIP password",
    # Call forwarding.
    "Immer": "Always",
    "Weiterleiten an": "Forward to",
    "Speichern": "Save",
    "Gilt jetzt": "In force now",
    "Entfernen": "Remove",
    "Anrufe werden nicht weitergeleitet.": "Calls are not forwarded.",
    "Abmelden": "Sign out",
    # The order.
    "Produkt und Optionen": "Product and options",
    "SIP-Trunk mit 10 Kanälen": "SIP trunk, 10 channels",
    "Weiter": "Next",
    "Standort": "Location",
    "Name des Standorts": "Name of the location",
    "Straße und Hausnummer": "Street and house number",
    "Postleitzahl": "Postal code",
    "Ort": "City",
    "Rufnummern": "Phone numbers",
    "Vorwahl": "Area code",
    "Mobilfunknummer für die Notfall-Umleitung": "Mobile number for the fallback",
    "Rufnummernblock mit 10 Nummern": "Block of 10 numbers",
    "Ansprechperson": "Contact person",
    "Name der Ansprechperson": "Contact's name",
    "E-Mail-Adresse der Ansprechperson": "Contact's e-mail address",
    "Standort (erledigt)": "Location (done)",
    "Meine Angaben übernehmen": "Use my own details",
    "Weiter: alles prüfen": "Next: check everything",
    "Zusammenfassung": "Summary",
    "zahlungspflichtig bestellen": "Order with obligation to pay",
    "Vielen Dank für Ihre Bestellung. Der neue Nebenaccount hat die Kundennummer {}.": (
        "Thank you for your order. The new sub-account has customer number {}."
    ),
    "Diese Bestellung ist schon aufgegeben. Der neue Nebenaccount hat die Kundennummer {}.": (
        "This order was placed already. The new sub-account has customer number {}."
    ),
    # The proofs of an order.
    "Ansehen, was noch fehlt {}": "See what is awaited {}",
    "Code": "Code",
    "Kundennummer": "Customer number",
    "Adresse bestätigen": "Confirm the address",
    "E-Mail-Adresse bestätigen": "Confirm e-mail address",
    "Die E-Mail-Adresse ist bestätigt": "The e-mail address is confirmed",
    "Anschlussadresse bestätigen": "Confirm the connection address",
    "Die Anschlussadresse ist bestätigt": "The connection address is confirmed",
    "Der Anschluss ist bereit, und der Account steht in Ihrer Übersicht.": (
        "The line is ready, and the account is in your overview."
    ),
    # The link.
    "{} als Nebenaccount hinzufügen": "Add {} as a sub-account",
    "Mit den Zugangsdaten des anderen Accounts": "With the other account's login",
    "E-Mail-Adresse des anderen Zugangs": "E-mail address of the other login",
    "Passwort des anderen Zugangs": "Password of the other login",
    "Mit einem Verknüpfungscode": "With a link code",
    "Verknüpfungscode": "Link code",
    "Verknüpfungscode erstellen {}": "Create a link code {}",
    "Mit Zustimmung per E-Mail": "By consent by e-mail",
    "Was bleibt, wie es ist": "What stays as it is",
    "Was sich ändert": "What changes",
    "Account hinzufügen": "Add the account",
    "Um Zustimmung bitten": "Ask for consent",
    "Darf Ihr Account {} zugeordnet werden?": "May your account {} be attached?",
    "Zustimmungen {} offen": "Consents {} open",
    "Ansehen und entscheiden {}": "Read and decide {}",
    "Ich stimme zu": "I agree",
    "Ich lehne ab": "I decline",
    "Antwort absenden": "Send the answer",
    "Die Zustimmung ist erteilt": "Consent was given",
    "Die Anfrage ist abgelehnt": "The request was declined",
    "Die Frist für eine Antwort ist abgelaufen": "The time to answer has run out",
    "Der Account steht jetzt in Ihrer Übersicht. Für sein eigenes Team hat sich nichts geändert.": (
        "The account is now in your overview. Nothing has changed for its own team."
    ),
    "Ein Administrator des Accounts hat die Verknüpfung abgelehnt.": (
        "An administrator of the account has declined the link."
    ),
    "Die Bestellung ist inzwischen beendet.": "The order has ended in the meantime.",
    "Die Frist ist abgelaufen.": "The time for an answer has run out.",
    # Actions on a request, and its outcomes.
    "Verlauf": "Timeline",
    "Verlauf von {} anzeigen": "Show progress of {}",
    "Zurück zur Standortverwaltung": "Back to the locations",
    "Neue Anfrage stellen": "Make a new request",
    "Neu bestellen": "Order again",
    "Wartet auf Antwort": "Waiting for an answer",
    "Wir versuchen es erneut.": "We are trying again.",
    "Die Anfrage wurde zurückgezogen": "The request was cancelled",
    "Die Frist für die Bestätigung ist abgelaufen": "The time to confirm has run out",
    "Anfrage stornieren": "Cancel the request",
    "Anfrage behalten": "Keep it",
    "Erneut versuchen": "Try again",
    "Abgeschlossen": "Completed",
    "Abgelehnt": "Rejected",
    "Storniert": "Cancelled",
    "Fehlgeschlagen": "Failed",
    # The back office.
    "Dokument einreichen": "Hand in the document",
    "Zu erledigen": "To do",
    "Bestellung · Kundennummer: {}": "Order · Customer number: {}",
    "Dokument ansehen und entscheiden": "Look at the document and decide",
    "Adressnachweis": "Address proof",
    "Dokument öffnen": "Open the document",
    "Freigeben": "Release",
    "Entscheidung speichern": "Save the decision",
    "Das Dokument ist freigegeben, die Adresse ist nachgewiesen.": "The document is released, the address is proved.",
    "Nichts zu erledigen": "Nothing to do",
    # Detaching.
    "Lösen": "Detach",
    "Account lösen": "Detach the account",
    "Der Account {} wird gelöst. Danach bekommen die Administratoren beider Seiten eine E-Mail.": (
        "Account {} is being detached. After that the administrators of both sides get an e-mail."
    ),
}


class Pages:
    """Fresh browser contexts, each with a page. `close` fails on errors in the console and on blocked resources."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._broken: list[str] = []

    def open(self, way: Way = DESKTOP) -> Page:
        """Open a page in a new browser context."""
        width, height = way.size
        context = self._browser.new_context(
            locale={"de": "de-DE", "en": "en-GB"}[way.language],
            viewport={"width": width, "height": height},
            has_touch=way.size == PHONE,
            java_script_enabled=way.scripts,
        )
        self._contexts.append(context)
        context.set_default_timeout(10_000)
        context.on("weberror", lambda error: self._broken.append(str(error.error)))
        context.on("console", self._hear)
        return context.new_page()

    def close(self) -> None:
        """Close all browser contexts."""
        for context in self._contexts:
            context.close()
        assert self._broken == []

    def _hear(self, said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            self._broken.append(said.text)


@dataclass(frozen=True)
class Workers:
    """The workers, run on demand, with the mails and letters that were sent."""

    runtime: Runtime
    registrar: FakeRegistrar
    clock: FakeClock
    post: MailSink
    letters: Path

    def work(self, *, after: timedelta = timedelta()) -> None:
        """Advance the clock by `after` and process everything that is due."""
        self.clock.advance(after)
        advance_requests(self.runtime)
        send_messages(self.runtime)

    def work_at(self, moment: datetime) -> None:
        """Advance the clock to the moment and process everything that is due."""
        self.work(after=moment - self.clock.now)

    def mail_to(self, address: str, holding: str = "") -> str:
        """Return subject and text of the newest mail to this address whose text holds these words."""
        texts = [text for to, text in self.mails() if to == address]
        return [text for text in texts if holding in text][-1]

    def mails(self) -> list[tuple[str, str]]:
        """Return address and text of each mail, the oldest first, but not of those that tell of a sign-in."""
        texts = [(to, _text_of(message)) for to, message in self.post.received]
        return [(to, text) for to, text in texts if not text.startswith(_SIGN_INS)]

    def letter_to(self, number: str) -> str:
        """Return the text of the letter about this customer number."""
        sheets = [PdfReader(sheet) for sheet in self.letters.iterdir()]
        texts = ["\n".join(page.extract_text() for page in sheet.pages) for sheet in sheets]
        [text] = [text for text in texts if number in text]
        return text


_SIGN_INS = ("Anmeldung mit Ihrem Zugang in einem neuen Browser", "A sign-in with your login in a new browser")


def _text_of(message: Message) -> str:
    [text] = [part for part in message.walk() if part.get_content_type() == "text/plain"]
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    return f"{message['Subject']}\n{content.decode()}"


@contextmanager
def working(url: str, database: Database, clock: FakeClock, post: MailSink, letters: Path) -> Iterator[Workers]:
    """Run workers for the portal at this URL."""
    runtime, registrar = back_of(database, clock).runtime, FakeRegistrar()
    mailer = SmtpMailer(post.url, "Standortverwaltung <noreply@portal.example>")
    ports = Ports(registrar, mailer, LetterFolder(letters, "Standortverwaltung"), registrar, registrar)
    yield Workers(replace(runtime, base_url=url, ports=ports), registrar, clock, post, letters)
    mailer.close()


def code_in(text: str) -> str:
    """Return the code in a mail or a letter."""
    return _found(CODE, text)


def link_in(text: str) -> str:
    """Return the URL in a mail or a letter."""
    return _found(r"(https?://\S+)", text)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


@dataclass(frozen=True)
class Visit:
    """A user at a page of the portal. Texts are given in German; `{}` in a text stands for a fact."""

    page: Page
    pages: Pages
    way: Way
    url: str
    main: Account
    person: User
    workers: Workers

    @property
    def database(self) -> Database:
        """The database of the portal."""
        return self.workers.runtime.database

    def say(self, words: str, *facts: str) -> str:
        """Return the text in the visit's language, with its facts."""
        return (words if self.way.language == "de" else ENGLISH.get(words, words)).format(*facts)

    def link(self, words: str, *facts: str) -> Locator:
        """Return the link with this name."""
        return self.page.get_by_role("link", name=self.say(words, *facts), exact=True)

    def button(self, words: str, *facts: str) -> Locator:
        """Return the button with this name."""
        return self.page.get_by_role("button", name=self.say(words, *facts), exact=True)

    def field(self, words: str) -> Locator:
        """Return the field with this label."""
        return self.page.get_by_label(self.say(words), exact=True)

    def choice(self, words: str) -> Locator:
        """Return the choice with this name, out of several that are explained."""
        return self.page.get_by_role("main").get_by_role("link").filter(has_text=self.say(words))

    def text(self, words: str, *facts: str) -> Locator:
        """Return the element with exactly this text."""
        return self.page.get_by_text(self.say(words, *facts), exact=True)

    def sees(self, words: str, *facts: str) -> None:
        """Expect a page with this heading that is no wider than the screen."""
        expect(self.page.get_by_role("heading", name=self.say(words, *facts), exact=True)).to_be_visible()
        # Before its styles are loaded, a page has no meaningful width.
        self.page.wait_for_load_state("load")
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), self.page.url

    def waits_for(self, words: str) -> None:
        """Expect the text to appear: by itself with JavaScript, otherwise after a reload."""
        if self.way.scripts:
            self.page.evaluate("dispatchEvent(new Event('focus'))")
        else:
            self.page.reload()
        expect(self.text(words)).to_be_visible()

    def card(self, number: str) -> Locator:
        """Return the card of the account in the overview."""
        says = self.page.get_by_text(self.say("Kundennummer: {}", number), exact=True)
        return self.page.get_by_role("main").get_by_role("listitem").filter(has=says)

    def sign_in(self) -> None:
        """Sign in on the sign-in page."""
        self.field("E-Mail-Adresse").fill(self.person.email)
        self.field("Passwort").fill(PASSWORD)
        self.button("Anmelden").click()
        enter_code_in_browser(self.page, self.workers.clock.now)
        expect(self.button("Abmelden")).to_be_visible()

    def open_portal(self) -> None:
        """Open the customer portal."""
        self.page.goto(self.url)
        self.sign_in()

    def open_locations(self) -> None:
        """Open Mein Produkt → Standortverwaltung."""
        self.open_portal()
        self.open_menu("Standortverwaltung")
        self.sees("Unternehmensstandorte")

    def open_menu(self, entry: str, *facts: str) -> None:
        """Open an entry of the menu Mein Produkt."""
        self.page.locator("summary").filter(has_text=self.say("Mein Produkt")).click()
        self.link(entry, *facts).click()

    def add_account(self, way: str) -> None:
        """Press Nebenaccount hinzufügen and choose one of the two ways."""
        self.open_locations()
        self.link("Nebenaccount hinzufügen").click()
        self.sees("Nebenaccount hinzufügen")
        self.choice(way).click()

    def requests(self) -> Sequence[Request]:
        """Return the requests in the database."""
        with self.database.transaction() as session:
            return session.scalars(sa.select(Request).order_by(Request.id)).all()

    def of(self, person: User) -> Visit:
        """Open the visit of another user, in a browser context of its own."""
        return replace(self, page=self.pages.open(self.way), person=person)
