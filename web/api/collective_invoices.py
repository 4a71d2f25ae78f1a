"""The API endpoints by which a main account pays for a sub-account by its collective invoice, and stops paying."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import last_day
from models.errors import RuleBroken
from models.links.collective_invoices import BilledElsewhere
from models.links.invoice_membership import billing_view, join_invoice, leave_invoice, offer_invoice, withdraw_offer
from models.requests.requests import Request
from models.states import Reason
from web.api import schemas
from web.api.access import caller, get_visible_account, now
from web.api.blueprint import api, json_response
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_url
from web.resources import resources

_ADDRESS = "/accounts/<customer_number>/collective-invoice"


@api.get(_ADDRESS, responses={200: schemas.BillingBody, 404: schemas.Problem})
def show_billing(path: schemas.AccountPath) -> Response:
    """Return whether a sub-account is on the collective invoice of its main account, or is asked to join it."""
    with call_transaction() as session:
        return json_response(_body(session, get_visible_account(session, path.customer_number)))


@api.put(
    _ADDRESS,
    responses={
        200: schemas.BillingBody,
        403: schemas.Problem,
        404: schemas.Problem,
        409: schemas.Problem,
        422: schemas.Problem,
        429: schemas.Problem,
    },
)
def join_collective_invoice(path: schemas.AccountPath) -> Response:
    """Put a sub-account on the collective invoice of its main account, or ask its administrators for their consent.

    Nobody is asked if the sub-account has no administrator. Otherwise its administrators get an e-mail and can answer
    within 14 days; `state` is then `asked`. A repeated call changes nothing more. Answers 403 unless the token is the
    main account's, 409 if the account is on another collective invoice, 422 if it is to be detached, and 429 if the
    administrators were asked within the last day.
    """
    with call_transaction() as session:
        account = get_visible_account(session, path.customer_number)
        try:
            if not join_invoice(session, resources().vault, caller(), account, None, now()):
                offer_invoice(session, caller(), account, now())
        except BilledElsewhere as error:
            raise RuleBroken(Reason.BILLED_TOGETHER, account.customer_number) from error
        session.flush()
        return json_response(_body(session, account))


@api.delete(
    _ADDRESS,
    responses={
        200: schemas.BillingBody,
        403: schemas.Problem,
        404: schemas.Problem,
        409: schemas.Problem,
        422: schemas.Problem,
        429: schemas.Problem,
    },
)
def leave_collective_invoice(path: schemas.AccountPath, query: schemas.LeaveQuery) -> Response:
    """Take a sub-account off the collective invoice, or take the question to its administrators back.

    The account is billed by itself from now on. It stays a sub-account, or with `detach=true` is detached at once by
    the request whose address is `detachment`. Answers 403 if it cannot stay, because only the invoice has attached it,
    and 409 if it has no administrator of its own and therefore cannot be detached. After a detachment, a call that
    repeats the `Idempotency-Key` still gets the first answer; any other gets 404.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, path.customer_number)
            if billing_view(session, caller(), account, now()).invoice is None:
                withdraw_offer(session, caller(), account, now())
            detach = leave_invoice(session, caller(), account, caller().locale, now(), stays_linked=not query.detach)
            session.flush()
            call.save_answer(200, _body(session, account, detach), about=detach)
    if call.is_new:
        call.log_acceptance()
    return call.response()


def _body(session: Session, account: Account, detach: Request | None = None) -> dict[str, Any]:
    view = billing_view(session, caller(), account, now())
    return {
        "state": "joined" if view.invoice is not None else "asked" if view.offer is not None else "own",
        "invoice": view.invoice,
        "asked_until": last_day(view.offer.expires_at).isoformat() if view.offer is not None else None,
        "detachment": request_url(detach) if detach is not None else None,
    }
