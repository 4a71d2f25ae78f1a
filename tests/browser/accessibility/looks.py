"""Checks of a page: valid HTML, no axe-core violations, no horizontal scrolling.

The decorator `shows` declares which pages a test visits.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import Locator, Page, ViewportSize, expect
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from models.people.users import User
from tests.browser.axe import SHAPES, assert_accessible, has_passed
from tests.browser.conftest import Portal
from tests.browser.signing_in import sign_in_without_form
from tests.web.html import assert_valid

OVERVIEW, NEW, ADD = "/standortverwaltung", "/standortverwaltung/neu", "/standortverwaltung/hinzufuegen"

PROMISED: dict[str, set[str]] = {}
"""The Flask endpoints that each test declares with `shows`, by the test's name."""

looked: list[str] = []
"""The addresses of the pages that the running test has checked."""


def shows(*endpoints: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that declares which pages a test visits; the test fails if it leaves one out.

    `endpoints` are the names of the pages' Flask endpoints.
    """

    def promise(test: Callable[..., None]) -> Callable[..., None]:
        PROMISED.setdefault(test.__name__, set()).update(endpoints)
        return test

    return promise


def endpoint_of(app: Flask, url: str) -> str | None:
    """Return the name of the endpoint that answers a GET of this URL; None if there is none."""
    try:
        return str(app.url_map.bind("portal").match(urlsplit(url).path, method="GET")[0])
    except (HTTPException, RequestRedirect):
        return None


def look(page: Page, address: str) -> None:
    """Open `address` and check the page: valid HTML, no axe-core violations, and no horizontal scrolling."""
    answer = page.goto(address)
    assert answer is not None
    assert_valid(answer.text())
    look_as_it_is(page)


def look_after(page: Page, pressed: Locator) -> None:
    """Press the button or link `pressed` and check the page that follows.

    Its HTML must be valid, axe-core must find no violation, and nothing may scroll horizontally.
    """
    with page.expect_navigation() as navigation:
        pressed.click()
    assert_valid(navigation.value.text())
    look_as_it_is(page)


def look_wrong(page: Page, button: Locator | None = None) -> None:
    """Submit the form with its present, faulty content, and check the page that follows.

    Presses `button` (None: the form's main button). The page must show an error, have valid HTML and no axe-core
    violations, and not scroll horizontally.
    """
    look_after(page, button or page.get_by_role("main").locator("form .primary, form .danger").first)
    expect(page.get_by_role("alert")).to_be_visible()


# Tables are read from top to bottom on a narrow screen, and none scrolls sideways in its frame (WCAG 1.4.10).
_TOO_WIDE = """[...document.querySelectorAll(".table-frame")]
  .filter((frame) => frame.scrollWidth > frame.clientWidth)
  .map((frame) => [frame.getAttribute("aria-label"), ...[...frame.querySelectorAll("*")]
    .filter((part) => part.getBoundingClientRect().right > frame.getBoundingClientRect().right)
    .map((part) => part.outerHTML.slice(0, 90))])"""


# Buttons that have wrapped keep apart, and each figure stands below its heading, not at the other side of the screen.
_TOUCHING = """[...document.querySelectorAll(".actions")].flatMap((actions) => {
  const buttons = [...actions.querySelectorAll("button, .primary, .secondary, .danger")];
  const boxes = buttons.map((one) => one.getBoundingClientRect());
  return boxes.flatMap((above, i) => boxes.slice(i + 1)
    .filter((below) => above.left < below.right && below.left < above.right && below.top - above.bottom < 4)
    .map(() => buttons[i].outerHTML.slice(0, 90)));
})"""
_AT_THE_END = """[...document.querySelectorAll(".is-stacking :is(tbody, tfoot) :is(th, td)")]
  .filter((cell) => ["end", "right"].includes(getComputedStyle(cell).textAlign))
  .map((cell) => cell.outerHTML.slice(0, 90))"""
_SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"
# Asked for at once, as each question to the browser takes as long as its answer.
_NARROW = f"() => [{_SIDEWAYS}, {_TOO_WIDE}, {_TOUCHING}, {_AT_THE_END}, ({SHAPES})()]"
_NARROW_SCREEN: ViewportSize = {"width": 320, "height": 640}


def look_as_it_is(page: Page) -> None:
    """Check the page that is open now, without loading it again, on a narrow screen and on a desktop.

    At a width of 320 pixels, page and tables must not scroll horizontally, buttons must not touch, and the cells of
    tables that are shown as lists must not be aligned to the right. On a desktop axe-core must find no violation. The
    screen is narrow again afterwards.
    """
    looked.append(page.url)
    if page.viewport_size != _NARROW_SCREEN:
        page.set_viewport_size(_NARROW_SCREEN)
    # Before its styles are loaded, a page has no meaningful width.
    page.wait_for_load_state("load")
    scrolls, *wrong, shapes = page.evaluate(_NARROW)
    assert not scrolls, page.url
    for found in wrong:
        assert not found, found
    if not has_passed(shapes):
        page.set_viewport_size({"width": 1280, "height": 800})
        assert_accessible(page)
        page.set_viewport_size(_NARROW_SCREEN)


def sign_in_as(page: Page, portal: Portal, person: User) -> None:
    """Sign in as this person without the form, also with a code of an authenticator app. Opens no page."""
    sign_in_without_form(page, portal.app, portal.url, person.email)
