"""The API endpoint that changes the contract of a SIP trunk."""

from __future__ import annotations

from flask import Response

from models.accounts.locks import lock_active_account
from models.changes.changes import submit_change, trunk_to_change
from models.people.rights import Action
from web.api import schemas
from web.api.access import caller, get_visible_account, now
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body, request_url
from web.request_bodies import ChangeBody


@api.post(
    "/changes",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 409: schemas.Problem},
)
def create_change(body: ChangeBody) -> Response:
    """Change the tariff and the number of channels of a SIP trunk of the token's account or one of its sub-accounts.

    Without `effective_on` the change takes effect at once, otherwise at the beginning of that day in Berlin; until then
    `POST /requests/{id}/cancel` withdraws it. It must take effect on a later day than the changes already planned for
    the trunk. In the answer, `change` has the terms before and after. Answers 404 if the account or the trunk is not
    visible, and 409 while a change of the trunk that takes effect at once is running.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, body.customer_number, Action.CHANGE_CONTRACT)
            lock_active_account(session, account)
            trunk = trunk_to_change(session, caller(), account, body.sip_user)
            change = submit_change(session, caller(), account, trunk.id, body.as_draft(caller().locale), now())
            call.save_answer(202, request_body(session, change), about=change, location=request_url(change))
    call.log_acceptance()
    return call.response()
