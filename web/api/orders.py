"""The API endpoint that orders a new sub-account."""

from __future__ import annotations

from flask import Response

from models.accounts.company_limits import limits_lock
from models.proofs.order_placement import place_order
from web.api import schemas
from web.api.access import caller, now, token_account
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import new_request_body, request_url
from web.request_bodies import OrderBody
from web.resources import resources


@api.post(
    "/orders",
    responses={202: schemas.RequestBody, 409: schemas.Problem, 429: schemas.Problem},
)
def create_order(body: OrderBody) -> Response:
    """Order a new sub-account of the API token's account.

    Answers 202 with the new request before the order is processed; the request's timeline shows the progress. Answers
    409 if the account is closed or itself a sub-account. Answers 429 if the order would exceed a limit of the
    company, such as the number of open orders or of letters a day: `limit` names the limit, `allowed` is the greatest
    number, `free_at` and `Retry-After` say when there is room again, if that is known.
    """
    draft = body.as_draft(caller().locale)
    with call_transaction() as session:
        main, usual = token_account(session), resources().settings.limits
        call = begin_call(session, lock=limits_lock(main.id))
        if call.is_new:
            order = place_order(session, caller(), main, draft, now(), usual)
            call.save_answer(202, new_request_body(session, order), about=order, location=request_url(order))
    call.log_acceptance()
    return call.response()
