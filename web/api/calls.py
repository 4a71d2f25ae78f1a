"""What every call of the API has in common: who is calling, what is theirs, and one answer to one key."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from flask import Response, g, request
from flask_openapi3 import APIBlueprint
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.errors import Forbidden, NotAccepted, NotFound
from models.people.api_tokens import principal_by_token
from models.people.rights import Action, Principal, may
from models.requests.idempotency import KEPT_FOR, reserve_key
from models.requests.requests import Request, concerns, may_change
from models.views import lists
from tasks.hints import hint
from web.api.bodies import request_body
from web.api.problems import problem
from web.resources import resources
from web.unreadable import TooDeep, ensure_readable, is_readable

log = structlog.get_logger()

api = APIBlueprint("api", __name__, url_prefix="/api/v1", abp_security=[{"bearer": []}])

POST = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": f"The same key and body give the same answer, for {KEPT_FOR.days} days.",
        }
    ]
}


@api.before_request
def authenticate() -> Response | None:
    """Find out who is calling, and refuse what is no JSON before anything else is looked at."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    with resources().database.transaction() as session:
        principal = principal_by_token(session, token.strip()) if scheme.lower() == "bearer" else None
        account = lists.token_account(session, principal) if principal else None
    if principal is None or account is None:
        return problem("unauthorized")
    g.principal, g.account = principal, account
    key = request.headers.get("Idempotency-Key", "")
    if request.method == "POST" and not (1 <= len(key) <= 255 and is_readable(key)):
        return problem("idempotency_key_missing")
    if request.endpoint == "api.upload_address_document":
        return None if request.mimetype == "multipart/form-data" else problem("not_a_form")
    if request.method == "POST" and request.get_data():
        if not request.is_json:
            return problem("not_json_type")
        return _refuse_body()
    return None


def _refuse_body() -> Response | None:
    try:
        body = request.get_json(silent=True)
        ensure_readable(body)
    except (RecursionError, TooDeep):
        return problem("too_deep")
    return None if isinstance(body, dict) else problem("not_json")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and kept with the key. `about`: the request that it is about."""

    status: int
    body: dict[str, Any]
    about: Request | None = None
    location: str | None = None


class WrongTry(Exception):
    """What was tried is wrong. That is kept, the key is not; `refusal` is what the caller hears."""

    def __init__(self, refusal: NotAccepted) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def _as_it_is(body: dict[str, Any]) -> dict[str, Any]:
    return body


def once(
    act: Callable[[Session], Answer],
    content: bytes = b"",
    shown: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is,
) -> Response:
    """The same key and body give the same answer; an answer that was an error keeps no key.

    `content` belongs to the body if that is no JSON; `shown` makes the body out of what was kept.
    """
    key = request.headers["Idempotency-Key"]
    refusal, due = None, None
    with resources().database.transaction() as session:
        kept = reserve_key(session, token_account().id, caller().user_id, key, _fingerprint(content), now())
        replayed = kept.answer is not None
        if kept.answer is None:
            try:
                answer = act(session)
                kept.request_id = answer.about.id if answer.about is not None else None
                kept.answer = {"status": answer.status, "location": answer.location, "body": answer.body}
                due = answer.about if answer.about is not None and answer.about.due_at is not None else None
            except WrongTry as wrong:
                # Committed all the same: the try counts.
                refusal = wrong.refusal
                session.delete(kept)
        said = kept.answer
    if refusal is not None:
        raise refusal
    if due is not None:
        log.info("request.accepted", request=str(due.id), path=request.path)
        hint()
    assert said is not None
    response = as_json(shown(said["body"]), said["status"])
    if said["location"]:
        response.headers["Location"] = said["location"]
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _fingerprint(content: bytes) -> bytes:
    # Keyed: a body may hold a password, which nobody shall be able to guess from the database.
    canonical = json.dumps(request.get_json(silent=True), sort_keys=True, separators=(",", ":"))
    text = f"{request.method} {request.path}\n{canonical}"
    return resources().vault.fingerprint("call", text.encode() + content)


def caller() -> Principal:
    """Who is calling."""
    principal = g.principal
    assert isinstance(principal, Principal)
    return principal


def token_account() -> Account:
    """The account of the caller's token, as it was read when the call began."""
    account = g.account
    assert isinstance(account, Account)
    return account


def main(session: Session) -> Account:
    """The account of the caller's token, in this session."""
    return session.merge(token_account(), load=False)


def viewed(session: Session) -> Account:
    """The same, to look at. Raises `Forbidden`."""
    account = main(session)
    if not may(caller(), Action.VIEW, account):
        raise Forbidden
    return account


def own_request(session: Session, id: str, *, lock: bool = False) -> Request:
    """A request that concerns the caller. Raises `NotFound`, also for those of others, or `Forbidden`."""
    viewed(session)
    found = session.get(Request, as_uuid(id, NotFound()), with_for_update=lock or None)
    if found is None or not concerns(session, caller(), found):
        raise NotFound
    return found


def known_account(session: Session, customer_number: str, action: Action = Action.VIEW) -> Account:
    """An account that the caller may see, or do this to. Raises `NotFound`."""
    account = account_by_number(session, customer_number)
    if account is None or not (may(caller(), Action.VIEW, account) or may(caller(), action, account)):
        raise NotFound
    return account


def changeable(session: Session, id: str, *, lock: bool = False) -> Request:
    """A request that the caller may do something to. Raises `NotFound` or `Forbidden`."""
    found = own_request(session, id, lock=lock)
    if not may_change(session, caller(), found):
        raise Forbidden
    return found


def changed(session: Session, found: Request) -> Answer:
    """The request as it is after a change."""
    session.flush()
    return Answer(200, request_body(session, found), found)


def as_uuid(text: str, otherwise: Exception) -> uuid.UUID:
    """What the text stands for; raises `otherwise` if that is nothing."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise otherwise from None


def now() -> datetime:
    """The time, by the front's clock."""
    return resources().clock()


def address_of(of: Request) -> str:
    """Where the request can be looked at."""
    return f"/api/v1/requests/{of.id}"


def as_json(body: object, status: int = 200) -> Response:
    """The body as an answer."""
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")
