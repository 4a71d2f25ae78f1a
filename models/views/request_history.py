"""The history of a main account's requests, with filters and search, page by page, the newest first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.accounts import Account
from models.db.word_search import matching
from models.people.users import User
from models.requests.requests import Request
from models.states import ENDED, AccountState, Kind, Status
from models.views.request_lists import listed_of


class Progress(StrEnum):
    """The filters of the history by status: not ended (`open`), completed, or ended without success (`failed`)."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def statuses(self) -> frozenset[Status]:
        """Return the statuses of the requests that match this filter."""
        match self:
            case Progress.OPEN:
                return frozenset(Status) - ENDED
            case Progress.COMPLETED:
                return frozenset({Status.COMPLETED})
            case Progress.FAILED:
                return ENDED - {Status.COMPLETED}


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """The filters of the history; a field that is None or "" does not filter.

    Each word of `search` must occur in the customer number, in the location's name or city, or in the requester's name.
    """

    search: str = ""
    kind: Kind | None = None
    progress: Progress | None = None

    @property
    def is_narrowed(self) -> bool:
        """Return whether any filter is set."""
        return bool(self.search or self.kind or self.progress)


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A row of the history: a request with its requester loaded, and its location (an account).

    The request's `requester` is None if a scheduled job of the carrier made the request. `location` is None if the
    account does not belong to the main account: its link is not completed, or it has left. An ordered account that
    never came into service is given all the same.
    """

    request: Request
    location: Account | None


def history_of(
    session: Session,
    main: Account,
    wanted: HistoryFilter,
    *,
    before: uuid.UUID | None = None,
    limit: int = 50,
) -> Sequence[PastRequest]:
    """Return up to `limit` requests of a main account that match the filters, the newest first. Runs one statement.

    With `before`, a request id, returns only older requests.
    """
    query = (
        sa.select(Request, Account)
        .outerjoin(Account, sa.and_(Account.id == Request.account_id, _is_known(main)))
        .outerjoin(User, User.id == Request.requested_by)
        .where(listed_of(main), *_filters(wanted))
        .order_by(Request.id.desc())
        .limit(limit)
        .options(joinedload(Request.requester))
    )
    if before is not None:
        query = query.where(Request.id < before)
    return [PastRequest(request, account) for request, account in session.execute(query)]


def _is_known(main: Account) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the account belongs to `main`, or `main` ordered it and it never came into service."""
    ordered = sa.and_(Request.kind == Kind.ORDER, Account.state != AccountState.ACTIVE, Account.main_id.is_(None))
    return sa.or_(Account.main_id == main.id, Account.id == main.id, ordered)


def _filters(wanted: HistoryFilter) -> list[sa.ColumnElement[bool]]:
    columns: Sequence[Any] = (Request.customer_number, Account.name, Account.city, User.name)
    filters = matching(wanted.search.split(), *columns) if wanted.search else []
    if wanted.kind is not None:
        filters.append(Request.kind == wanted.kind)
    if wanted.progress is not None:
        filters.append(Request.status.in_(wanted.progress.statuses))
    return filters
