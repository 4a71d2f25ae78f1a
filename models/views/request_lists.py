"""Lists of requests, the newest first, and their timelines, each with a fixed number of SQL statements."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import ENDED, OF_CONTRACTS, AccountRole, Kind, Status


def running_request(session: Session, main: Account, account: Account) -> Request | None:
    """Return the newest request of `main` about `account` that has not ended; None if there is none."""
    return session.scalar(
        sa.select(Request)
        .where(Request.main_id == main.id, Request.account_id == account.id, Request.status.not_in(ENDED))
        .order_by(Request.id.desc())
        .limit(1)
    )


def listed_of(account: Account) -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Request`: the request is shown in the account's own list of requests.

    The list has the requests that the account made as a main account. Unless the account is a main account now, the
    list also has requests about its own contracts or its own detachment, even those made under a former main account.
    """
    own = Request.main_id == account.id
    if account.role is AccountRole.MAIN:
        return own
    about_itself = Request.kind.in_(OF_CONTRACTS | {Kind.DETACH})
    return sa.or_(own, sa.and_(Request.account_id == account.id, about_itself))


def requests_of(
    session: Session,
    main: Account,
    *,
    before: uuid.UUID | None = None,
    limit: int = 50,
    statuses: Sequence[Status] = (),
) -> list[Request]:
    """Return up to `limit` requests of a main account, the newest first.

    With `before`, a request id, returns only older requests; with `statuses`, only requests that have one of them.
    """
    query = sa.select(Request).where(listed_of(main)).order_by(Request.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Request.id < before)
    if statuses:
        query = query.where(Request.status.in_(statuses))
    return list(session.scalars(query))


def recent_requests(
    session: Session, *, main: Account | None = None, statuses: Sequence[Status] = (), limit: int = 50
) -> list[Request]:
    """Return up to `limit` requests for the back office, of all customers or only of `main`, the newest first.

    With `statuses`, returns only requests that have one of them. Each request's main account is loaded with it.
    """
    query = sa.select(Request).order_by(Request.id.desc()).limit(limit).options(joinedload(Request.main))
    if main is not None:
        query = query.where(Request.main_id == main.id)
    if statuses:
        query = query.where(Request.status.in_(statuses))
    return list(session.scalars(query))


def timelines(session: Session, request_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[TimelineEntry]]:
    """Return a defaultdict of request id to timeline, a list of entries, the oldest first.

    A request without entries has an empty list.
    """
    entries: dict[uuid.UUID, list[TimelineEntry]] = defaultdict(list)
    for entry in session.scalars(
        sa.select(TimelineEntry).where(TimelineEntry.request_id.in_(request_ids)).order_by(TimelineEntry.id)
    ):
        entries[entry.request_id].append(entry)
    return entries
