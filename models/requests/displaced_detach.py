"""Restoring of a planned detachment that an earlier one replaced, if the earlier one did not take place.

A sub-account and its main account may each plan to end their link. Only the request with the earlier day runs.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import object_session

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.people.users import User
from models.requests.detach_mails import tell_of_plan
from models.requests.new_requests import create_request
from models.requests.requests import Request
from models.states import AccountState, Kind, Status


def restore_displaced(request: Request, now: datetime) -> Request | None:
    """Create a new request in place of the detach request that `request` had replaced; return the new request.

    Called when `request` has ended without success. Both are requests to detach one sub-account: one was made by the
    main account, the other by the sub-account. The new request has the requester and the day of the replaced one, and
    mails tell the administrators of both accounts. If the day has come already, the new request detaches at once,
    without mails.

    Returns None, and does nothing, if `request` was completed or had replaced none, or if the account has left its main
    account or was closed.
    """
    session = object_session(request)
    if session is None or request.displaced_id is None or request.status is Status.COMPLETED:
        return None
    account, displaced = session.get(Account, request.account_id), session.get(Request, request.displaced_id)
    if account is None or displaced is None or account.state is not AccountState.ACTIVE:
        return None
    if account.main_id != request.main_id:
        return None
    # Of two requests only one may run.
    session.flush()
    planned = displaced.effective_on
    restored = create_request(
        session,
        Request(
            kind=Kind.DETACH,
            main_id=displaced.main_id,
            account_id=displaced.account_id,
            customer_number=displaced.customer_number,
            requested_by=displaced.requested_by,
            token_id=displaced.token_id,
            by_sub_account=displaced.by_sub_account,
            displaced_id=displaced.displaced_id,
            effective_on=planned if planned is not None and planned > berlin_day(now) else None,
            locale=displaced.locale,
        ),
        now,
    )
    if restored.effective_on is None:
        restored.note(now, "detach_received", customer_number=restored.customer_number)
        return restored
    restored.note(
        now, "detach_restored", customer_number=restored.customer_number, day=restored.effective_on.isoformat()
    )
    person = session.get(User, displaced.requested_by) if displaced.requested_by is not None else None
    side = account.name if displaced.by_sub_account else session.get_one(Account, displaced.main_id).name
    tell_of_plan(session, restored, "detach_planned", now, person.name if person is not None else side)
    return restored
