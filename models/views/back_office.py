"""What the carrier's back office sees: the requests that wait for us, those that somebody asks about, and one whole."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from models.accounts.accounts import account_by_number
from models.db.paging import Page, read_cursor, write_cursor
from models.messages.outbox import Message, messages_of
from models.people.audit_log import AttributedEntry
from models.proofs.proofs import AddressDocument, latest_document
from models.proofs.status import ProofStatus, proof_statuses
from models.requests.requests import Request, TimelineEntry
from models.staff.actions import staff_actions_on
from models.states import Kind, Reason, Status
from models.telephony.trunks import SipTrunk
from models.values import typed_customer_number
from models.views.lists import timelines


class Matter(StrEnum):
    """Why a request waits for us."""

    HELD = "held"
    FAILED = "failed"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests. With a search it is every one that it finds, whether it waits for us or not."""

    search: str = ""
    matter: Matter | None = None
    kind: Kind | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A request with its main account. `since`: from when on it waits for us; if it does not, its last change."""

    request: Request
    matter: Matter | None
    since: datetime


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """One request with all there is to know."""

    request: Request
    timeline: Sequence[TimelineEntry]
    messages: Sequence[Message]
    asked: Sequence[ProofStatus]
    document: AddressDocument | None
    staff_actions: Sequence[AttributedEntry]

    @property
    def version(self) -> int:
        """What tells whether something has happened to it since, as in `models.staff.actions`."""
        return self.timeline[-1].id if self.timeline else 0

    @property
    def matter(self) -> Matter | None:
        """Why it waits for us, if it does."""
        return matter_of(self.request.status, self.document)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests wait for us, by why, by what was asked for, and by the reason."""

    matters: Mapping[Matter, int]
    kinds: Mapping[Kind, int]
    reasons: Mapping[Reason, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.matters.values())


def matter_of(status: Status, document: AddressDocument | None) -> Matter | None:
    """Why a request that stands so waits for us; `document` is the one that was handed in last."""
    match status:
        case Status.HELD:
            return Matter.HELD
        case Status.FAILED:
            return Matter.FAILED
        case Status.PENDING if document is not None and document.released is None:
            return Matter.DOCUMENT
    return None


_Place = tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]

# Each of the two by an index of its own that holds few.
_FOR_US = sa.select(Request.id).where(Request.status.in_((Status.HELD, Status.FAILED)))
_WITH_DOCUMENT = sa.select(AddressDocument.request_id).where(AddressDocument.released.is_(None))
_OPEN_DOCUMENT = sa.and_(
    AddressDocument.request_id == Request.id,
    AddressDocument.released.is_(None),
    Request.status == Status.PENDING,
)
_MATTER = sa.case(
    (Request.status == Status.HELD, Matter.HELD),
    (Request.status == Status.FAILED, Matter.FAILED),
    (AddressDocument.id.is_not(None), Matter.DOCUMENT),
)
_SINCE = sa.func.coalesce(AddressDocument.uploaded_at, Request.updated_at)


def page_of(session: Session, wanted: Wanted, *, after: str | None = None, limit: int = 50) -> Page[Listed]:
    """What waits for us, the longest first, or what was searched for, the newest first. Raises `BadCursor`."""
    place = _place(after) if after is not None else None
    query = sa.select(Request, _MATTER.label("matter"), _SINCE.label("since"))
    query = query.outerjoin(AddressDocument, _OPEN_DOCUMENT).options(joinedload(Request.main))
    if wanted.search:
        found = _found(session, wanted, place, limit + 1)
        query = query.where(Request.id.in_(found)).order_by(Request.id.desc())
    else:
        query = query.where(*_waiting(), *_filters(wanted)).order_by(_SINCE, Request.id)
        if place is not None:
            query = query.where(sa.tuple_(_SINCE, Request.id) > sa.tuple_(*place))
    rows = session.execute(query.limit(limit + 1)).all()
    items = [Listed(row.Request, Matter(row.matter) if row.matter else None, row.since) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items, write_cursor(items[-1].since, items[-1].request.id) if more else None)


def counts_of(session: Session) -> Counts:
    """How many requests wait for us in all. One statement."""
    groups = (_MATTER.label("matter"), Request.kind, Request.reason)
    query = sa.select(*groups, sa.func.count().label("times")).outerjoin(AddressDocument, _OPEN_DOCUMENT)
    rows = session.execute(query.where(*_waiting()).group_by(*groups)).all()
    return Counts(
        _summed((Matter(row.matter), row.times) for row in rows),
        _summed((row.kind, row.times) for row in rows),
        _summed((row.reason, row.times) for row in rows),
    )


def request_details(session: Session, id: uuid.UUID, now: datetime) -> RequestDetails | None:
    """One request with all there is to know; None if there is none. A fixed number of statements."""
    parts = (
        joinedload(Request.main),
        joinedload(Request.account),
        joinedload(Request.requester),
        selectinload(Request.trunk).selectinload(SipTrunk.blocks),
    )
    # First: whoever goes by this version has seen what led to it, or more.
    timeline = timelines(session, [id])[id]
    request = session.get(Request, id, options=parts)
    if request is None:
        return None
    return RequestDetails(
        request,
        timeline,
        messages_of(session, [id]),
        proof_statuses(session, [request], now)[id],
        latest_document(session, request),
        staff_actions_on(session, request),
    )


def _waiting() -> list[sa.ColumnElement[bool]]:
    return [Request.id.in_(_FOR_US.union_all(_WITH_DOCUMENT)), _MATTER.is_not(None)]


def _filters(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    filters: list[sa.ColumnElement[bool]] = []
    if wanted.matter is not None:
        filters.append(_MATTER.in_([wanted.matter]))
    if wanted.kind is not None:
        filters.append(Request.kind == wanted.kind)
    if wanted.reason is not None:
        filters.append(Request.reason == wanted.reason)
    return filters


def _found(session: Session, wanted: Wanted, place: _Place | None, limit: int) -> sa.SelectBase:
    """The ids of as many as there can be on a page. Each way to find one is a range of an index."""
    filters = _filters(wanted)
    if place is not None:
        filters.append(Request.id < place[1])
    ways = [
        sa.select(Request.id)
        .outerjoin(AddressDocument, _OPEN_DOCUMENT)
        .where(way, *filters)
        .order_by(Request.id.desc())
        .limit(limit)
        .subquery()
        .select()
        for way in _ways(session, wanted.search)
    ]
    return sa.union_all(*ways)


def _ways(session: Session, search: str) -> list[sa.ColumnElement[bool]]:
    """A request by its id; by a customer number those about this account, and those that it has asked for."""
    number = typed_customer_number(search)
    if number is None:
        try:
            return [Request.id == uuid.UUID(search)]
        except ValueError:
            return [sa.false()]
    # A link request that has proved nothing is about a number alone.
    ways: list[sa.ColumnElement[bool]] = [sa.and_(Request.customer_number == number, Request.account_id.is_(None))]
    account = account_by_number(session, number)
    if account is not None:
        ways += [Request.account_id == account.id, Request.main_id == account.id]
    return ways


def _summed(pairs: Iterable[tuple[Any, int]]) -> Mapping[Any, int]:
    counts: Counter[Any] = Counter()
    for what, count in pairs:
        counts[what] += count
    return counts


def _place(cursor: str) -> _Place:
    at, id = read_cursor(cursor, datetime, uuid.UUID)
    return sa.literal(at, sa.TIMESTAMP(timezone=True)), sa.literal(id, sa.Uuid)
