"""Functions with which tests of the pages for proofs submit forms and read the answers."""

from __future__ import annotations

import re

from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.people.users import User
from tests.web.api.calls import a_link, owned
from tests.web.conftest import Back, Front
from tests.web.portal.page.test_portal import csrf

WRONG = "AAAAA AAAAA"


def send(front: Front, path: str, page: str = "", **fields: str) -> TestResponse:
    """Submit these fields to `path`, with the CSRF token of the page at `page` ("": at `path`); return the answer."""
    token = csrf(front.client.get(page or path).text)
    return front.client.post(path, data={"csrf_token": token, **fields})


def title(answer: TestResponse) -> str:
    """Return the heading of the page in the answer."""
    found = re.search(r"<h1>(.+?)</h1>", answer.text)
    assert found is not None
    return found[1]


def status(front: Front, id: str) -> str:
    """Return the status of the request with this id, as the API shows it."""
    found: str = front.get(f"/requests/{id}").get_json()["status"]
    return found


def asked(front: Front, back: Back) -> tuple[str, Account, User]:
    """Create a link request that waits for consent, and run the workers, which send the mail about it.

    Return its id, the account to be linked and that account's administrator.
    """
    account, owner = owned(front)
    id = a_link(front, account.customer_number).get_json()["id"]
    back.advance()
    return id, account, owner
