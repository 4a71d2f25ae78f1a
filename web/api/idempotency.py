"""Idempotent calls: a repeated call with the same `Idempotency-Key` and body gets the saved answer of the first."""

from __future__ import annotations

import json
import uuid
from typing import Any

import structlog
from flask import Response, request
from sqlalchemy.orm import Session

from models.requests.idempotency import IdempotencyKey, reserve_key
from models.requests.requests import Request
from web.api.access import caller, detached_token_account, now
from web.api.blueprint import json_response
from web.resources import resources

log = structlog.get_logger()


class IdempotentCall:
    """An API call with its idempotency key: its first answer is saved and sent again when the call is repeated.

    An endpoint gets an instance from `begin_call`, inside a transaction. `is_new` is True if no answer was saved with
    the key yet: only then does the endpoint act and call `save_answer`. After the commit the endpoint calls
    `log_acceptance` and returns `response()`.
    """

    def __init__(self, session: Session, row: IdempotencyKey) -> None:
        self._session, self._row = session, row
        self._answer = row.answer
        self._due_request: str | None = None
        self.is_new = row.answer is None
        """Whether the key has no saved answer yet, so that the endpoint has to act."""

    @property
    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer saved with the key. An answer must have been saved."""
        body: dict[str, Any] = self._saved()["body"]
        return body

    def save_answer(
        self, status: int, body: dict[str, Any], *, about: Request | None = None, location: str | None = None
    ) -> None:
        """Save the answer of the call (HTTP status and JSON body) with the key, in the open transaction.

        `about` is the request that the call created or changed, None without one; `location` is the value of the
        Location header, None for no such header.
        """
        self._answer = {"status": status, "location": location, "body": body}
        self._row.save_answer(self._session, self._answer, about.id if about is not None else None)
        if about is not None:
            self._due_request = str(about.id) if about.due_at is not None else None

    def release_key(self) -> None:
        """Delete the key that `begin_call` reserved, so that the caller can use it again after the commit.

        For a call that failed: when the caller repeats it, the endpoint acts again.
        """
        self._session.delete(self._row)

    def log_acceptance(self) -> None:
        """Log that this call has created or changed a request that workers have to process; call it after the commit.

        Logs nothing if the call is a repeated one, or if the request does not wait for workers.
        """
        if self._due_request is not None:
            log.info("request.accepted", request=self._due_request, path=request.path)

    def response(self, body: dict[str, Any] | None = None) -> Response:
        """Return the answer saved with the key as a response.

        `body` is sent in place of the saved body; None sends the saved one. A repeated answer has the header
        `Idempotency-Replayed: true`. An answer must have been saved.
        """
        saved = self._saved()
        response = json_response(body or saved["body"], saved["status"])
        if saved["location"]:
            response.headers["Location"] = saved["location"]
        if not self.is_new:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def _saved(self) -> dict[str, Any]:
        assert self._answer is not None
        return self._answer


def begin_call(session: Session, content: bytes = b"", *, lock: str | None = None) -> IdempotentCall:
    """Reserve the `Idempotency-Key` of the current call in the open transaction; return the call with any saved answer.

    A concurrent call with the same key waits until the transaction ends; a rollback releases the key. A call without a
    key gets a random one. `content` is the part of the body that is not JSON, such as an uploaded file. `lock` names an
    advisory lock to take in the same statement, after the key is reserved (`take_advisory_lock`); None takes none.
    Raises `IdempotencyConflict` if the caller has sent the key before with another method, address or body.
    """
    key = request.headers.get("Idempotency-Key") or str(uuid.uuid4())
    row = reserve_key(session, detached_token_account().id, caller().user_id, key, _fingerprints(content), now(), lock)
    return IdempotentCall(session, row)


def _fingerprints(content: bytes) -> list[bytes]:
    # Keyed: a body may hold a password, which nobody shall be able to guess from the database.
    canonical = json.dumps(request.get_json(silent=True), sort_keys=True, separators=(",", ":"))
    query = request.query_string.decode("latin-1")
    address = f"{request.path}?{query}" if query else request.path
    text = f"{request.method} {address}\n{canonical}"
    return resources().vault.fingerprints("call", text.encode() + content)
