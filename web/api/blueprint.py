"""The API's blueprint, and the checks that run before every endpoint."""

from __future__ import annotations

import json

import structlog
from flask import Response, g, request
from flask_openapi3 import APIBlueprint

from models.people.api_tokens import use_token
from web.api.call_transaction import abandon_call_transaction, begin_call_transaction, end_call_transaction
from web.api.problems import problem
from web.caller import bearer_token
from web.resources import resources
from web.text_input import TooDeep, check_json_text, is_storable_text

api = APIBlueprint("api", __name__, url_prefix="/api/v1", abp_security=[{"bearer": []}])


_UPLOADS = frozenset({"api.upload_address_document", "api.upload_certificate_of_need"})
_WAITING = frozenset({"api.give_proof", "api.create_link_request"}) | _UPLOADS
"""The names of the endpoints that wait for Redis or for an uploaded file before they act."""


@api.before_request
def check_call() -> Response | None:
    """Authenticate the caller, then check the idempotency key, the content encoding, the content type and the JSON.

    Return a problem response (400, 401 or 415) for the first check that fails, None if none fails. Raises
    `TokenExpired` (401) for an expired token, and `InvalidField` (422) for text that PostgreSQL cannot store. Sets
    `g.principal`, the caller, and `g.account`, the account of the API token.

    The transaction that read both stays open for the endpoint's first `call_transaction`. It is committed at once if it
    recorded a use of the token, or if the endpoint waits for Redis or for an upload.
    """
    token = bearer_token()
    if token is None:
        return problem("unauthorized")
    if request.endpoint not in _WAITING:
        # Before the transaction begins, which a slow caller would keep open.
        request.get_data()
    with begin_call_transaction() as session:
        used = use_token(session, token, request.remote_addr or "", resources().clock())
    if used is None:
        return problem("unauthorized")
    g.principal, g.account = used.person, used.account
    if used.is_noted or request.endpoint in _WAITING:
        # So that the use is recorded also of a call that is refused.
        end_call_transaction()
    structlog.contextvars.bind_contextvars(user=used.person.user_id, token=used.person.token_id)
    key = request.headers.get("Idempotency-Key", "" if request.method == "POST" else None)
    if key is not None and not (1 <= len(key) <= 255 and is_storable_text(key)):
        return problem("idempotency_key_missing")
    if request.content_encoding not in (None, "identity"):
        return problem("encoded")
    if request.endpoint in _UPLOADS:
        return None if request.mimetype == "multipart/form-data" else problem("not_a_form")
    if request.method in ("POST", "PUT") and request.get_data():
        if not request.is_json:
            return problem("not_json_type")
        return _check_json_body()
    return None


@api.teardown_request
def end_call(_: BaseException | None) -> None:
    """Roll back the transaction that `check_call` left open, if the call was answered without using it."""
    abandon_call_transaction()


def _check_json_body() -> Response | None:
    try:
        body = request.get_json(silent=True)
        check_json_text(body)
    except (RecursionError, TooDeep):
        return problem("too_deep")
    return None if isinstance(body, dict) else problem("not_json")


def json_response(body: object, status: int = 200) -> Response:
    """Return a response with `body` as JSON and this HTTP status."""
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")
