"""Bulks: a bulk is one uploaded file with up to 10,000 orders or link requests, or 500 requests about accounts.

A row keeps its cells as typed, and the errors found in them; people can correct the cells until the bulk is sent. Sent
bulks are a work queue (`models.db.work_queue`): a worker turns a bulk's rows into requests, some at a time. The
transaction that creates a request also records it in the row, so each row is ordered once, even if the worker dies.
Equal content is ordered only once for a main account, even from different files (`key`), unless the first order was
rejected or cancelled.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from models import retention
from models.accounts.accounts import Account
from models.accounts.company_limits import Limit
from models.contracts.catalogue import PriceLine, price_lines_from_json
from models.db.base import Base, enumeration
from models.db.trace_context import current_traceparent
from models.db.work_queue import QueueRow, WorkKind, due_index, lease_ends
from models.errors import NotFound
from models.messages.outbox import Message
from models.orders.orders import Contact, LocalUser, Location, OrderDraft
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.requests.requests import Request
from models.states import ENDED, Kind, Status
from models.telephony.directory import directory_data
from models.telephony.trunks import RequestUri
from models.values import Locale

MOST_ROWS = 10_000
"""Maximum number of rows in one file."""
ON_ACCOUNTS = frozenset({Kind.CHANGE, Kind.NUMBERS, Kind.MOVE, Kind.CANCEL, Kind.DETACH})
"""The kinds of files whose rows are about accounts that the company has: each row has a quote, like a form's page."""
MOST_ON_ACCOUNTS = 500
"""Maximum number of rows in a file about accounts: the quote of each row is made anew whenever its page is shown."""
ACTIONS: Mapping[Kind, Action] = {
    Kind.ORDER: Action.ORDER,
    Kind.LINK: Action.LINK,
    Kind.CHANGE: Action.CHANGE_CONTRACT,
    Kind.NUMBERS: Action.CHANGE_CONTRACT,
    Kind.MOVE: Action.CHANGE_CONTRACT,
    Kind.CANCEL: Action.CHANGE_CONTRACT,
    Kind.DETACH: Action.DETACH,
}
"""The right in the main account that a person needs for a bulk file, by the kind of its requests."""


class RowFate(StrEnum):
    """The result of a row of a sent bulk file.

    `PLACED`: a request was created. `REPEATED`: the row's content was requested before, by another row of this or an
    earlier file. `REFUSED`: the row was left out before the file was sent, or no request could be created for it.
    """

    PLACED = "placed"
    REPEATED = "repeated"
    REFUSED = "refused"


class RowChoice(StrEnum):
    """A person's choice for a row before the bulk file is sent: leave it out, or order it although its location exists.

    A location exists if a sub-account or an earlier row has its name and address. The row's `choice` is null if nothing
    was chosen.
    """

    LEAVE_OUT = "leave_out"
    ORDER = "order"


class Bulk(QueueRow, Base):
    """An uploaded file with many requests of one kind (`kind`) for the main account `main_id`.

    A worker turns its rows into requests between `sent_at` and `placed_at`; the bulk stays in the work queue until all
    these requests have ended (`ended_at`). `fingerprint` is a keyed digest of the content, by which a second upload is
    recognised.
    """

    __tablename__ = "bulks"
    WORK = WorkKind.BULKS

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("uuidv7()"))
    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    kind: Mapped[Kind] = mapped_column(enumeration(Kind, "kind"))
    locale: Mapped[Locale] = mapped_column(sa.Text)
    file_name: Mapped[str]
    place: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    """Where in the file the table was found, such as `line` (of its headings) and `sheet`; None in older rows."""
    fingerprint: Mapped[bytes]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    price_lines: Mapped[list[dict[str, Any]] | None] = mapped_column(postgresql.JSONB)
    """The prices agreed when the bulk was sent, as JSON of `PriceLine`.

    None before it is sent, for links, and in older rows.
    """
    traceparent: Mapped[str | None]
    """The trace context of the page request that sent the bulk; None if it was not traced."""
    waits_for: Mapped[Limit | None] = mapped_column(enumeration(Limit, "waits_for"))
    """The limit of the company because of which the next rows cannot be ordered now; None if there is none."""
    office_told_at: Mapped[datetime | None]
    """The time at which the back office was told that rows wait for a limit; None if it was not told."""
    placed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    main: Mapped[Account] = relationship(lazy="raise_on_sql")
    user: Mapped[User] = relationship(lazy="raise_on_sql")

    __table_args__ = (
        sa.UniqueConstraint("main_id", "fingerprint", name="uq_bulks_file"),
        sa.CheckConstraint(
            "kind IN ('order', 'link', 'change', 'numbers', 'move', 'cancel', 'detach')", name="kind_in_files"
        ),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
        sa.CheckConstraint("(due_at IS NOT NULL) = (sent_at IS NOT NULL AND ended_at IS NULL)", name="sent_is_due"),
        sa.CheckConstraint("ended_at IS NULL OR placed_at IS NOT NULL", name="ends_when_placed"),
        lease_ends(),
        due_index("bulks"),
        sa.Index("ix_bulks_main_id_id", "main_id", "id"),
        # Few bulks wait at one time.
        sa.Index("ix_bulks_waiting", "id", postgresql_where=sa.text("waits_for IS NOT NULL")),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for bulks to delete: not sent, uploaded at least `retention.BULKS` (30 days) ago."""
        return cls.sent_at.is_(None) & (cls.created_at <= now - retention.BULKS)

    @classmethod
    def long_ended(cls, now: datetime, periods: retention.Periods) -> sa.ColumnElement[bool]:
        """Return an SQL condition for bulks to delete: their last request ended at least `periods.files` ago."""
        return cls.ended_at <= now - periods.files

    @property
    def agreed_prices(self) -> Mapping[str, PriceLine]:
        """Return the prices at which the bulk file was sent, by product key.

        Empty if none were agreed; then each row is ordered at the prices of the day on which it becomes an order.
        """
        return price_lines_from_json(self.price_lines or [])

    def send(self, now: datetime, prices: Iterable[PriceLine] = ()) -> None:
        """Put the bulk file into the work queue now, so that a worker turns its rows into requests.

        Orders get the agreed `prices`; without them the price list applies. Safe to run twice: a second call changes
        nothing, not even the prices.
        """
        if self.sent_at is None:
            self.sent_at = now
            self.traceparent = current_traceparent()
            self.price_lines = [asdict(line) for line in prices] or None
            self.make_due(now)

    def wait_for(self, limit: Limit, again_at: datetime) -> None:
        """Record that `limit`, a limit of the company, stops the next rows; schedule the next try for `again_at`."""
        self.waits_for = limit
        self.make_due(again_at)

    def placed(self, now: datetime) -> None:
        """Record that every row has a result: a request was created, the row repeats another one, or it was refused."""
        self.placed_at = now

    def end(self, now: datetime) -> None:
        """Record that every request of the bulk file has ended, and take the bulk out of the work queue."""
        self.ended_at = now
        self.rest()


class BulkRow(Base):
    """A line of the file: `cells` as typed, by column; either `errors` by column, or `draft`, the request to create.

    A link code is stored encrypted. `key` is a hash of an order's content, by which a repeated order is found; for a
    link request it is unique to the row. `choice` is what a person chose before the bulk was sent. `fate` is the row's
    result after the bulk was sent. `request_id` is then the id of the created request. For a refused row, `refusal` is
    the code of the reason, and `about` the customer number or line number that the reason mentions.
    """

    __tablename__ = "bulk_rows"

    bulk_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("bulks.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    cells: Mapped[dict[str, Any]]
    errors: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    draft: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    key: Mapped[bytes | None]
    fate: Mapped[RowFate | None] = mapped_column(enumeration(RowFate, "fate"))
    refusal: Mapped[str | None]
    about: Mapped[str | None]
    choice: Mapped[RowChoice | None] = mapped_column(enumeration(RowChoice, "choice"))
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)

    __table_args__ = (
        sa.CheckConstraint("(errors IS NULL) = (draft IS NOT NULL)", name="wrong_or_right"),
        sa.CheckConstraint("(draft IS NULL) = (key IS NULL)", name="right_has_key"),
        sa.CheckConstraint("(fate = 'placed') = (request_id IS NOT NULL)", name="placed_has_request"),
        sa.CheckConstraint("(fate = 'refused') = (refusal IS NOT NULL)", name="refused_has_reason"),
        sa.CheckConstraint(
            "fate IS NULL OR draft IS NOT NULL OR (choice = 'leave_out' AND fate = 'refused')", name="only_right_ones"
        ),
        sa.Index("uq_bulk_rows_key", "main_id", "key", unique=True, postgresql_where=sa.text("fate = 'placed'")),
        sa.Index("ix_bulk_rows_open", "bulk_id", "line", postgresql_where=sa.text("fate IS NULL")),
    )

    def forget_code(self) -> None:
        """Delete the link code from the row's cells and draft, because this secret is no longer needed."""
        if self.cells.get("code"):
            self.cells = {**self.cells, "code": ""}
        if self.draft is not None and self.draft.get("code"):
            self.draft = {**self.draft, "code": ""}


CAME_TO_NOTHING = (Status.REJECTED, Status.CANCELLED)
"""Final statuses of a request without success, after which an equal order may be placed."""


def own_bulk(session: Session, id: uuid.UUID, principal: Principal, *, lock: bool = False) -> Bulk:
    """Return the bulk file with this id, if the person may see it. `lock` locks its row until the transaction ends.

    Raises `NotFound` if there is none, or if the person may not create requests of its kind for its main account.
    """
    found = session.get(Bulk, id, with_for_update=lock or None)
    if found is None or not may(principal, ACTIONS[found.kind], session.get_one(Account, found.main_id)):
        raise NotFound
    return found


def bulks_of(session: Session, main: Account, most: int = 50) -> list[Bulk]:
    """Return up to `most` bulk files of a main account, sent or not, the newest first."""
    return list(session.scalars(sa.select(Bulk).where(Bulk.main_id == main.id).order_by(Bulk.id.desc()).limit(most)))


def waiting_bulks(session: Session, main_id: int) -> list[Bulk]:
    """Return the main account's bulk files whose next rows a limit of the company stops, such as that on open orders.

    The oldest file comes first. Each is locked until the transaction ends, so that the caller can schedule it anew once
    the limits have changed. Files that a worker has claimed or another transaction has locked are left out.
    """
    query = sa.select(Bulk).where(Bulk.main_id == main_id, Bulk.waits_for.is_not(None), Bulk.lease.is_(None))
    return list(session.scalars(query.order_by(Bulk.id).with_for_update(skip_locked=True)))


def rows_of(
    session: Session,
    bulk: Bulk,
    *,
    lines: Sequence[int] | None = None,
    wrong: bool = False,
    after: int = 0,
    most: int = MOST_ROWS,
) -> list[BulkRow]:
    """Return up to `most` rows of a bulk file in the file's order, beginning after the line number `after`.

    `lines` restricts the result to rows with these line numbers (None: all). `wrong` restricts it to rows that have
    errors and were not left out by a person. Line numbers are those of the uploaded file.
    """
    query = sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.line > after)
    if lines is not None:
        query = query.where(BulkRow.line.in_(lines))
    if wrong:
        query = query.where(BulkRow.errors.is_not(None), BulkRow.choice.is_distinct_from(RowChoice.LEAVE_OUT))
    return list(session.scalars(query.order_by(BulkRow.line).limit(most)))


def is_over(session: Session, bulk: Bulk) -> bool:
    """Return whether every request that was created from the bulk file has ended; True also if there is none."""
    running = sa.exists().where(Request.bulk_id == bulk.id, Request.status.not_in(ENDED))
    return not session.scalar(sa.select(running))


def open_rows(session: Session, bulk: Bulk, most: int) -> list[BulkRow]:
    """Return up to `most` rows of the bulk file that have no result yet, in the order of the file."""
    query = sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.fate.is_(None))
    return list(session.scalars(query.order_by(BulkRow.line).limit(most)))


def placed_before(session: Session, rows: Sequence[BulkRow]) -> set[bytes]:
    """Return the keys of those `rows` whose content the main account has already requested, from this or another file.

    A row's key is a hash of its content. Requests that were rejected or cancelled do not count, so that equal content
    can be requested again: this function first changes the keys of the rows from which such requests came.
    """
    placed = (
        BulkRow.main_id.in_({row.main_id for row in rows}),
        BulkRow.key.in_([row.key for row in rows]),
        BulkRow.fate == RowFate.PLACED,
    )
    # Their keys are free again.
    ended = (BulkRow.request_id == Request.id, Request.status.in_(CAME_TO_NOTHING))
    own_key = sa.func.sha256(BulkRow.key.op("||")(sa.func.uuid_send(BulkRow.request_id)))
    freed = sa.update(BulkRow).where(*placed, *ended).values(key=own_key)
    session.execute(freed.execution_options(synchronize_session=False))
    return {key for key in session.scalars(sa.select(BulkRow.key).where(*placed)) if key is not None}


def as_order(draft: Mapping[str, Any]) -> OrderDraft:
    """Build the order draft from the JSON object that is saved with its row (made by `as_facts`)."""
    return OrderDraft(
        **{
            **draft,
            "location": Location(**draft["location"]),
            "contact": Contact(**draft["contact"]),
            "option_keys": tuple(draft["option_keys"]),
            "directory_entry": directory_data(draft.get("directory_entry")),
            "local_user": LocalUser(**draft["local_user"]) if draft.get("local_user") else None,
            "request_uri": RequestUri(draft["request_uri"]) if draft.get("request_uri") else None,
            "countries": tuple(draft["countries"]) if draft.get("countries") else None,
        }
    )


def as_facts(order: OrderDraft) -> dict[str, Any]:
    """Return the order draft as a JSON object, to be saved with its row; optional fields that are None are omitted.

    Omitting them keeps the row's key, a hash of the order, equal to that of rows saved before these fields existed.
    """
    optional = {*order.details, "local_user", "request_uri", "countries"}
    return {name: value for name, value in asdict(order).items() if value is not None or name not in optional}


def is_in_running_bulk(session: Session, request: Request) -> bool:
    """Return whether the request belongs to a bulk (uploaded file) that has not ended, and so gets no mails of its own.

    After the bulk's end, a request that is retried gets mails of its own.
    """
    return request.bulk_id is not None and session.get_one(Bulk, request.bulk_id).ended_at is None


def detach_from_bulks(session: Session, ids: Sequence[uuid.UUID]) -> None:
    """Clear the references of requests and messages to the bulk files with these ids, so that the files can be deleted.

    All their requests must have ended.
    """
    for table in (Request, Message):
        alone = sa.update(table).where(table.bulk_id.in_(ids)).values(bulk_id=None)
        session.execute(alone.execution_options(synchronize_session=False))
