"""The API endpoints that list, show, cancel and retry requests."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from models.db.paging import read_cursor, write_cursor
from models.orders.orders import cancel_and_release
from models.states import Reason, Status
from models.views import request_lists
from web.api import schemas
from web.api.access import get_changeable_request, get_visible_request, now, viewable_token_account
from web.api.blueprint import api, json_response
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.paging import known_cursor
from web.api.response_bodies import request_bodies, request_body


@api.get("/requests", responses={200: schemas.RequestPage})
def list_requests(query: schemas.RequestQuery) -> Response:
    """List the requests of the API token's account, newest first; with `status` only those with this status."""
    statuses = [Status(query.status)] if query.status else []
    before: UUID | None = None
    if query.cursor:
        with known_cursor():
            [before] = read_cursor(query.cursor, UUID)
    with call_transaction() as session:
        account = viewable_token_account(session)
        requests = request_lists.requests_of(session, account, before=before, limit=query.limit + 1, statuses=statuses)
        page = requests[: query.limit]
        items = request_bodies(session, page)
    next_cursor = write_cursor(page[-1].id) if len(requests) > query.limit else None
    return json_response({"items": items, "next_cursor": next_cursor})


@api.get("/requests/<id>", responses={200: schemas.RequestBody, 404: schemas.Problem})
def show_request(path: schemas.RequestPath) -> Response:
    """Show one request with its proofs, what happens next, and its timeline."""
    with call_transaction() as session:
        return json_response(request_body(session, get_visible_request(session, path.id)))


@api.post(
    "/requests/<id>/cancel",
    responses={200: schemas.RequestBody, 409: schemas.Problem},
)
def cancel_request(path: schemas.RequestPath) -> Response:
    """Cancel a request that is running or has failed. Cancelling an order also closes the account reserved for it.

    Answers 409 if the request was completed, rejected or cancelled, if provisioning, attaching or detaching has begun
    (unless the request has failed), if a worker is processing it, or if a later change of the same trunk builds on it.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            target = get_changeable_request(session, path.id, lock=True)
            cancel_and_release(target, Reason.CANCELLED_BY_REQUESTER, now())
            session.flush()
            call.save_answer(200, request_body(session, target), about=target)
    call.log_acceptance()
    return call.response()


@api.post(
    "/requests/<id>/retry",
    responses={200: schemas.RequestBody, 409: schemas.Problem},
)
def retry_request(path: schemas.RequestPath) -> Response:
    """Retry the current step of a request that is held or has failed. Answers 409 if the request has another status."""
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            target = get_changeable_request(session, path.id, lock=True)
            target.retry(now())
            session.flush()
            call.save_answer(200, request_body(session, target), about=target)
    call.log_acceptance()
    return call.response()
