"""The error responses of the API as problem details (RFC 9457), in the caller's language.

A response names the wrong fields and says what the caller can do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from flask import Response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from models import errors
from models.states import ProofMethod, Reason
from models.values import Locale, as_locale
from tasks.wording.closing_obstacles import obstacle_text
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from tasks.wording.formats import long_date, moment_text
from tasks.wording.labels import status_text
from tasks.wording.reasons import reason_text
from tasks.wording.translate import N_, translate
from web.refused_fields import note_refused
from web.resources import resources

log = structlog.get_logger()


MOST_ERRORS = 100
"""The greatest number of field errors that one response lists."""

NO_MEMBERS: Mapping[str, object] = {}
"""An empty mapping, for a problem whose body has no members beyond the standard ones."""

# code: HTTP status, title, detail.
PROBLEMS: Mapping[str, tuple[int, str, str]] = {
    "not_json": (
        400,
        N_("No readable JSON"),
        N_("The body has to be a JSON object."),
    ),
    "too_deep": (
        400,
        N_("Nested too deep"),
        N_("No body of the API is nested as deep as that."),
    ),
    "idempotency_key_missing": (
        400,
        N_("Idempotency-Key is missing"),
        N_("Send an Idempotency-Key of your own with every POST, 1 to 255 characters, for example a UUID."),
    ),
    "unauthorized": (
        401,
        N_("Not authenticated"),
        N_("Send a valid API token: Authorization: Bearer …"),
    ),
    "token_expired": (
        401,
        N_("API token expired"),
        N_("This token expired at %(expired_at)s. An administrator of the account makes a new one under Users."),
    ),
    "forbidden": (
        403,
        N_("Not allowed"),
        N_("This token, or the person behind it, may not do that to this account."),
    ),
    "not_found": (
        404,
        N_("Not found"),
        N_("There is no such thing, or not for you."),
    ),
    "method_not_allowed": (
        405,
        N_("Method not allowed"),
        N_("This address does not know the method."),
    ),
    "already_requested": (
        409,
        N_("Already requested"),
        N_("A request for this account is running: %(request)s"),
    ),
    "rule_broken": (409, N_("Not possible"), "%(reason)s"),
    "later_change_planned": (
        409,
        N_("Not possible"),
        N_("A later change, for %(day)s, was agreed on top of this one. Take that one back first."),
    ),
    "cannot_close": (409, N_("Not possible"), "%(reason)s"),
    "too_late": (
        409,
        N_("Too late"),
        N_("That is not possible any more in this state: %(status)s"),
    ),
    "not_awaited": (
        409,
        N_("Not awaited"),
        N_("This request does not wait for that, or not any more. What it waits for is under next and proofs."),
    ),
    "too_large": (
        413,
        N_("Too large"),
        N_("The body is too large; a document has 10 MB."),
    ),
    "not_a_form": (
        415,
        N_("Wrong content type"),
        N_("Send the document as the field file in multipart/form-data."),
    ),
    "encoded": (
        415,
        N_("Content is encoded"),
        N_("Send the body as it is, without Content-Encoding."),
    ),
    "not_json_type": (
        415,
        N_("Wrong content type"),
        N_("Send Content-Type: application/json."),
    ),
    "invalid": (
        422,
        N_("Check your input"),
        N_("Please correct the fields named."),
    ),
    "idempotency_conflict": (
        422,
        N_("Idempotency-Key already used"),
        N_("This Idempotency-Key came with another body before. Use a new one."),
    ),
    "too_early": (
        429,
        N_("Not possible yet"),
        N_("That was done a short while ago and is possible again from %(again_at)s."),
    ),
    "limit_reached": (
        429,
        N_("Limit reached"),
        "%(reached)s",
    ),
    "throttled": (
        429,
        N_("Too many wrong tries"),
        N_("There were too many wrong tries. You can go on in %(minutes)s minutes."),
    ),
    "internal": (
        500,
        N_("Error on our side"),
        N_("Try again, with the same Idempotency-Key."),
    ),
    "unavailable": (
        503,
        N_("Not available"),
        N_("Please try again shortly."),
    ),
}

_OF_FLASK: Mapping[int, str] = {
    400: "not_json",
    401: "unauthorized",
    403: "forbidden",
    405: "method_not_allowed",
    413: "too_large",
    415: "not_json_type",
}
_TAGS = {*ProofMethod, "email_code", "letter_code"}


def language() -> Locale:
    """Return the language of the current call: German unless its Accept-Language header prefers English."""
    return as_locale(request.accept_languages.best_match(["de", "en"], "de"))


def problem(
    code: str,
    field_errors: Sequence[Mapping[str, str]] = (),
    *,
    retry_after: int | None = None,
    members: Mapping[str, object] = NO_MEMBERS,
    **facts: object,
) -> Response:
    """Return the problem with this code (a key of `PROBLEMS`) as a response in the caller's language.

    `field_errors` are the errors of single fields: the field's path as `field`, the error's `code` and a sentence as
    `detail`. `retry_after` is the value of the Retry-After header in seconds; None sends no such header. `facts` fill
    the placeholders of the problem's detail text by name; a `datetime` among them also becomes a member of the body.
    `members` are further members of the body.
    """
    status, title, detail = PROBLEMS[code]
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": translate(language(), title),
        "status": status,
        "detail": translate(language(), detail, **{name: _shown(fact) for name, fact in facts.items()}),
        "instance": request.path,
        **members,
        **{name: fact.isoformat() for name, fact in facts.items() if isinstance(fact, datetime)},
    }
    if field_errors:
        body["errors"] = list(field_errors)
    response = Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/problem+json")
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def invalid(error: ValidationError) -> Response:
    """Return the problem response (422) for a body or query that does not match its schema.

    The response lists an error for each wrong field, but at most `MOST_ERRORS` (100), because a body can have tens of
    thousands of unknown fields.
    """
    found = []
    for part in error.errors(include_input=False, include_url=False)[:MOST_ERRORS]:
        # The tag of a discriminated union is no field of the body; that it is missing or unknown, is about a field.
        place = [str(step) for step in part["loc"] if step not in _TAGS]
        if part["type"] in ("union_tag_not_found", "union_tag_invalid"):
            place.append(part["ctx"]["discriminator"].strip("'"))
        found.append(_field(".".join(place), part["type"], part.get("ctx", {}).get("allowed")))
    return problem("invalid", found)


def of_domain_error(error: errors.DomainError) -> Response:
    """Return the problem response for an error of the business rules (`models.errors`).

    An error that the function does not know gives 404. Nothing else maps business errors to HTTP statuses of the API.
    """
    match error:
        case errors.InvalidField(field=field, code=code, allowed=allowed):
            return problem("invalid", [_field(field, code, allowed)])
        case errors.NotAccepted(field=field, code=code):
            return problem("invalid", [_field(field, code)])
        case errors.NotAwaited():
            return problem("not_awaited")
        case errors.TokenExpired(expired_at=expired_at):
            return problem("token_expired", expired_at=expired_at)
        case errors.TooEarly(again_at=again_at):
            return _too_early(again_at)
        case errors.LimitReached():
            return _limit_reached(error)
        case errors.Forbidden():
            return problem("forbidden")
        case errors.AlreadyRequested(request_id=request_id):
            return problem("already_requested", request=f"/api/v1/requests/{request_id}")
        case errors.RuleBroken(reason=Reason() as reason):
            return problem("rule_broken", reason=reason_text(reason, language()))
        case errors.CannotClose():
            return problem("cannot_close", reason=obstacle_text(error, language()))
        case errors.LaterChangePlanned(day=day):
            return problem("later_change_planned", day=long_date(day, language()))
        case errors.TooLate(status=status) | errors.IllegalTransition(now=status):
            return problem("too_late", status=status_text(status, language()))
        case errors.IdempotencyConflict():
            return problem("idempotency_conflict")
        case _:
            return problem("not_found")


def of_http_error(error: HTTPException) -> Response:
    """Return the problem response for an HTTP error that Flask raises, such as 404; 405 lists the allowed methods."""
    response = problem(_OF_FLASK.get(error.code or 500, "not_found"))
    if isinstance(error, MethodNotAllowed) and error.valid_methods is not None:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def of_throttle(wait: int) -> Response:
    """Return the problem response (429) for too many failed attempts; the next is allowed in `wait` seconds."""
    return problem("throttled", retry_after=wait, minutes=math.ceil(wait / 60))


def of_outage(error: Exception) -> Response:
    """Log that the database does not answer, with `error` as the reason, and return the problem response (503)."""
    log.error("database.unavailable", error=repr(getattr(error, "orig", error)))
    return problem("unavailable", retry_after=5)


def of_bug(error: Exception) -> Response:
    """Log an unexpected exception with its traceback and return the problem response (500)."""
    log.error("api.broke", exc_info=error)
    return problem("internal")


def _too_early(again_at: datetime) -> Response:
    wait = math.ceil((again_at - resources().clock()).total_seconds())
    return problem("too_early", retry_after=max(1, wait), again_at=again_at)


def _limit_reached(reached: errors.LimitReached) -> Response:
    free_at = reached.free_at
    wait = None
    if free_at is not None:
        wait = max(1, math.ceil((free_at - resources().clock()).total_seconds()))
    members = {"limit": str(reached.limit), "allowed": reached.allowed}
    if free_at is not None:
        members["free_at"] = free_at.isoformat()
    return problem("limit_reached", retry_after=wait, members=members, reached=limit_text(reached, language()))


def _shown(fact: object) -> object:
    return moment_text(fact, language()) if isinstance(fact, datetime) else fact


def _field(field: str, code: str, allowed: object = None) -> dict[str, str]:
    note_refused(field, code)
    return {"field": field or "body", "code": code, "detail": field_error(language(), field, code, allowed)}
