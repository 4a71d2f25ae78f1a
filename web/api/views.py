"""The API's addresses. Each does one thing: read, ask the models, answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from flask import Response, request
from sqlalchemy.orm import Session

from models.accounts.accounts import account_by_number
from models.contracts.catalogue import orderable_products
from models.db.paging import BadCursor, read_cursor, write_cursor
from models.errors import AlreadyRequested, InvalidField, NotFound
from models.links.links import LinkDraft, submit_detach, submit_link
from models.orders.orders import call_off, submit_order
from models.people.rights import Action, may
from models.proofs.proofs import OwnershipProof
from models.proofs.submission import Credentials
from models.requests.requests import Request
from models.states import ProofMethod, Reason, Status
from models.views import lists
from models.views.locations import Order, Wanted, page_of
from tasks.hints import hint
from web.api import schemas
from web.api.bodies import account_body, request_bodies, request_body
from web.api.calls import (
    POST,
    Answer,
    address_of,
    api,
    as_json,
    caller,
    changeable,
    changed,
    known_account,
    main,
    now,
    once,
    own_request,
    viewed,
)
from web.api.problems import language
from web.request_bodies import CredentialsProof, LinkBody, LinkCodeProof, LinkProof, OrderBody
from web.resources import resources

log = structlog.get_logger()

# A number never changes: nothing is passed over or told twice, whatever happens between two pages.
_BY_NUMBER = Wanted(order=Order.NUMBER)


@api.post("/orders", responses={202: schemas.RequestBody, 422: schemas.Problem}, openapi_extensions=POST)
def create_order(body: OrderBody) -> Response:
    """Order a new sub-account. Answers 202 at once; the request's timeline tells the rest."""
    draft = body.as_draft(caller().locale)
    return _accept(lambda session: submit_order(session, caller(), main(session), draft, now()))


@api.post(
    "/link-requests",
    responses={202: schemas.RequestBody, 422: schemas.Problem, 429: schemas.Problem},
    openapi_extensions=POST,
)
def create_link_request(body: LinkBody) -> Response:
    """Ask to attach an existing account. Always 202 for a request of the right form: an outsider learns nothing."""
    draft = LinkDraft(
        body.customer_number,
        ProofMethod(body.proof.method),
        _means(body.proof),
        body.locale or caller().locale,
    )
    if draft.means is not None:
        resources().throttle.begin_try(draft.customer_number)

    def submit(session: Session) -> Request:
        accepted = submit_link(session, resources().vault, caller(), main(session), draft, now())
        if draft.means is not None and session.get(OwnershipProof, accepted.id) is None:
            resources().throttle.count_wrong_try()
        return accepted

    return _accept(submit)


@api.get("/requests", responses={200: schemas.RequestPage})
def list_requests(query: schemas.RequestQuery) -> Response:
    """The account's requests, the newest first."""
    statuses = [Status(query.status)] if query.status else []
    before: uuid.UUID | None = None
    if query.cursor:
        with _known_cursor():
            [before] = read_cursor(query.cursor, uuid.UUID)
    with resources().database.transaction() as session:
        account = viewed(session)
        found = lists.requests_of(session, account, before=before, limit=query.limit + 1, statuses=statuses)
        page = found[: query.limit]
        items = request_bodies(session, page)
    more = write_cursor(page[-1].id) if len(found) > query.limit else None
    return as_json({"items": items, "next_cursor": more})


@api.get("/requests/<id>", responses={200: schemas.RequestBody, 404: schemas.Problem})
def show_request(path: schemas.RequestPath) -> Response:
    """One request with its timeline."""
    with resources().database.transaction() as session:
        return as_json(request_body(session, own_request(session, path.id)))


@api.post("/requests/<id>/cancel", responses={200: schemas.RequestBody, 409: schemas.Problem}, openapi_extensions=POST)
def cancel_request(path: schemas.RequestPath) -> Response:
    """Call a request off, until it is provisioned."""

    def cancel(found: Request) -> None:
        call_off(found, Reason.CANCELLED_BY_REQUESTER, now())

    return _change(path.id, cancel)


@api.post("/requests/<id>/retry", responses={200: schemas.RequestBody, 409: schemas.Problem}, openapi_extensions=POST)
def retry_request(path: schemas.RequestPath) -> Response:
    """Have a held or failed request tried again."""
    return _change(path.id, lambda found: found.retry(now()))


@api.get("/accounts", responses={200: schemas.AccountPage})
def list_accounts(query: schemas.PageQuery) -> Response:
    """The main account, then its sub-accounts, ordered ones included."""
    with resources().database.transaction() as session:
        account = viewed(session)
        with _known_cursor():
            page = page_of(session, account, _BY_NUMBER, after=query.cursor, limit=query.limit)
    items = [account_body(listed.account, listed.request) for listed in page.items]
    if query.cursor is None:
        items.insert(0, account_body(account, None))
    return as_json({"items": items, "next_cursor": page.after})


@api.get("/accounts/<customer_number>", responses={200: schemas.AccountBody, 404: schemas.Problem})
def show_account(path: schemas.AccountPath) -> Response:
    """One account, with its running request. One that was ordered is there from the first moment, as in the list."""
    with resources().database.transaction() as session:
        ours, account = main(session), account_by_number(session, path.customer_number)
        running = lists.running_request(session, ours, account) if account is not None else None
        if account is None or not may(caller(), Action.VIEW, ours if running is not None else account):
            raise NotFound
        return as_json(account_body(account, running))


@api.delete(
    "/accounts/<customer_number>/link",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 409: schemas.Problem},
)
def detach_account(path: schemas.AccountPath) -> Response:
    """Take a sub-account out from under its main account. While that is on its way, the same request is answered."""
    with resources().database.transaction() as session:
        account = known_account(session, path.customer_number, Action.DETACH)
        try:
            accepted = submit_detach(session, caller(), account, caller().locale, now())
        except AlreadyRequested as running:
            accepted = session.get_one(Request, uuid.UUID(running.request_id))
        body = request_body(session, accepted)
    log.info("request.accepted", request=str(accepted.id), path=request.path)
    hint()
    response = as_json(body, 202)
    response.headers["Location"] = address_of(accepted)
    return response


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
    return as_json({"items": items})


def _accept(submit: Callable[[Session], Request]) -> Response:
    """Write a request down under the caller's key, answer, and only then hint at it."""

    def act(session: Session) -> Answer:
        accepted = submit(session)
        return Answer(202, request_body(session, accepted), accepted, address_of(accepted))

    return once(act)


def _change(id: str, change: Callable[[Request], None]) -> Response:
    def act(session: Session) -> Answer:
        found = changeable(session, id, lock=True)
        change(found)
        return changed(session, found)

    return once(act)


def _means(proof: LinkProof) -> Credentials | str | None:
    match proof:
        case CredentialsProof(email=email, password=password):
            return Credentials(email, password.get_secret_value())
        case LinkCodeProof(code=code):
            return code
        case _:
            return None


@contextmanager
def _known_cursor() -> Iterator[None]:
    """Answer 422 for a cursor that is none of ours."""
    try:
        yield
    except BadCursor as error:
        raise InvalidField("cursor", "cursor") from error
