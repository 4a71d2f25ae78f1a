"""Enters the second factor for tests: the codes that an authenticator app would show."""

from __future__ import annotations

import re
from datetime import datetime

import pyotp
from flask.testing import FlaskClient
from playwright.sync_api import Page
from werkzeug.test import TestResponse

from tests.factories import APP_SECRET
from web.resources import resources


def app_codes(now: datetime, secret: str = APP_SECRET) -> list[str]:
    """Return the codes that the portal accepts now from an authenticator app with this secret, the oldest first.

    The portal accepts each code once, and no code after a newer one.
    """
    return [pyotp.TOTP(secret).at(now, counter_offset=offset) for offset in (-1, 0, 1)]


def enter_code_in_browser(page: Page, now: datetime) -> None:
    """Wait until the next page has loaded; if it asks for a code of the authenticator app, enter one."""
    field, arrived = page.locator("input[autocomplete=one-time-code]"), page.locator("form[action='/abmelden']")
    field.or_(arrived).first.wait_for()
    for code in app_codes(now):
        if not field.is_visible():
            break
        field.fill(code)
        with page.expect_navigation():
            field.press("Enter")


def enter_code(client: FlaskClient, answer: TestResponse) -> TestResponse:
    """Enter the code of the user's authenticator app if the page `answer` asks for one; return the page that follows.

    If the page does not ask for a code, return `answer` itself.
    """
    form = re.search(
        r'<form method="post" action="(/anmelden/faktor[^"]*|/anmeldung/bestaetigen[^"]*)".*?</form>',
        answer.text,
        re.DOTALL,
    )
    if form is None:
        return answer
    with client.application.app_context():
        codes = app_codes(resources().clock())
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
    for code in codes:
        answer = client.post(form[1].replace("&amp;", "&"), data={**fields, "code": code})
        if answer.status_code != 422:
            break
    return answer
