"""The portal's pages as the customers of a chaos run use them, with a record of each try."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from models.people.rights import Principal
from tests.benchmarks import bulk, front
from tests.factories import PASSWORD

T = TypeVar("T")
_PORTAL = "/standortverwaltung"


@dataclass
class Pages:
    """A client of the portal's pages at `port`.

    `tried` records each try: `what` was tried, when it `began` and `ended` (seconds since 1970), and its `error` as
    text, None if it succeeded.
    """

    port: int
    tried: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, what: str, act: Callable[[], T]) -> T | None:
        """Call `act`, which uses the pages, and record the try under the name `what`.

        Return the result of `act`; None if a page could not be reached or was not as expected.
        """
        began, error = time.time(), None
        try:
            return act()
        except (httpx.HTTPError, AssertionError) as failure:
            error = repr(failure)[:300]
            return None
        finally:
            with self._lock:
                self.tried.append({"what": what, "began": began, "ended": time.time(), "error": error})

    def create_link_code(self, owner: Principal, customer_number: str) -> str:
        """Create a link code for the account as its administrator `owner`, and return it.

        A code that exists is replaced.
        """
        with front.signed_in(self.port, owner) as browser:
            form = {"csrf_token": front.field_of(_page(browser, "/verknuepfungscode"), "csrf_token")}
            path = f"/verknuepfungscode/{customer_number}"
            page = browser.post(path, data=form).raise_for_status().text
            if 'name="replace"' in page:
                replaced = {"replace": front.field_of(page, "replace")}
                page = browser.post(path, data=form | replaced).raise_for_status().text
        code = re.search('<p class="code">([^<]+)</p>', page)
        assert code is not None, page
        return code[1]

    def consent(self, owner: Principal, id: str) -> bool:
        """Consent to the link request `id` as `owner`, an administrator of the account to be linked.

        Return True, by which a caller of `attempt` knows that it succeeded. Safe to run twice: the second call changes
        nothing.
        """
        with front.signed_in(self.port, owner) as browser:
            path = f"/zustimmung/{id}"
            page = _page(browser, path)
            if 'name="decision"' in page:
                form = {"csrf_token": front.field_of(page, "csrf_token"), "decision": "accepted"}
                page = browser.post(path, data=form).raise_for_status().text
            assert 'name="decision"' not in page and 'name="password"' not in page, page
        return True

    def renew_secret(self, manager: Principal, customer_number: str) -> None:
        """Renew the SIP password of the account's trunk as `manager`. Fails if the account has no trunk yet."""
        with front.signed_in(self.port, manager) as browser:
            dashboard = _page(browser, f"{_PORTAL}/{customer_number}")
            path = re.search(rf"{_PORTAL}/{customer_number}/sip/\d+/erneuern", dashboard)
            assert path is not None, dashboard
            page = _page(browser, path[0])
            form = {name: front.field_of(page, name) for name in ("csrf_token", "issue")} | {"password": PASSWORD}
            browser.post(path[0], data=form).raise_for_status()

    def add_forwarding(self, manager: Principal, customer_number: str) -> None:
        """Add a forwarding of all calls, as `manager`, to an account that has no forwarding yet."""
        with front.signed_in(self.port, manager) as browser:
            path = f"{_PORTAL}/{customer_number}/rufweiterleitung/neu"
            form = {"condition": "always", "target": "+4930901820", "when": "all", "enabled": "y"}
            form["csrf_token"] = front.field_of(_page(browser, path), "csrf_token")
            browser.post(path, data=form | {"after_seconds": "20"}).raise_for_status()

    def send_file(self, manager: Principal, customer_number: str, content: bytes) -> str:
        """Upload `content` as a bulk file of orders for the account, send it off, and return the id of the bulk.

        Safe to run twice: a file with the same content does not make a second bulk.
        """
        with front.signed_in(self.port, manager) as browser:
            page = bulk.upload(browser, customer_number, content)
            if 'name="shown"' in page.text:
                page = bulk.send(browser, page)
            assert 'name="shown"' not in page.text and page.url.path.startswith(bulk.START), page.text
            return page.url.path.rsplit("/", 1)[1]


def _page(browser: httpx.Client, path: str) -> str:
    return browser.get(path).raise_for_status().text
