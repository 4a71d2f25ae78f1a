"""A client of the portal's JSON API, as a customer's own system would use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import httpx

Path = Literal["orders", "link-requests"]


class UnexpectedAnswer(Exception):
    """Raised when the portal did not answer as expected; the message says what the answer was."""


@dataclass(frozen=True, slots=True)
class View:
    """A request as the API returns it; `timeline` has one sentence for each entry."""

    id: str
    status: str
    step: str
    reason: str | None
    customer_number: str
    timeline: tuple[str, ...]


class PortalApi:
    """A client of the portal's API with one bearer token. Every call raises `UnexpectedAnswer` if it fails."""

    def __init__(self, base_url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            transport=transport,
        )

    def submit(self, path: Path, body: dict[str, Any], key: str) -> View:
        """Submit an order or a link request under the idempotency key `key`. Raises `UnexpectedAnswer`.

        Safe to repeat: the same key creates only one request.
        """
        return self._view("POST", path, 202, json=body, headers={"Idempotency-Key": key})

    def request(self, id: str) -> View:
        """Return the current view of a request. Raises `UnexpectedAnswer`."""
        return self._view("GET", f"requests/{id}", 200)

    def cancel(self, id: str) -> View:
        """Cancel a request. Raises `UnexpectedAnswer`."""
        return self._view("POST", f"requests/{id}/cancel", 200, headers={"Idempotency-Key": f"cancel-{id}"})

    def retry(self, id: str) -> View:
        """Retry a request. Raises `UnexpectedAnswer`."""
        return self._view("POST", f"requests/{id}/retry", 200, headers={"Idempotency-Key": f"retry-{id}"})

    def hand_in(self, id: str, name: str, content: bytes) -> View:
        """Upload a document with file name `name` as proof of a request's address. Raises `UnexpectedAnswer`."""
        headers = {"Idempotency-Key": f"document-{id}"}
        path = f"requests/{id}/address-document"
        return self._view("POST", path, 200, files={"file": (name, content)}, headers=headers)

    def detach(self, customer_number: str) -> View:
        """Request that a sub-account be detached from the main account. Raises `UnexpectedAnswer`."""
        return self._view("DELETE", f"accounts/{customer_number}/link", 202)

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
