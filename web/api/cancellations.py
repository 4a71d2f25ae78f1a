"""The API endpoint that cancels an account with all its contracts."""

from __future__ import annotations

from flask import Response

from models.changes.cancellations import submit_cancellation
from models.people.rights import Action
from web.api import schemas
from web.api.access import caller, get_visible_account, now
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body, request_url
from web.request_bodies import CancellationBody


@api.post(
    "/cancellations",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 409: schemas.Problem, 429: schemas.Problem},
)
def create_cancellation(body: CancellationBody) -> Response:
    """Cancel the token's account or one of its sub-accounts, with all its contracts.

    The contracts end at the end of `last_day` (in Berlin); without `last_day`, on the earliest day that their terms
    allow. Until then `POST /requests/{id}/cancel` withdraws the cancellation. Afterwards the account's SIP trunks and
    numbers are switched off, and the account is closed. In the answer, `cancellation` has the last day and the monthly
    cost that ends. Answers 404 if the account is not visible. Answers 409 if the account is cancelled already, or if
    something else has to be done first, for example because it acts as a main account: `detail` says what. Answers 429
    if the person has cancelled the account ten times within a day.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, body.customer_number, Action.CHANGE_CONTRACT)
            cancellation = submit_cancellation(session, caller(), account, body.last_day, caller().locale, now())
            answer = request_body(session, cancellation)
            call.save_answer(202, answer, about=cancellation, location=request_url(cancellation))
    call.log_acceptance()
    return call.response()
