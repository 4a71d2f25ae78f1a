"""The errors of the API as problem details (RFC 9457), in the caller's language, with the field and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from flask import Response, request
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from models import errors
from models.states import ProofMethod, Reason
from models.values import BERLIN, Locale, as_locale
from tasks.wording.requests import reason_text, status_text
from web.resources import resources

log = structlog.get_logger()


# code: HTTP status, title, detail; German and English.
PROBLEMS: Mapping[str, tuple[int, tuple[str, str], tuple[str, str]]] = {
    "not_json": (
        400,
        ("Kein lesbares JSON", "No readable JSON"),
        ("Der Inhalt muss ein JSON-Objekt sein.", "The body has to be a JSON object."),
    ),
    "too_deep": (
        400,
        ("Zu tief verschachtelt", "Nested too deep"),
        ("Kein Inhalt der API ist so tief verschachtelt.", "No body of the API is nested as deep as that."),
    ),
    "idempotency_key_missing": (
        400,
        ("Idempotency-Key fehlt", "Idempotency-Key is missing"),
        (
            "Senden Sie mit jedem POST einen eigenen Idempotency-Key mit 1 bis 255 Zeichen, etwa eine UUID.",
            "Send an Idempotency-Key of your own with every POST, 1 to 255 characters, for example a UUID.",
        ),
    ),
    "unauthorized": (
        401,
        ("Nicht angemeldet", "Not authenticated"),
        (
            "Senden Sie ein gültiges API-Token: Authorization: Bearer …",
            "Send a valid API token: Authorization: Bearer …",
        ),
    ),
    "forbidden": (
        403,
        ("Nicht erlaubt", "Not allowed"),
        (
            "Dieses Token oder die Person dahinter darf das für diesen Account nicht.",
            "This token, or the person behind it, may not do that to this account.",
        ),
    ),
    "not_found": (
        404,
        ("Nicht gefunden", "Not found"),
        ("Das gibt es nicht, oder nicht für Sie.", "There is no such thing, or not for you."),
    ),
    "method_not_allowed": (
        405,
        ("Methode nicht möglich", "Method not allowed"),
        ("Diese Adresse kennt die Methode nicht.", "This address does not know the method."),
    ),
    "already_requested": (
        409,
        ("Bereits angefragt", "Already requested"),
        ("Für diesen Account läuft schon eine Anfrage: {request}", "A request for this account is running: {request}"),
    ),
    "rule_broken": (409, ("Nicht möglich", "Not possible"), ("{reason}", "{reason}")),
    "too_late": (
        409,
        ("Zu spät", "Too late"),
        ("Das geht in diesem Zustand nicht mehr: {status}", "That is not possible any more in this state: {status}"),
    ),
    "not_awaited": (
        409,
        ("Wird nicht erwartet", "Not awaited"),
        (
            "Darauf wartet diese Anfrage nicht, oder nicht mehr. Worauf sie wartet, steht unter next und proofs.",
            "This request does not wait for that, or not any more. What it waits for is under next and proofs.",
        ),
    ),
    "too_large": (
        413,
        ("Zu groß", "Too large"),
        ("Der Inhalt ist zu groß; ein Dokument hat höchstens 10 MB.", "The body is too large; a document has 10 MB."),
    ),
    "not_a_form": (
        415,
        ("Falscher Inhaltstyp", "Wrong content type"),
        (
            "Senden Sie das Dokument als Feld file in multipart/form-data.",
            "Send the document as the field file in multipart/form-data.",
        ),
    ),
    "not_json_type": (
        415,
        ("Falscher Inhaltstyp", "Wrong content type"),
        ("Senden Sie Content-Type: application/json.", "Send Content-Type: application/json."),
    ),
    "invalid": (
        422,
        ("Angaben prüfen", "Check your input"),
        ("Bitte berichtigen Sie die genannten Felder.", "Please correct the fields named."),
    ),
    "idempotency_conflict": (
        422,
        ("Idempotency-Key schon verwendet", "Idempotency-Key already used"),
        (
            "Dieser Idempotency-Key kam schon mit einem anderen Inhalt. Nehmen Sie einen neuen.",
            "This Idempotency-Key came with another body before. Use a new one.",
        ),
    ),
    "too_early": (
        429,
        ("Noch nicht möglich", "Not possible yet"),
        (
            "Das ist vor Kurzem geschehen und geht wieder ab {again_at}.",
            "That was done a short while ago and is possible again from {again_at}.",
        ),
    ),
    "throttled": (
        429,
        ("Zu viele falsche Versuche", "Too many wrong tries"),
        (
            "Es waren zu viele falsche Versuche. In {minutes} Minuten geht es weiter.",
            "There were too many wrong tries. You can go on in {minutes} minutes.",
        ),
    ),
    "internal": (
        500,
        ("Fehler bei uns", "Error on our side"),
        ("Bitte versuchen Sie es erneut, mit demselben Idempotency-Key.", "Try again, with the same Idempotency-Key."),
    ),
    "unavailable": (
        503,
        ("Gerade nicht erreichbar", "Not available"),
        ("Bitte versuchen Sie es in Kürze erneut.", "Please try again shortly."),
    ),
}

FIELD_RULES: Mapping[str, tuple[str, str]] = {
    "missing": ("Diese Angabe fehlt.", "This is missing."),
    "extra_forbidden": ("Dieses Feld gibt es nicht.", "There is no such field."),
    "unknown_product": (
        "Dieses Produkt gibt es nicht. Die Produkte stehen unter /api/v1/products.",
        "There is no such product. See /api/v1/products.",
    ),
    "unknown_option": ("Diese Option gibt es nicht.", "There is no such option."),
    "option_twice": ("Eine Option ist doppelt genannt.", "An option is named twice."),
    "unknown_block_size": ("Möglich sind: {allowed}", "Possible are: {allowed}"),
    "channels_out_of_range": (
        "Dieses Produkt hat 1 bis {allowed} Kanäle.",
        "This product has 1 to {allowed} channels.",
    ),
    "unknown_area_code": (
        "Diese Vorwahl gibt es nicht. Schreiben Sie sie mit der führenden Null, etwa 030.",
        "There is no such area code. Write it with the leading zero, like 030.",
    ),
    "own_account": (
        "Das ist Ihr eigener Account. Nennen Sie die Kundennummer des Accounts, den Sie hinzufügen möchten.",
        "This is your own account. Name the customer number of the account that you want to add.",
    ),
    "not_accepted": (
        "Das stimmt nicht, gilt nicht mehr oder wurde zu oft falsch versucht.",
        "This is not right, is not valid any more, or was tried wrong too often.",
    ),
    "no_document": (
        "Möglich sind PDF, PNG und JPEG.",
        "Possible are PDF, PNG and JPEG.",
    ),
    "too_large": ("Das Dokument hat mehr als 10 MB.", "The document has more than 10 MB."),
    "string_too_short": ("Diese Angabe fehlt.", "This is missing."),
    "string_too_long": ("Diese Angabe ist zu lang.", "This is too long."),
    "unreadable": (
        "Das enthält Zeichen, die kein Text haben kann: NUL oder ein halbes Surrogatpaar.",
        "This has characters that no text can have: NUL, or half a surrogate pair.",
    ),
    "int_type": ("Das muss eine ganze Zahl sein.", "This has to be a whole number."),
    "cursor": ("Diesen Cursor haben wir nicht ausgegeben.", "We did not give out this cursor."),
}
_PATTERNS: Mapping[str, tuple[str, str]] = {
    "customer_number": ("Eine Kundennummer hat sieben Ziffern.", "A customer number has seven digits."),
    "postal_code": ("Eine Postleitzahl hat fünf Ziffern.", "A postal code has five digits."),
    "area_code": ("Eine Vorwahl beginnt mit 0, etwa 030.", "An area code starts with 0, like 030."),
    "email": ("Das ist keine E-Mail-Adresse.", "This is not an e-mail address."),
    "phone": (
        "Das ist keine Telefonnummer. Schreiben Sie sie etwa so: +49 30 901820.",
        "This is not a phone number. Write it like +49 30 901820.",
    ),
    "block_size": ("Möglich sind 1, 10 und 100.", "Possible are 1, 10 and 100."),
    "method": (
        "Möglich sind administers_both, credentials, link_code und consent.",
        "Possible are administers_both, credentials, link_code and consent.",
    ),
    "locale": ("Möglich sind de und en.", "Possible are de and en."),
    "kind": (
        "Möglich sind email_code, letter_code, credentials und link_code.",
        "Possible are email_code, letter_code, credentials and link_code.",
    ),
    "what": ("Möglich sind email, letter und consent.", "Possible are email, letter and consent."),
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
_OTHERWISE = ("Diese Angabe hat nicht die richtige Form.", "This does not have the right form.")


def language() -> Locale:
    """Return the caller's language: German unless the caller prefers English."""
    return as_locale(request.accept_languages.best_match(["de", "en"], "de"))


def problem(
    code: str, field_errors: Sequence[Mapping[str, str]] = (), *, retry_after: int | None = None, **facts: object
) -> Response:
    """Return a problem as a response.

    `retry_after` is in seconds. `facts` fill in the detail; a time among them also becomes a member of the body.
    """
    status, title, detail = PROBLEMS[code]
    place = 1 if language() == "en" else 0
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title[place],
        "status": status,
        "detail": detail[place].format(**{name: _shown(fact) for name, fact in facts.items()}),
        "instance": request.path,
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
    """Return the problem for a body or query that does not match its schema."""
    found = []
    for part in error.errors(include_input=False, include_url=False):
        # The tag of a discriminated union is no field of the body; that it is missing or unknown, is about a field.
        place = [str(step) for step in part["loc"] if step not in _TAGS]
        if part["type"] in ("union_tag_not_found", "union_tag_invalid"):
            place.append(part["ctx"]["discriminator"].strip("'"))
        found.append(_field(".".join(place), part["type"]))
    return problem("invalid", found)


def of_domain_error(error: errors.DomainError) -> Response:
    """Return the problem for an error of the models. This is the only place that maps them to HTTP."""
    match error:
        case errors.InvalidField(field=field, code=code, allowed=allowed):
            return problem("invalid", [_field(field, code, allowed)])
        case errors.NotAccepted(field=field, code=code):
            return problem("invalid", [_field(field, code)])
        case errors.NotAwaited():
            return problem("not_awaited")
        case errors.TooEarly(again_at=again_at):
            return _too_early(again_at)
        case errors.Forbidden():
            return problem("forbidden")
        case errors.AlreadyRequested(request_id=request_id):
            return problem("already_requested", request=f"/api/v1/requests/{request_id}")
        case errors.RuleBroken(reason=Reason() as reason):
            return problem("rule_broken", reason=reason_text(reason, language()))
        case errors.TooLate(status=status) | errors.IllegalTransition(now=status):
            return problem("too_late", status=status_text(status, language()))
        case errors.IdempotencyConflict():
            return problem("idempotency_conflict")
        case _:
            return problem("not_found")


def of_http_error(error: HTTPException) -> Response:
    """Return the problem for an error of Flask, such as 404 or 413."""
    return problem(_OF_FLASK.get(error.code or 500, "not_found"))


def of_throttle(wait: int) -> Response:
    """Return the problem for too many failed attempts; `wait` is in seconds."""
    return problem("throttled", retry_after=wait, minutes=math.ceil(wait / 60))


def of_outage(error: OperationalError | InterfaceError) -> Response:
    """Log that the database does not answer and return the problem for it."""
    log.error("database.unavailable", error=repr(error.orig))
    return problem("unavailable", retry_after=5)


def of_bug(error: Exception) -> Response:
    """Log an unexpected exception and return the problem for it."""
    log.error("api.broke", exc_info=error)
    return problem("internal")


def _too_early(again_at: datetime) -> Response:
    wait = math.ceil((again_at - resources().clock()).total_seconds())
    return problem("too_early", retry_after=max(1, wait), again_at=again_at)


def _shown(fact: object) -> object:
    return fact.astimezone(BERLIN).strftime("%d.%m.%Y, %H:%M") if isinstance(fact, datetime) else fact


def _field(field: str, code: str, allowed: object = None) -> dict[str, str]:
    rule = FIELD_RULES.get(code) or _PATTERNS.get(field.rpartition(".")[2]) or _OTHERWISE
    shown = ", ".join(map(str, allowed)) if isinstance(allowed, tuple | list) else allowed
    detail = rule[1 if language() == "en" else 0].format(allowed=shown)
    return {"field": field or "body", "code": code, "detail": detail}
