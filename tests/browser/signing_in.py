"""Signing in without the form: the application signs the person in, and the browser gets the cookies of its answer.

This takes a fraction of the time that the sign-in page takes. It is for tests that are not about signing in.
"""

from __future__ import annotations

import re

from flask import Flask
from playwright.sync_api import Page
from werkzeug.http import parse_cookie

from tests.factories import PASSWORD
from tests.second_factor import enter_code


def sign_in_without_form(page: Page, app: Flask, url: str, email: str) -> None:
    """Sign in the person with this e-mail address to the application at `url`, also with a code if it asks for one.

    This replaces an earlier sign-in in this browser. The open page does not change.
    """
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = page.evaluate("navigator.userAgent")
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get("/anmelden").text)
    assert token is not None
    form = {"csrf_token": token[1], "email": email, "password": PASSWORD}
    answer = enter_code(client, client.post("/anmelden", data=form))
    assert answer.status_code == 302, answer.text
    for header in answer.headers.getlist("Set-Cookie"):
        [(name, value)] = parse_cookie(header.split(";")[0]).items()
        page.context.add_cookies([{"name": name, "value": value, "url": url}])
