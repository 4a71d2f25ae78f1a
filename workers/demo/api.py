"""A client of the portal's JSON API, like one that a customer's own system would have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import httpx

Path = Literal["orders", "link-requests", "changes", "numbers", "moves", "cancellations"]


class UnexpectedAnswer(Exception):
    """Raised when the portal or a mailbox did not give the expected answer; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class View:
    """A request of any kind as the API returns it; `timeline` has one sentence for each event so far."""

    id: str
    status: str
    step: str
    reason: str | None
    customer_number: str
    timeline: tuple[str, ...]


class PortalApi:
    """A client of the portal's API at `base_url`, with one bearer token.

    Every method raises `UnexpectedAnswer` if the portal does not answer, or answers with another status code than
    expected. `transport` replaces the network, for tests.
    """

    def __init__(self, base_url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            transport=transport,
        )

    def submit(self, path: Path, body: dict[str, Any], key: str) -> View:
        """Submit a request with the JSON `body` under the idempotency key `key`, and return the created request.

        `path` says of which kind: `orders`, `link-requests`, `changes`, `numbers`, `moves` or `cancellations`. Safe to
        repeat: the same key creates only one request. Raises `UnexpectedAnswer` if the portal refuses it.
        """
        return self._view("POST", path, 202, json=body, headers={"Idempotency-Key": key})

    def request(self, id: str) -> View:
        """Return the request with this id as it is now. Raises `UnexpectedAnswer` if the portal does not return it."""
        return self._view("GET", f"requests/{id}", 200)

    def cancel(self, id: str) -> View:
        """Cancel the request with this id, and return it. Raises `UnexpectedAnswer` if the portal refuses to."""
        return self._view("POST", f"requests/{id}/cancel", 200, headers={"Idempotency-Key": f"cancel-{id}"})

    def retry(self, id: str) -> View:
        """Retry the held or failed request with this id and return it. Raises `UnexpectedAnswer` if it is refused."""
        return self._view("POST", f"requests/{id}/retry", 200, headers={"Idempotency-Key": f"retry-{id}"})

    def hand_in(self, id: str, name: str, content: bytes, as_what: str = "address-document") -> View:
        """Upload a document for the request with this id, and return the request afterwards.

        `as_what` is the last part of the API's path: "address-document" for a proof of the connection address,
        "certificate" for a certificate of need. `name` is the document's file name. Raises `UnexpectedAnswer` if the
        portal does not accept the document.
        """
        headers = {"Idempotency-Key": f"document-{id}"}
        path = f"requests/{id}/{as_what}"
        return self._view("POST", path, 200, files={"file": (name, content)}, headers=headers)

    def detach(self, customer_number: str, day: date | None = None) -> View:
        """Submit a request to detach a sub-account from its main account, and return the request.

        The account is detached at the beginning of the day `day`; None: at once. Raises `UnexpectedAnswer` if the
        portal does not accept the request.
        """
        query = {"effective_on": day.isoformat()} if day is not None else {}
        return self._view("DELETE", f"accounts/{customer_number}/link", 202, params=query)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def _view(self, method: str, path: str, expected: int, **more: Any) -> View:
        try:
            response = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise UnexpectedAnswer(f"{method} {path}: {error}") from error
        if response.status_code != expected:
            raise UnexpectedAnswer(f"{method} {path}: {response.status_code}, {response.text[:500]}")
        body = response.json()
        return View(
            id=body["id"],
            status=body["status"],
            step=body["step"],
            reason=body["reason"],
            customer_number=body["customer_number"],
            timeline=tuple(entry["text"] for entry in body["timeline"]),
        )
