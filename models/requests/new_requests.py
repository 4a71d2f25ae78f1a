"""Functions that insert new requests and schedule their first steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.batch_insert import batch_add
from models.db.trace_context import current_traceparent
from models.people.rights import Principal
from models.requests.approvals import demand_approval, paying_account
from models.requests.contract_requests import owner_of_contracts
from models.requests.requests import Request
from models.states import RESERVING, Kind
from models.values import Locale


def create_account_request(
    session: Session, principal: Principal, account: Account, kind: Kind, locale: Locale, now: datetime, **details: Any
) -> Request:
    """Insert a person's request of this kind about an account, and schedule its first step; return the request.

    The request belongs to the account's main account, or to the account itself if it has none. `details` are values of
    further columns, such as `effective_on`. The first step is scheduled for that day, or for now if there is no day or
    the request reserves numbers (`RESERVING`). The caller adds the first timeline entry.
    """
    request = Request(
        kind=kind,
        main_id=owner_of_contracts(account),
        account_id=account.id,
        customer_number=account.customer_number,
        requested_by=principal.user_id,
        token_id=principal.token_id,
        locale=locale,
        **details,
    )
    return create_request(session, request, now, paying_account(session, account))


def create_request(session: Session, request: Request, now: datetime, company: Account | None = None) -> Request:
    """Insert a new request with its times, and schedule its first step; return the request, which then has its id.

    The first step is scheduled for the day `effective_on` of the request, or for now if there is none. The first step
    of a request that reserves numbers (`RESERVING`) always runs now. If the request raises the monthly cost of
    `company`, who pays for it, by the sum that the company has set, it waits for an approval. Flushes the session. The
    caller adds the first timeline entry.
    """
    request.created_at = request.updated_at = now
    request.traceparent = current_traceparent()
    request.make_due(now if request.kind in RESERVING else max(now, request.effective_at))
    if company is not None:
        demand_approval(session, request, company, now)
    session.add(request)
    session.flush()
    return request


def queue_request(session: Session, request: Request, company: Account, now: datetime) -> None:
    """Insert a new request at the next flush (`batch_add`), and schedule its first step for now.

    If the request raises the monthly cost of `company` by the sum that the company has set, it waits for an approval.
    The request's id must be set already. The caller adds the first timeline entry.
    """
    request.created_at = request.updated_at = now
    request.traceparent = current_traceparent()
    request.make_due(now)
    demand_approval(session, request, company, now)
    batch_add(session, request)
