"""The API endpoint that adds phone numbers to a SIP trunk."""

from __future__ import annotations

from flask import Response

from models.changes.changes import trunk_to_change
from models.changes.more_numbers import lock_for_numbers, submit_numbers
from models.people.rights import Action
from web.api import schemas
from web.api.access import caller, get_visible_account, now
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body, request_url
from web.request_bodies import AddedNumbersBody
from web.resources import resources


@api.post(
    "/numbers",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 429: schemas.Problem},
)
def create_numbers_request(body: AddedNumbersBody) -> Response:
    """Add a block of phone numbers to a SIP trunk of the token's account or one of its sub-accounts.

    Without `effective_on` the trunk gets the numbers at once, otherwise at the beginning of that day in Berlin. Until
    then a block is reserved, and `POST /requests/{id}/cancel` withdraws the request. In the answer, `numbers` has the
    monthly cost before and after, and the first and last number once a block is reserved.

    If the trunk would have more than 100 numbers, the request waits for a certificate of need (`pending`, reason
    `need_not_proved`) until `POST /requests/{id}/certificate` has brought one that staff accept. Answers 404 if the
    account or the trunk is not visible, and 429 if the company has asked for its maximum of number blocks today.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, body.customer_number, Action.CHANGE_CONTRACT)
            lock_for_numbers(session, caller(), account)
            trunk = trunk_to_change(session, caller(), account, body.sip_user)
            draft, usual = body.as_draft(caller().locale), resources().settings.limits
            asked = submit_numbers(session, caller(), account, trunk.id, draft, now(), usual=usual)
            call.save_answer(202, request_body(session, asked), about=asked, location=request_url(asked))
    call.log_acceptance()
    return call.response()
