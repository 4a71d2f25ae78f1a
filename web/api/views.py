"""The API's addresses. Each does one thing: read, ask the models, answer."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from flask import Response, g, request
from flask_openapi3 import APIBlueprint
from sqlalchemy.orm import Session

from models import queries
from models.accounts import Account, account_by_number
from models.catalogue import orderable_products
from models.errors import Forbidden, InvalidField, NotFound
from models.idempotency import reserve_key
from models.links import LinkDraft, submit_link
from models.orders import Contact, Location, OrderDraft, call_off, submit_order
from models.people import Action, Principal, may, principal_by_token
from models.proving import Credentials
from models.requests import Request, TimelineEntry
from models.states import Kind, ProofMethod, Reason, Status
from models.wording import next_action, sentence
from tasks.hints import hint
from web.api import schemas
from web.api.problems import language, problem
from web.resources import resources

log = structlog.get_logger()

api = APIBlueprint("api", __name__, url_prefix="/api/v1", abp_security=[{"bearer": []}])

_POST = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "The same key and body give the same answer.",
        }
    ]
}


@api.before_request
def authenticate() -> Response | None:
    """Find out who is calling, and refuse what is no JSON before anything else is looked at."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    with resources().database.transaction() as session:
        principal = principal_by_token(session, token.strip()) if scheme.lower() == "bearer" else None
        account = queries.token_account(session, principal) if principal else None
    if principal is None or account is None:
        return problem("unauthorized")
    g.principal, g.account = principal, account
    if request.method == "POST" and not 1 <= len(request.headers.get("Idempotency-Key", "")) <= 255:
        return problem("idempotency_key_missing")
    if request.method == "POST" and request.content_length:
        if not request.is_json:
            return problem("not_json_type")
        if not isinstance(request.get_json(silent=True), dict):
            return problem("not_json")
    return None


@api.post("/orders", responses={202: schemas.RequestBody, 422: schemas.Problem}, openapi_extensions=_POST)
def create_order(body: schemas.OrderBody) -> Response:
    """Order a new sub-account. Answers 202 at once; the request's timeline tells the rest."""
    draft = OrderDraft(
        product_key=body.product,
        channels=body.channels,
        location=Location(**body.location.model_dump()),
        contact=Contact(**body.contact.model_dump()),
        area_code=body.numbers.area_code,
        block_size=body.numbers.block_size,
        option_keys=tuple(body.options),
        locale=body.locale or _principal().locale,
    )
    return _accept(lambda session: submit_order(session, _principal(), _main(session), draft, _now()))


@api.post("/link-requests", responses={202: schemas.RequestBody, 422: schemas.Problem}, openapi_extensions=_POST)
def create_link_request(body: schemas.LinkBody) -> Response:
    """Ask to attach an existing account. Always 202 for a request of the right form: an outsider learns nothing."""
    draft = LinkDraft(
        body.customer_number,
        ProofMethod(body.proof.method),
        _means(body.proof),
        body.locale or _principal().locale,
    )
    vault = resources().vault
    return _accept(lambda session: submit_link(session, vault, _principal(), _main(session), draft, _now()))


@api.get("/requests", responses={200: schemas.RequestPage})
def list_requests(query: schemas.RequestQuery) -> Response:
    """The account's requests, the newest first."""
    statuses = [Status(query.status)] if query.status else []
    before = _as_uuid(query.cursor, InvalidField("cursor", "cursor")) if query.cursor else None
    with resources().database.transaction() as session:
        main = _viewed(session)
        found = queries.requests_of(session, main, before=before, limit=query.limit + 1, statuses=statuses)
        page = found[: query.limit]
        timelines = queries.timelines(session, [request.id for request in page])
    items = [_request_body(request, timelines[request.id]) for request in page]
    more = str(page[-1].id) if len(found) > query.limit else None
    return _json({"items": items, "next_cursor": more})


@api.get("/requests/<id>", responses={200: schemas.RequestBody, 404: schemas.Problem})
def show_request(path: schemas.RequestPath) -> Response:
    """One request with its timeline."""
    with resources().database.transaction() as session:
        found = _own_request(session, path.id)
        return _json(_request_body(found, queries.timelines(session, [found.id])[found.id]))


@api.post("/requests/<id>/cancel", responses={200: schemas.RequestBody, 409: schemas.Problem}, openapi_extensions=_POST)
def cancel_request(path: schemas.RequestPath) -> Response:
    """Call a request off, until it is provisioned."""

    def cancel(found: Request) -> None:
        call_off(found, Reason.CANCELLED_BY_REQUESTER, _now())

    return _change(path.id, cancel)


@api.post("/requests/<id>/retry", responses={200: schemas.RequestBody, 409: schemas.Problem}, openapi_extensions=_POST)
def retry_request(path: schemas.RequestPath) -> Response:
    """Have a held or failed request tried again."""
    return _change(path.id, lambda found: found.retry(_now()))


@api.get("/accounts", responses={200: schemas.AccountPage})
def list_accounts(query: schemas.PageQuery) -> Response:
    """The main account, then its sub-accounts, ordered ones included."""
    after = 0
    if query.cursor is not None:
        if not query.cursor.isdecimal():
            raise InvalidField("cursor", "cursor")
        after = int(query.cursor)
    with resources().database.transaction() as session:
        main = _viewed(session)
        found = queries.locations(session, main, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    items = [_account_body(listed.account, listed.request) for listed in page]
    if query.cursor is None:
        items.insert(0, _account_body(main, None))
    more = str(page[-1].account.id) if len(found) > query.limit else None
    return _json({"items": items, "next_cursor": more})


@api.get("/accounts/<customer_number>", responses={200: schemas.AccountBody, 404: schemas.Problem})
def show_account(path: schemas.AccountPath) -> Response:
    """One account, with its running request. One that was ordered is there from the first moment, as in the list."""
    with resources().database.transaction() as session:
        main, account = _main(session), account_by_number(session, path.customer_number)
        running = queries.running_request(session, main, account) if account is not None else None
        if account is None or not may(_principal(), Action.VIEW, main if running is not None else account):
            raise NotFound
        return _json(_account_body(account, running))


@api.get("/products", responses={200: schemas.ProductList})
def list_products() -> Response:
    """The price list."""
    with resources().database.transaction() as session:
        items = [
            {
                "key": product.key,
                "kind": product.kind,
                "name": product.name(language()),
                "channels": product.channels,
                "block_size": product.block_size,
                "monthly_cents": product.monthly_cents,
                "one_off_cents": product.one_off_cents,
            }
            for product in orderable_products(session)
        ]
    return _json({"items": items})


def _accept(submit: Callable[[Session], Request]) -> Response:
    """Write a request down under the caller's key, answer, and only then hint at it."""

    def act(session: Session) -> tuple[Request, dict[str, Any]]:
        accepted = submit(session)
        entries = queries.timelines(session, [accepted.id])[accepted.id]
        return accepted, {"status": 202, "location": _address(accepted), "body": _request_body(accepted, entries)}

    return _once(act)


def _change(id: str, change: Callable[[Request], None]) -> Response:
    def act(session: Session) -> tuple[Request, dict[str, Any]]:
        found = _own_request(session, id, lock=True)
        asked_for = Action.ORDER if found.kind is Kind.ORDER else Action.LINK
        if not may(_principal(), asked_for, _main(session)):
            raise Forbidden
        change(found)
        session.flush()
        entries = queries.timelines(session, [found.id])[found.id]
        return found, {"status": 200, "location": None, "body": _request_body(found, entries)}

    return _once(act)


def _once(act: Callable[[Session], tuple[Request, dict[str, Any]]]) -> Response:
    """The same key and body give the same answer; an answer that was an error keeps no key."""
    key = request.headers["Idempotency-Key"]
    with resources().database.transaction() as session:
        kept = reserve_key(session, _account().id, _principal().user_id, key, _fingerprint(), _now())
        replayed = kept.answer is not None
        due = None
        if kept.answer is None:
            changed, answer = act(session)
            kept.request_id, kept.answer = changed.id, answer
            due = changed.id if changed.due_at is not None else None
        answer = kept.answer
    if due is not None:
        log.info("request.accepted", request=str(due), path=request.path)
        hint()
    response = _json(answer["body"], answer["status"])
    if answer["location"]:
        response.headers["Location"] = answer["location"]
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _fingerprint() -> bytes:
    # Keyed: a body may hold a password, which nobody shall be able to guess from the database.
    canonical = json.dumps(request.get_json(silent=True), sort_keys=True, separators=(",", ":"))
    text = f"{request.method} {request.path}\n{canonical}"
    secret = resources().settings.secret_key.get_secret_value()
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()


def _means(proof: schemas.LinkProof) -> Credentials | str | None:
    match proof:
        case schemas.CredentialsProof(email=email, password=password):
            return Credentials(email, password.get_secret_value())
        case schemas.LinkCodeProof(code=code):
            return code
        case _:
            return None


def _principal() -> Principal:
    principal = g.principal
    assert isinstance(principal, Principal)
    return principal


def _account() -> Account:
    account = g.account
    assert isinstance(account, Account)
    return account


def _main(session: Session) -> Account:
    return session.merge(_account(), load=False)


def _viewed(session: Session) -> Account:
    main = _main(session)
    if not may(_principal(), Action.VIEW, main):
        raise Forbidden
    return main


def _own_request(session: Session, id: str, *, lock: bool = False) -> Request:
    found = session.get(Request, _as_uuid(id, NotFound()), with_for_update=lock or None)
    if found is None or found.main_id != _viewed(session).id:
        raise NotFound
    return found


def _as_uuid(text: str, otherwise: Exception) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise otherwise from None


def _now() -> Any:
    return resources().clock()


def _address(of: Request) -> str:
    return f"/api/v1/requests/{of.id}"


def _json(body: object, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")


def _request_body(of: Request, timeline: list[TimelineEntry]) -> dict[str, Any]:
    locale = language() if request.headers.get("Accept-Language") else of.locale
    upcoming = next_action(of, locale)
    return {
        "id": str(of.id),
        "kind": of.kind,
        "status": of.status,
        "step": of.step,
        "reason": of.reason,
        "customer_number": of.customer_number,
        "next": upcoming
        and {
            "actor": upcoming.actor,
            "what": upcoming.what,
            "until": upcoming.until and upcoming.until.isoformat(),
        },
        "timeline": [
            {"at": entry.at.isoformat(), "code": entry.code, "text": sentence(entry, locale)} for entry in timeline
        ],
        "created_at": of.created_at.isoformat(),
        "ended_at": of.ended_at and of.ended_at.isoformat(),
    }


def _account_body(account: Account, running: Request | None) -> dict[str, Any]:
    return {
        "customer_number": account.customer_number,
        "role": account.role,
        "state": account.state,
        "origin": account.origin,
        "name": account.name,
        "street": account.street,
        "postal_code": account.postal_code,
        "city": account.city,
        "contact_name": account.contact_name,
        "contact_email": account.contact_email,
        "contact_phone": account.contact_phone,
        "attached_at": account.attached_at and account.attached_at.isoformat(),
        "request": running and str(running.id),
    }
