"""The API endpoint for moves of accounts to another connection address."""

from __future__ import annotations

from flask import Response

from models.changes.moves import lock_for_move, submit_move
from models.people.rights import Action
from web.api import schemas
from web.api.access import caller, get_visible_account, now
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body, request_url
from web.request_bodies import MoveBody
from web.resources import resources


@api.post(
    "/moves",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 409: schemas.Problem, 429: schemas.Problem},
)
def create_move(body: MoveBody) -> Response:
    """Move the token's account or one of its sub-accounts to another connection address.

    Without `effective_on` the account moves as soon as the address is proved, otherwise at the beginning of that day in
    Berlin, but not before the proof. Until then everything stays as it is, and `POST /requests/{id}/cancel` withdraws
    the move. The address is proved as that of an order: by the code of the letter (`letter_code`) or by a document.

    Numbers of another Ortsnetz are replaced by as many with the area code in `numbers`, which are reserved at once; in
    the answer, `move` says which go and which come, and the monthly cost, which stays. Answers 404 if the account is
    not visible or has no SIP trunk, 409 while another move of it is running, and 429 if the company has asked for its
    maximum of number blocks or letters today.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, body.customer_number, Action.CHANGE_CONTRACT)
            lock_for_move(session, caller(), account)
            draft, usual = body.as_draft(caller().locale), resources().settings.limits
            asked = submit_move(session, caller(), account, draft, now(), usual=usual)
            call.save_answer(202, request_body(session, asked), about=asked, location=request_url(asked))
    call.log_acceptance()
    return call.response()
