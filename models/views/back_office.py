"""Queries of the carrier's back office: the requests that wait for the carrier, a search, and one request's details."""

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

from models.accounts.accounts import Account, account_by_number
from models.bulk.bulk import Bulk
from models.db.paging import Page, read_cursor, write_cursor
from models.messages.outbox import Message, messages_of
from models.people.audit_log import AttributedEntry
from models.proofs.documents import ProofDocument, latest_document
from models.proofs.proof_status import ProofStatus, proof_statuses
from models.proofs.proofs import Consent, MainConsent
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.staff.request_actions import staff_actions_on
from models.states import Kind, Reason, Status
from models.telephony.trunks import SipTrunk
from models.values import typed_customer_number
from models.views.request_lists import timelines


class Matter(StrEnum):
    """The reasons why a request waits for the carrier's staff.

    `HELD` and `FAILED`: the request has this status. `DOCUMENT`: staff have to accept or refuse an uploaded document.
    `CONSENT`: the administrators of another account, or of the account's present main account, have to consent, but
    mails reach none of them. `NUMBERS`: it is a move that waits for the proof of its address, and the pool has too few
    numbers for it.
    """

    HELD = "held"
    FAILED = "failed"
    DOCUMENT = "document"
    CONSENT = "consent"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class MatterFilter:
    """The filters of the back office's list of requests; a field that is None or "" does not filter.

    `search` is a request id or a customer number. `matter` is the reason why a request waits for the carrier, `reason`
    the reason code of its status. A search also finds requests that do not wait for the carrier.
    """

    search: str = ""
    matter: Matter | None = None
    kind: Kind | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of the back office's list: a request, and why it waits for the carrier; None if it does not wait.

    `since` is the time at which the undecided document was uploaded, or at which all mails asking for consent had been
    refused. For other requests it is the time of their last change.
    """

    request: Request
    matter: Matter | None
    since: datetime


@dataclass(frozen=True, slots=True)
class RequestDetails:
    """One request with its timeline, its messages, its newest uploaded document and the staff's actions on it.

    `asked` are the statuses of the proofs that the request needs. `document` is None if none was uploaded.
    """

    request: Request
    timeline: Sequence[TimelineEntry]
    messages: Sequence[Message]
    asked: Sequence[ProofStatus]
    document: ProofDocument | None
    staff_actions: Sequence[AttributedEntry]
    consent: Consent | None
    """The consent that a link request has asked another account for; None if it has asked for none."""
    main_consent: MainConsent | None
    """The consent that a switch has asked the account's present main account for; None if it has asked for none."""
    asked_main: Account | None
    """The present main account that a switch has asked for consent; None if it has asked for none."""

    @property
    def version(self) -> int:
        """Return the request's version, which every change raises: the id of its newest timeline entry, or 0."""
        return self.timeline[-1].id if self.timeline else 0

    @property
    def matter(self) -> Matter | None:
        """Return why the request waits for the carrier; None if it does not."""
        return matter_of(self.request, self.document, self.consent, self.main_consent)

    @property
    def asks_nobody(self) -> str:
        """Return the customer number of the account whose administrators are to consent but get no mail.

        In a switch that has asked the present main account for consent, it is that main account. Otherwise it is the
        account to be attached. Read it only if `matter` is `CONSENT`.
        """
        return self.asked_main.customer_number if self.asked_main is not None else self.request.customer_number


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests wait for the carrier: by the reason for it (`Matter`), by kind of request, by reason code."""

    matters: Mapping[Matter, int]
    kinds: Mapping[Kind, int]
    reasons: Mapping[Reason, int]

    @property
    def total(self) -> int:
        """Return the total number of requests that wait for the carrier."""
        return sum(self.matters.values())


def matter_of(
    request: Request, document: ProofDocument | None, consent: Consent | None, main_consent: MainConsent | None
) -> Matter | None:
    """Return why the request waits for the carrier; None if it does not.

    `document` is the newest document uploaded for the request. `consent` is the question to the administrators of the
    account to be attached, `main_consent` the question to those of its present main account. Each is None if there is
    none.
    """
    # Ownership can be proved otherwise while the first question is open: then only the second one waits.
    asked = {Reason.CONSENT_AWAITED: consent, Reason.MAIN_CONSENT_AWAITED: main_consent}
    question = asked.get(request.reason) if request.reason is not None else None
    match request.status:
        case Status.HELD:
            return Matter.HELD
        case Status.FAILED:
            return Matter.FAILED
        case Status.PENDING if document is not None and document.released is None:
            return Matter.DOCUMENT
        case Status.PENDING if question is not None and question.unreached_since and not question.decision:
            return Matter.CONSENT
        case Status.PENDING if request.kind is Kind.MOVE and request.block_size is not None:
            return Matter.NUMBERS
    return None


_Place = tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]

# Each of the five by an index of its own that holds few.
_FOR_US = sa.select(Request.id).where(Request.status.in_((Status.HELD, Status.FAILED)))
_WITH_DOCUMENT = sa.select(ProofDocument.request_id).where(ProofDocument.released.is_(None))
_UNREACHED = [
    sa.select(table.request_id).where(table.unreached_since.is_not(None), table.decision.is_(None))
    for table in (Consent, MainConsent)
]
# The size of which the pool has too few; the step that reserves them says it.
_LACKS_NUMBERS = sa.and_(Request.kind == Kind.MOVE, Request.status == Status.PENDING, Request.block_size.is_not(None))
_SHORT = sa.select(Request.id).where(_LACKS_NUMBERS)
_OPEN_DOCUMENT = sa.and_(
    ProofDocument.request_id == Request.id,
    ProofDocument.released.is_(None),
    Request.status == Status.PENDING,
)
_UNREACHED_CONSENT = sa.and_(
    Consent.request_id == Request.id,
    Consent.unreached_since.is_not(None),
    Consent.decision.is_(None),
    Request.status == Status.PENDING,
    # Ownership can be proved otherwise while the question is open.
    Request.reason == Reason.CONSENT_AWAITED,
)
_UNREACHED_MAIN = sa.and_(
    MainConsent.request_id == Request.id,
    MainConsent.unreached_since.is_not(None),
    MainConsent.decision.is_(None),
    Request.status == Status.PENDING,
    Request.reason == Reason.MAIN_CONSENT_AWAITED,
)
_MATTER = sa.case(
    (Request.status == Status.HELD, Matter.HELD),
    (Request.status == Status.FAILED, Matter.FAILED),
    (ProofDocument.id.is_not(None), Matter.DOCUMENT),
    (sa.or_(Consent.request_id.is_not(None), MainConsent.request_id.is_not(None)), Matter.CONSENT),
    (_LACKS_NUMBERS, Matter.NUMBERS),
)
_SINCE = sa.func.coalesce(
    ProofDocument.uploaded_at, Consent.unreached_since, MainConsent.unreached_since, Request.updated_at
)


def page_of(session: Session, wanted: MatterFilter, *, after: str | None = None, limit: int = 50) -> Page[Listed]:
    """Return a page of requests that wait for the carrier, the longest waiting first.

    If `wanted.search` is set, return the requests that the search finds instead, the newest first, whether or not they
    wait. `after` is the cursor from the previous page (None: first page), `limit` the page size. Raises `BadCursor` if
    `after` is no cursor of this list.
    """
    place = _place(after) if after is not None else None
    query = sa.select(Request, _MATTER.label("matter"), _SINCE.label("since"))
    query = _with_matters(query).options(joinedload(Request.main))
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


def matter_counts(session: Session) -> Counts:
    """Return how many requests wait for the carrier, by `Matter`, kind and reason code. Runs one statement."""
    groups = (_MATTER.label("matter"), Request.kind, Request.reason)
    query = _with_matters(sa.select(*groups, sa.func.count().label("times")).select_from(Request))
    rows = session.execute(query.where(*_waiting()).group_by(*groups)).all()
    return Counts(
        _summed((Matter(row.matter), row.times) for row in rows),
        _summed((row.kind, row.times) for row in rows),
        _summed((row.reason, row.times) for row in rows),
    )


def request_details(session: Session, id: uuid.UUID, now: datetime) -> RequestDetails | None:
    """Return the request with this id in detail; None if there is none. Runs a fixed number of statements."""
    parts = (
        joinedload(Request.main),
        joinedload(Request.account),
        joinedload(Request.requester),
        selectinload(Request.trunk).selectinload(SipTrunk.blocks),
    )
    # Read first: the request that is read afterwards is as new as this version, or newer.
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
        session.get(Consent, id),
        session.get(MainConsent, id),
        session.scalar(sa.select(Account).join(MainConsent).where(MainConsent.request_id == id)),
    )


def waiting_files(session: Session, most: int = 50) -> list[Bulk]:
    """Return up to `most` bulks (uploaded files) whose next rows a limit of their company stops, the oldest first.

    Such a limit is that on open orders, or on letters in one day.
    Each bulk's main account is loaded with it.
    """
    query = sa.select(Bulk).where(Bulk.waits_for.is_not(None)).order_by(Bulk.id).limit(most)
    return list(session.scalars(query.options(joinedload(Bulk.main))))


def _with_matters(query: sa.Select[Any]) -> sa.Select[Any]:
    """Add outer joins to a query for requests: with the undecided document, and with consents whose mails reach nobody.

    `_MATTER` and `_SINCE` use the joined columns to tell why a request waits for the carrier, and since when.
    """
    documents = query.outerjoin(ProofDocument, _OPEN_DOCUMENT)
    return documents.outerjoin(Consent, _UNREACHED_CONSENT).outerjoin(MainConsent, _UNREACHED_MAIN)


def _waiting() -> list[sa.ColumnElement[bool]]:
    return [Request.id.in_(_FOR_US.union_all(_WITH_DOCUMENT, *_UNREACHED, _SHORT)), _MATTER.is_not(None)]


def _filters(wanted: MatterFilter) -> list[sa.ColumnElement[bool]]:
    filters: list[sa.ColumnElement[bool]] = []
    if wanted.matter is not None:
        filters.append(_MATTER.in_([wanted.matter]))
    if wanted.kind is not None:
        filters.append(Request.kind == wanted.kind)
    if wanted.reason is not None:
        filters.append(Request.reason == wanted.reason)
    return filters


def _found(session: Session, wanted: MatterFilter, place: _Place | None, limit: int) -> sa.SelectBase:
    """Return a query for the ids of a page of search results: a union of one subquery for each condition of `_ways`.

    `wanted` has the search text and the filters. The page begins after the request that `place` names (None: first
    page). Each subquery returns at most `limit` ids and reads a range of one index.
    """
    filters = _filters(wanted)
    if place is not None:
        filters.append(Request.id < place[1])
    ways = [
        _with_matters(sa.select(Request.id))
        .where(way, *filters)
        .order_by(Request.id.desc())
        .limit(limit)
        .subquery()
        .select()
        for way in _ways(session, wanted.search)
    ]
    return sa.union_all(*ways)


def _ways(session: Session, search: str) -> list[sa.ColumnElement[bool]]:
    """Return SQL conditions, each of which finds requests by one meaning of the search text.

    The text can be a request's id, or the customer number of the request's main account or of the account that the
    request is about.
    """
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
