"""A user's visit to the portal in a real browser, in German or English, on a desktop or a phone.

The workers are real: mails are sent by SMTP and letters are printed to PDF. Only the registrar is a fake.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, WebError, expect

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.users import User
from models.requests.requests import Request
from models.values import Locale
from tests.browser.signing_in import sign_in_without_form
from tests.browser.specified_texts import ENGLISH
from tests.browser.working import Workers
from tests.factories import PASSWORD
from tests.second_factor import enter_code_in_browser

PHONE = (320, 640)
_MOST_KEPT = 4
"""How many unused browser contexts are kept at most: each needs the memory of a process."""


def chromium() -> str | None:
    """Return the path of Debian's Chromium: its headless shell, else the whole browser; None if it is not on PATH."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


@dataclass(frozen=True)
class Device:
    """The device of a visitor's browser: its language, screen size, and whether JavaScript runs (`scripts`).

    `size` is the screen's width and height in pixels.
    """

    language: Locale = "de"
    size: tuple[int, int] = (1280, 800)
    scripts: bool = True

    def __str__(self) -> str:
        return f"{self.language}-{self.size[0]}{'' if self.scripts else '-without scripts'}"


DESKTOP = Device()


# Every test runs once in each language and size, the main tests in every combination.
ONCE_EACH = [DESKTOP, Device("en", PHONE)]


EVERYWHERE = [*ONCE_EACH, Device("de", PHONE), Device("en")]


class Contexts:
    """A pool of browser contexts that tests reuse, because a new context starts a process and loads all files again.

    A test takes a context for the device that it needs, and gives it back at its end. Then its pages are closed and its
    cookies deleted; the browser's cache of files stays. The portal's pages store nothing else in a
    browser (`tests/web/test_response_headers.py`).
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[tuple[Device, BrowserContext]] = []

    def take(self, device: Device) -> BrowserContext:
        """Take an unused context for this device out of this pool, or create one, and return it."""
        for place, (kept, context) in enumerate(self._idle):
            if kept == device:
                del self._idle[place]
                return context
        width, height = device.size
        context = self._browser.new_context(
            locale={"de": "de-DE", "en": "en-GB"}[device.language],
            viewport={"width": width, "height": height},
            has_touch=device.size == PHONE,
            java_script_enabled=device.scripts,
        )
        context.set_default_timeout(10_000)
        # As long as it is there, the context's process stays.
        context.new_page()
        return context

    def give_back(self, device: Device, context: BrowserContext) -> None:
        """Put a browser context back into this pool of unused ones: close its pages and delete its cookies.

        `device` is the one for which `take` has returned it. If there are then more than four
        (`_MOST_KEPT`) in the pool, the one that has been there the longest is closed.
        """
        for page in context.pages[1:]:
            page.close()
        context.clear_cookies()
        context.set_offline(False)
        self._idle.append((device, context))
        if len(self._idle) > _MOST_KEPT:
            self._idle.pop(0)[1].close()


class Pages:
    """Opens pages, each in a separate browser context.

    Records the script errors of the pages, and the resources that the Content Security Policy blocks; `close` fails if
    there were any.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._taken: list[tuple[Device, BrowserContext]] = []
        self._broken: list[str] = []

    def open(self, device: Device = DESKTOP) -> Page:
        """Open a page in a browser context without cookies.

        The context has the language, screen size and JavaScript setting of `device`.
        """
        context = self._contexts.take(device)
        self._taken.append((device, context))
        context.on("weberror", self._note)
        context.on("console", self._hear)
        return context.new_page()

    def close(self) -> None:
        """Close all pages. Fail if a page had an uncaught script error or broke the Content Security Policy."""
        for device, context in self._taken:
            self._contexts.give_back(device, context)
            context.remove_listener("weberror", self._note)
            context.remove_listener("console", self._hear)
        assert self._broken == []

    def _note(self, error: WebError) -> None:
        self._broken.append(str(error.error))

    def _hear(self, said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            self._broken.append(said.text)


@dataclass(frozen=True)
class Visit:
    """A user at the portal in a browser, and the workers that process what the user has ordered.

    `person` is the user, `main` the user's main account, `device` the language and the screen. The methods are given
    the pages' texts in German, and look for them in the visit's language. The first of the `facts` replaces the first
    `{}` in a text, and so on; a fact is for example a customer number.
    """

    page: Page
    pages: Pages
    device: Device
    app: Flask
    url: str
    main: Account
    person: User
    workers: Workers

    @property
    def database(self) -> Database:
        """Return the portal's database."""
        return self.workers.runtime.database

    def say(self, words: str, *facts: str) -> str:
        """Return the German text `words`, translated to the visit's language; `facts` replace each `{}`."""
        return (words if self.device.language == "de" else ENGLISH.get(words, words)).format(*facts)

    def link(self, words: str, *facts: str) -> Locator:
        """Return the link with the text `words`; `facts` replace each `{}`.

        `words` is German; the link is looked for in the visit's language.
        """
        return self.page.get_by_role("link", name=self.say(words, *facts), exact=True)

    def button(self, words: str, *facts: str) -> Locator:
        """Return the button with the text `words`; `facts` replace each `{}`.

        `words` is German; the button is looked for in the visit's language.
        """
        return self.page.get_by_role("button", name=self.say(words, *facts), exact=True)

    def field(self, words: str) -> Locator:
        """Return the form field with the label `words`.

        `words` is German; the field is looked for in the visit's language.
        """
        return self.page.get_by_label(self.say(words), exact=True)

    def choice(self, words: str) -> Locator:
        """Return the link in the main part of the page whose text contains `words`, for example before an explanation.

        `words` is German; the link is looked for in the visit's language.
        """
        return self.page.get_by_role("main").get_by_role("link").filter(has_text=self.say(words))

    def text(self, words: str, *facts: str) -> Locator:
        """Return the element whose whole text is `words`; `facts` replace each `{}`.

        `words` is German; the element is looked for in the visit's language.
        """
        return self.page.get_by_text(self.say(words, *facts), exact=True)

    def sees(self, words: str, *facts: str) -> None:
        """Expect a page with the heading `words` that is no wider than the screen; `facts` replace each `{}`.

        `words` is German; the heading is looked for in the visit's language.
        """
        expect(self.page.get_by_role("heading", name=self.say(words, *facts), exact=True)).to_be_visible()
        # Before its styles are loaded, a page has no meaningful width.
        self.page.wait_for_load_state("load")
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), self.page.url

    def waits_for(self, words: str) -> None:
        """Make the page update itself, or reload it if JavaScript is disabled, and expect the text `words` on it.

        `words` is German; it is expected in the visit's language.
        """
        if self.device.scripts:
            self.page.evaluate("dispatchEvent(new Event('focus'))")
        else:
            self.page.reload()
        expect(self.text(words)).to_be_visible()

    def card(self, number: str) -> Locator:
        """Return the card of the account with this customer number in the overview."""
        says = self.page.get_by_text(self.say("Kundennummer: {}", number), exact=True)
        return self.page.get_by_role("main").get_by_role("listitem").filter(has=says)

    def sign_in(self) -> None:
        """Fill in the sign-in page that is open, and the code of a second factor if it is asked for."""
        self.field("E-Mail-Adresse").fill(self.person.email)
        self.field("Passwort").fill(PASSWORD)
        self.button("Anmelden").click()
        enter_code_in_browser(self.page, self.workers.clock.now)
        expect(self.button("Abmelden")).to_be_visible()

    def open_portal(self, *, by_form: bool = False) -> None:
        """Sign in and open the first page that the portal shows the user.

        With `by_form` the sign-in page is filled in; otherwise the browser only gets the cookies that a sign-in sets.
        """
        if not by_form:
            sign_in_without_form(self.page, self.app, self.url, self.person.email)
        self.page.goto(self.url)
        if by_form:
            self.sign_in()

    def open_locations(self, *, by_form: bool = False) -> None:
        """Sign in, and open Standortverwaltung in the menu Mein Produkt. With `by_form`, fill in the sign-in page."""
        self.open_portal(by_form=by_form)
        self.open_menu("Standortverwaltung")
        self.sees("Unternehmensstandorte")

    def open_menu(self, entry: str, *facts: str) -> None:
        """Open the menu Mein Produkt and follow the link with the text `entry`; `facts` replace each `{}`.

        `entry` is German; the link is looked for in the visit's language.
        """
        self.page.locator("summary").filter(has_text=self.say("Mein Produkt")).click()
        self.link(entry, *facts).click()

    def add_account(self, way: str, *, by_form: bool = False) -> None:
        """Sign in, press Nebenaccount hinzufügen, and follow the link with the German text `way`.

        The link leads to the order of a new sub-account, or to linking an existing account; it is looked for in the
        visit's language. With `by_form`, fill in the sign-in page.
        """
        self.open_locations(by_form=by_form)
        self.link("Nebenaccount hinzufügen").click()
        self.sees("Nebenaccount hinzufügen")
        self.choice(way).click()

    def requests(self) -> Sequence[Request]:
        """Return all requests in the database, the oldest first."""
        with self.database.transaction() as session:
            return session.scalars(sa.select(Request).order_by(Request.id)).all()

    def of(self, person: User) -> Visit:
        """Return a visit of another user in a new browser context, with the same language, screen and workers."""
        return replace(self, page=self.pages.open(self.device), person=person)
