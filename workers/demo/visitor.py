"""A simulated browser without JavaScript that opens the portal's pages and sends forms."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx

from workers.demo.api import UnexpectedAnswer

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
CODE = re.compile(r"\b[A-Z0-9]{5} [A-Z0-9]{5}\b")


class Visitor:
    """One simulated browser with its own cookies, on the portal at `base_url`.

    Each method raises `UnexpectedAnswer` if the portal does not answer, or answers with another status code than 200.
    `transport` replaces the network, for tests.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=10, follow_redirects=True, transport=transport)

    def sign_in(self, email: str, password: str) -> None:
        """Open the sign-in page and send its form with this e-mail address and password.

        Raises `UnexpectedAnswer` if the portal answers with another status code than 200.
        """
        self.fill_in("/anmelden", email=email, password=password)

    def fill_in(self, page: str, send_to: str | None = None, **typed: str) -> str:
        """Open a page, send its form with the fields `typed`, and return the HTML of the page that follows.

        `page` is a path or a link. `send_to` is the path to which the form is sent; None means `page`. Raises
        `UnexpectedAnswer` if a page fails or has no form.
        """
        opened = self._page("GET", _path(page))
        token = _TOKEN.search(opened)
        if token is None:
            raise UnexpectedAnswer(f"GET {page}: there is no form on the page")
        return self._page("POST", send_to or _path(page), {"csrf_token": token[1], **typed})

    def close(self) -> None:
        """Close the browser's connections."""
        self._client.close()

    def _page(self, method: str, path: str, form: dict[str, str] | None = None) -> str:
        try:
            response = self._client.request(method, path, data=form)
        except httpx.HTTPError as error:
            raise UnexpectedAnswer(f"{method} {path}: {error}") from error
        if response.status_code != 200:
            raise UnexpectedAnswer(f"{method} {path}: {response.status_code}")
        return response.text


def code_on(page: str) -> str:
    """Return the first code (two groups of five letters or digits) in the text of a page, a mail or a letter.

    Raises `UnexpectedAnswer` if the text has no code.
    """
    found = CODE.search(page)
    if found is None:
        raise UnexpectedAnswer("there is no code to be read")
    return found[0]


def _path(address: str) -> str:
    # A link in a mail includes the host, which the client has already.
    return urlsplit(address).path
