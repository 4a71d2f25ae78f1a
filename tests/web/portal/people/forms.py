"""Submits forms of the portal's pages about people, and finds the links in the mails that follow."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.people.rights import Role
from tests.web.conftest import BASE_URL, Back, Front
from tests.web.portal.page.test_portal import csrf

NEW = "vier Wörter die bleiben"


def post(client: FlaskClient, path: str, form: str | None = None, **data: str) -> TestResponse:
    """Submit these fields to `path`; return the answer.

    The CSRF token is taken from the page at the path `form` (None: at `path`).
    """
    return client.post(path, data={"csrf_token": csrf(client.get(form or path).text), **data})


def link_to(back: Back, address: str) -> str:
    """Run the workers, and return the path of the first link in the newest mail to this address."""
    back.advance()
    text = [mail.text for mail in back.mailer.sent if mail.recipient_address == address][-1]
    found = re.search(rf"{BASE_URL}(/\S+)", text)
    assert found is not None
    return found[1]


def invite(front: Front, email: str, role: Role = Role.LOCATION_MANAGER) -> TestResponse:
    """Invite Hanna Palmer at this e-mail address to the main account, as the signed-in manager; return the answer."""
    path = f"/benutzer/{front.main.customer_number}/einladen"
    return post(front.client, path, name="Hanna Palmer", email=email, role=role)
