"""The table of requests: orders, links, switches, detach requests, changes, more numbers, moves and cancellations.

A request's row says which processing step runs next, and when (`models.db.work_queue`).
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column, object_session, relationship

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.db.base import Base, enumeration, quoted
from models.db.batch_insert import batch_insert
from models.db.work_queue import BulkQueueRow, WorkKind, alone_index, due_index, lease_ends
from models.errors import IllegalTransition, TooLate
from models.people.users import User
from models.requests.promises import promised_until
from models.requests.timeline import TimelineEntry
from models.same_address import Place
from models.states import (
    ENDED,
    Actor,
    Kind,
    ProofMethod,
    Reason,
    Status,
    StepName,
    may_become,
)
from models.telephony.area_codes import AreaCode
from models.telephony.trunks import RequestUri, SipTrunk
from models.values import Locale

_ENDED = quoted(*sorted(ENDED))
_PROVISION = f"step = {quoted(StepName.PROVISION)}"


class Request(BulkQueueRow, Base):
    """A request: to order a sub-account, link, detach or move an account, change or cancel contracts, add numbers.

    `main` is the main account that makes the request. In requests about the contracts of an account without a main
    account, it is that account itself. `account` is the account that is ordered, linked, detached, changed or
    cancelled; None for a link until ownership is proved. A switch is a link for which the account's present main
    account has to consent, too; then `main` is the new main account, and `account` is None until both have agreed.
    Change the status only by the methods, which keep status, reason, times and timeline consistent.
    """

    __tablename__ = "requests"
    WORK = WorkKind.VERIFY
    OWNER = "requests.main_id"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("uuidv7()"))
    kind: Mapped[Kind] = mapped_column(enumeration(Kind, "kind"))
    status: Mapped[Status] = mapped_column(enumeration(Status, "status"), default=Status.ACKNOWLEDGED)
    step: Mapped[StepName] = mapped_column(enumeration(StepName, "step"), default=StepName.VERIFY)
    reason: Mapped[Reason | None] = mapped_column(enumeration(Reason, "reason"))

    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    customer_number: Mapped[str]
    requested_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    token_id: Mapped[int | None] = mapped_column(sa.ForeignKey("api_tokens.id"))
    locale: Mapped[Locale] = mapped_column(sa.Text)

    product_key: Mapped[str | None] = mapped_column(sa.ForeignKey("products.key"))
    channels: Mapped[int | None]
    area_code: Mapped[str | None] = mapped_column(sa.ForeignKey("area_codes.code"))
    block_size: Mapped[int | None]
    option_keys: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))
    option_details: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    """The details of the ordered options, by field name of the order (`models.orders.options`); None without any."""
    request_uri: Mapped[RequestUri | None] = mapped_column(enumeration(RequestUri, "request_uri"))
    """What the request line of incoming calls to an ordered trunk names: the registered contact or the dialled number.

    None if the order does not choose.
    """
    countries: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))
    """The destinations that an ordered trunk may call (`SipTrunk.countries`); None if the order does not choose."""
    price_lines: Mapped[list[dict[str, Any]] | None] = mapped_column(postgresql.JSONB)
    """The ordered products at the agreed prices, as JSON of `PriceLine`; None in rows older than this column.

    In a change or a request for numbers, all products of the contract afterwards, with the one-off prices that are due.
    """

    contract_terms: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    """The terms of an ordered contract, as JSON of `ContractTerms`.

    None for other kinds of requests, and in rows older than this column.
    """

    changed_trunk_id: Mapped[int | None] = mapped_column(
        # The trunks name their orders: of two tables that name each other, one is made before its reference.
        sa.ForeignKey("sip_trunks.id", use_alter=True)
    )
    """The id of the trunk that a request changes, or to which it adds numbers; None for other kinds of requests."""
    reserved_block_id: Mapped[int | None] = mapped_column(sa.ForeignKey("number_blocks.id", use_alter=True))
    """The id of the number block that a request for numbers has reserved or added.

    None until it has reserved one, and for other kinds of requests.
    """
    need_until: Mapped[datetime | None]
    """The deadline for handing in a certificate of need; None until a certificate was demanded."""
    approval_until: Mapped[datetime | None]
    """The deadline for a second person's approval (`models.requests.approvals`); None if the request needs none."""
    raise_cents: Mapped[int | None]
    """By how many cents a month, net, the request raises the cost, as found when it was made.

    None if the company had set no sum then, and for requests that need no approval whatever they cost.
    """
    approved: Mapped[bool | None]
    """Whether `approval_by`, a user's id, has approved the request or refused it (False); None: neither yet."""
    approval_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    approval_at: Mapped[datetime | None]
    approval_note: Mapped[str | None]
    """Why the request was refused, in that person's words."""
    effective_on: Mapped[date | None]
    """The day in Berlin with whose start a change or a detachment takes effect; None if it takes effect at once.

    For a cancellation, the first day without a contract: the contracts end with the day before.
    """
    by_sub_account: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether a person of the sub-account, rather than of the main account, has requested the detachment."""
    displaced_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"))
    """The id of the other account's planned detach request that this detach request has replaced.

    It is created again if this request ends without success (`models.requests.displaced_detach`).
    """
    costs_from: Mapped[date | None]
    """For a cancellation that has closed a sub-account, the first day whose costs the account in `main` can still see.

    None until the account is closed, and if it had no main account.
    """
    replaced_channels: Mapped[int | None]
    """The number of channels of the trunk before the change; None for other kinds of requests.

    It is saved when the change is requested, and again when the change is made.
    """
    replaced_lines: Mapped[list[dict[str, Any]] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    """The products of the contract before the request has its effect, as JSON of `PriceLine` without one-off prices.

    Set for a change, for more numbers, and for a cancellation, when it is requested. A change, or the adding of
    numbers, saves them again at the moment at which it is made.
    """

    new_street: Mapped[str | None]
    """Of a move the new connection address, as are `new_postal_code` and `new_city`; None for other kinds."""
    new_postal_code: Mapped[str | None]
    new_city: Mapped[str | None]
    replaced_place: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSONB(none_as_null=True))
    """The connection address before a move, as `Place`: as known when it was asked for, and then when it was made."""
    address_proved_at: Mapped[datetime | None]
    """When the new address of a move was found to be proved; None until then, and for other kinds."""

    local_user_name: Mapped[str | None]
    """The name of the person who is invited to an ordered account once it is active; None if the order names nobody."""
    local_user_email: Mapped[str | None]

    asked_proof: Mapped[ProofMethod | None] = mapped_column(enumeration(ProofMethod, "asked_proof"))

    waiting_for: Mapped[Actor | None] = mapped_column(enumeration(Actor, "waiting_for"))
    waiting_until: Mapped[datetime | None]

    traceparent: Mapped[str | None]
    """The trace context of the work that made the request; its steps belong to the same trace. None if not traced.

    For a row of a bulk file, it is that of the task that placed the row, until the request's first step begins a new
    trace.
    """
    office_told: Mapped[str | None]
    """The reason for which the back office was last told that the request is held or has failed; None if never told."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    main: Mapped[Account] = relationship(foreign_keys=[main_id], lazy="raise_on_sql")
    account: Mapped[Account | None] = relationship(foreign_keys=[account_id])
    requester: Mapped[User | None] = relationship(foreign_keys=[requested_by], lazy="raise_on_sql")
    trunk: Mapped[SipTrunk | None] = relationship(foreign_keys=[SipTrunk.request_id])
    area: Mapped[AreaCode | None] = relationship(lazy="raise_on_sql")

    __table_args__ = (
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
        sa.CheckConstraint(
            "(kind = 'order') = (product_key IS NOT NULL AND channels IS NOT NULL AND area_code IS NOT NULL"
            " AND block_size IS NOT NULL AND option_keys IS NOT NULL)",
            name="order_is_whole",
        ),
        sa.CheckConstraint("kind IN ('link', 'switch') OR account_id IS NOT NULL", name="account_known"),
        sa.CheckConstraint(
            "(kind = 'change') = (changed_trunk_id IS NOT NULL AND replaced_channels IS NOT NULL"
            " AND replaced_lines IS NOT NULL)",
            name="change_is_whole",
        ),
        sa.CheckConstraint(
            "kind <> 'change' OR (product_key IS NOT NULL AND channels IS NOT NULL AND price_lines IS NOT NULL)",
            name="change_says_what",
        ),
        sa.CheckConstraint(
            "kind <> 'numbers' OR (changed_trunk_id IS NOT NULL AND area_code IS NOT NULL AND block_size IS NOT NULL"
            " AND product_key IS NOT NULL AND price_lines IS NOT NULL AND replaced_lines IS NOT NULL)",
            name="numbers_are_whole",
        ),
        sa.CheckConstraint("reserved_block_id IS NULL OR kind = 'numbers'", name="numbers_reserve"),
        sa.CheckConstraint("approval_by <> requested_by", name="four_eyes"),
        sa.CheckConstraint(
            "(approved IS NULL) = (approval_by IS NULL) AND (approved IS NULL) = (approval_at IS NULL)"
            " AND (approved IS NULL OR approval_until IS NOT NULL)",
            name="approval_is_whole",
        ),
        sa.CheckConstraint("effective_on IS NULL OR kind NOT IN ('order', 'link', 'switch')", name="kinds_with_a_day"),
        sa.CheckConstraint(
            "kind <> 'cancel' OR (effective_on IS NOT NULL AND replaced_lines IS NOT NULL)",
            name="cancellation_is_whole",
        ),
        sa.CheckConstraint(
            "(kind = 'move') = (new_street IS NOT NULL AND new_postal_code IS NOT NULL AND new_city IS NOT NULL"
            " AND replaced_place IS NOT NULL)",
            name="move_is_whole",
        ),
        sa.CheckConstraint(
            "kind <> 'move' OR (price_lines IS NOT NULL AND replaced_lines IS NOT NULL)", name="move_says_prices"
        ),
        sa.CheckConstraint("new_postal_code ~ '^[0-9]{5}$'", name="new_postal_code"),
        sa.CheckConstraint("address_proved_at IS NULL OR kind = 'move'", name="moves_prove"),
        sa.CheckConstraint("costs_from IS NULL OR kind = 'cancel'", name="cancellations_have_costs"),
        sa.CheckConstraint("NOT by_sub_account OR kind = 'detach'", name="sub_account_detaches"),
        sa.CheckConstraint("displaced_id IS NULL OR kind = 'detach'", name="detachments_displace"),
        sa.CheckConstraint("(local_user_name IS NULL) = (local_user_email IS NULL)", name="local_user_is_whole"),
        sa.CheckConstraint("local_user_email = lower(local_user_email)", name="local_user_email_lower"),
        sa.CheckConstraint("(status = 'pending') = (waiting_for IS NOT NULL)", name="pending_waits"),
        sa.CheckConstraint(
            "(status IN ('pending', 'held', 'rejected', 'cancelled', 'failed')) = (reason IS NOT NULL)",
            name="reason_given",
        ),
        sa.CheckConstraint(f"(status IN ({_ENDED})) = (ended_at IS NOT NULL)", name="end_has_time"),
        sa.CheckConstraint(f"status NOT IN ({_ENDED}) OR due_at IS NULL", name="end_is_not_due"),
        sa.CheckConstraint("(kind IN ('link', 'switch')) = (asked_proof IS NOT NULL)", name="link_asks_for_proof"),
        lease_ends(),
        sa.CheckConstraint(f"due_at IS NOT NULL OR status = 'held' OR status IN ({_ENDED})", name="never_stands_still"),
        due_index("requests", sa.text(f"({_PROVISION})")),
        alone_index("requests", sa.text(f"({_PROVISION})"), include=["main_id"]),
        sa.Index("ix_requests_bulk_id", "bulk_id", postgresql_where=sa.text("bulk_id IS NOT NULL")),
        # Few ever: what the back office has to look at. And those that no account leads to.
        sa.Index("ix_requests_for_us", "id", postgresql_where=sa.text("status IN ('held', 'failed')")),
        sa.Index("ix_requests_of_unproved_number", "customer_number", postgresql_where=sa.text("account_id IS NULL")),
        sa.Index("ix_requests_main_id_id", "main_id", "id"),
        # Counted for each page of those who may approve.
        sa.Index(
            "ix_requests_to_approve",
            "main_id",
            "account_id",
            postgresql_where=sa.text("status = 'pending' AND approval_until IS NOT NULL AND approved IS NULL"),
        ),
        # What a person has asked for lately without an approval counts together.
        sa.Index(
            "ix_requests_let_through",
            "requested_by",
            "created_at",
            postgresql_where=sa.text("approval_until IS NULL AND raise_cents > 0"),
        ),
        # The accounts that a company has ordered, or has closed, which row-level security asks for.
        sa.Index("ix_requests_orders", "main_id", "account_id", postgresql_where=sa.text("kind = 'order'")),
        sa.Index("ix_requests_costs_from", "main_id", "account_id", postgresql_where=sa.text("costs_from IS NOT NULL")),
        sa.Index(
            "ix_requests_running",
            "main_id",
            "account_id",
            "id",
            postgresql_where=sa.text(f"status NOT IN ({_ENDED})"),
        ),
        sa.Index(
            "uq_requests_running",
            "main_id",
            "customer_number",
            "kind",
            unique=True,
            postgresql_where=sa.text(f"kind IN ('link', 'detach') AND status NOT IN ({_ENDED})"),
        ),
        sa.Index(
            "uq_requests_attaching",
            "main_id",
            "customer_number",
            unique=True,
            postgresql_where=sa.text(f"kind IN ('link', 'switch') AND status NOT IN ({_ENDED})"),
        ),
        sa.Index(
            "uq_requests_changes",
            "changed_trunk_id",
            "effective_on",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=sa.text(f"kind = 'change' AND status NOT IN ({_ENDED})"),
        ),
        # For row-level security: who sees a request sees the person who has approved it.
        sa.Index("ix_requests_approval_by", "approval_by", postgresql_where=sa.text("approval_by IS NOT NULL")),
        # Deleting a request looks for others that name it.
        sa.Index("ix_requests_displaced_id", "displaced_id", postgresql_where=sa.text("displaced_id IS NOT NULL")),
        sa.Index(
            "uq_requests_reserved",
            "reserved_block_id",
            unique=True,
            postgresql_where=sa.text(f"reserved_block_id IS NOT NULL AND status NOT IN ({_ENDED})"),
        ),
        sa.Index(
            "uq_requests_moves",
            "account_id",
            unique=True,
            postgresql_where=sa.text(f"kind = 'move' AND status NOT IN ({_ENDED})"),
        ),
        sa.Index(
            "uq_requests_cancellations",
            "account_id",
            unique=True,
            postgresql_where=sa.text(f"kind = 'cancel' AND status NOT IN ({_ENDED})"),
        ),
    )

    @property
    def work(self) -> WorkKind:
        """Return the kind of work of the next step: `PROVISION` for the step `provision`, otherwise `VERIFY`.

        Only the step `provision` needs an external system.
        """
        return WorkKind.PROVISION if self.step is StepName.PROVISION else WorkKind.VERIFY

    @classmethod
    @cache
    def waits_for(cls, kind: WorkKind) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the request's next step is work of this kind."""
        # Literals, as in the indexes, which are found by the same expression only.
        return sa.literal_column(f"(requests.{_PROVISION})", sa.Boolean).is_(kind is WorkKind.PROVISION)

    def note(self, now: datetime, code: str, **facts: Any) -> None:
        """Add a timeline entry: `code` names the event, `facts` are the values for its sentence.

        The request must have been added to a session and flushed.
        """
        session = object_session(self)
        assert session is not None and self.id is not None
        batch_insert(session, TimelineEntry, request_id=self.id, at=now, code=code, facts=facts)

    @property
    def place(self) -> Place:
        """Return the connection address that an order or a move is about: that of the account, or the new one."""
        if self.kind is Kind.MOVE:
            assert self.new_street is not None and self.new_postal_code is not None and self.new_city is not None
            return Place(self.new_street, self.new_postal_code, self.new_city)
        assert self.account is not None
        return Place(self.account.street, self.account.postal_code, self.account.city)

    @property
    def prover_id(self) -> int:
        """Return the id of the account that has to prove `place`: that of the main account, or of the moving one."""
        if self.kind is Kind.MOVE:
            assert self.account_id is not None
            return self.account_id
        return self.main_id

    @property
    def effective_at(self) -> datetime:
        """Return the time from which the request takes effect: the start of its day in Berlin, or when it was made."""
        return first_moment(self.effective_on) if self.effective_on is not None else self.created_at

    def is_scheduled(self, now: datetime) -> bool:
        """Return whether the request waits for its effective day, and not for a person or the carrier."""
        waits = self.effective_on is not None and self.status in (Status.ACKNOWLEDGED, Status.IN_PROGRESS)
        return waits and now < self.effective_at

    @property
    def holds_numbers(self) -> bool:
        """Return whether the request has reserved or added a number block, and has not ended without success."""
        return self.reserved_block_id is not None and (self.status not in ENDED or self.status is Status.COMPLETED)

    def begin(self, now: datetime) -> None:
        """Set an `acknowledged` request to `in_progress`, because a worker begins with it; otherwise do nothing."""
        if self.status is Status.ACKNOWLEDGED:
            self._become(Status.IN_PROGRESS, now)

    def go_on(self, step: StepName, now: datetime) -> None:
        """Finish the current step: set `step` as the next one, and the status to `in_progress`.

        The number of failed attempts becomes 0. The worker keeps its claim on the request.
        """
        self._proceed(now)
        self.step = step
        self.attempts = 0
        self.updated_at = now

    def postpone(self, at: datetime, now: datetime) -> None:
        """Schedule the current step to run again at the time `at`, for example on the request's effective day.

        A pending or held request becomes `in_progress`; any other status stays. The number of failed attempts stays.
        Ends the worker's claim.
        """
        if self.status in (Status.PENDING, Status.HELD):
            self._proceed(now)
        self.make_due(at)

    def try_again(self, at: datetime, now: datetime) -> None:
        """Schedule the current step to run again at the time `at`, because an external system did not answer.

        Counts a failed attempt, and ends the worker's claim. The first failure adds a timeline entry.
        """
        self.attempts += 1
        if self.attempts == 1:
            self.note(now, "retrying", step=self.step)
        self.updated_at = now
        self.make_due(at)

    def wait_for(self, actor: Actor, reason: Reason, until: datetime, now: datetime, again_at: datetime) -> None:
        """Set the status to `pending`: until the deadline `until`, the request waits for `actor`, because of `reason`.

        The current step is scheduled to run again at `again_at`, and the worker's claim ends. A timeline entry is added
        only if actor or reason has changed.
        """
        if (self.waiting_for, self.reason) != (actor, reason):
            if self.status in (Status.PENDING, Status.HELD):
                self._proceed(now)
            self._become(Status.PENDING, now, reason)
            self.waiting_for = actor
            self.note(now, "pending", reason=reason, until=until.isoformat())
        self.waiting_until = until
        self.make_due(again_at)

    def hold(self, reason: Reason, now: datetime, again_at: datetime | None = None) -> None:
        """Set the status to `held`: the carrier has to act because of `reason`. The step runs again at `again_at`.

        If `again_at` is None, the step runs again only after a retry, for example by the back office. Unless the
        request was already held for this reason, a timeline entry is added, and `waiting_until` becomes the end of the
        day by which the carrier promises to act. Ends the worker's claim.
        """
        if (self.status, self.reason) != (Status.HELD, reason):
            self._proceed(now)
            self._become(Status.HELD, now, reason)
            self.waiting_until = promised_until(reason, now)
            self.note(now, "held", reason=reason, until=self.waiting_until.isoformat())
        if again_at is None:
            self.rest()
        else:
            self.make_due(again_at)

    def complete(self, now: datetime) -> None:
        """End the request as completed, and add a timeline entry."""
        self._proceed(now)
        self._end(Status.COMPLETED, now)
        self.note(now, "completed")

    def reject(self, reason: Reason, now: datetime, **facts: Any) -> None:
        """End the request as rejected, because the business rule `reason` forbids it, and add a timeline entry.

        `facts` are further values for its sentence, such as the area codes that would be allowed.
        """
        self._end(Status.REJECTED, now, reason)
        self.note(now, "rejected", reason=reason, **facts)

    def fail(self, reason: Reason, now: datetime) -> None:
        """End the request as failed because of `reason`, and add a timeline entry. A failed request can be retried."""
        self._end(Status.FAILED, now, reason)
        self.note(now, "failed", reason=reason)

    def is_looked_at(self, now: datetime) -> bool:
        """Return whether a worker checks now, or will check at once, if the pending or held request can continue.

        True if a worker has claimed the request or its step is due, for example from the arrival of an answer until the
        step has run again. Always False for a request that is held because an external system does not answer, since
        its step is repeated all the time.
        """
        if self.status not in (Status.PENDING, Status.HELD) or self.reason is Reason.GATEWAY_UNAVAILABLE:
            return False
        return self.due_at is not None and (self.lease is not None or self.due_at <= now)

    @property
    def can_cancel(self) -> bool:
        """Return whether the request can be cancelled.

        True if the next step is `verify` or `provision`, no worker has claimed the request, and it has failed or not
        ended. An order that has not failed cannot be cancelled any more once it has a trunk, because the registrar may
        know the trunk even if it did not answer.
        """
        if self.step not in (StepName.VERIFY, StepName.PROVISION) or self.lease is not None:
            return False
        return self.status is Status.FAILED or (self.status not in ENDED and self.trunk is None)

    def cancel(self, reason: Reason, now: datetime) -> None:
        """End the request as cancelled because of `reason`, and add a timeline entry.

        Raises `TooLate` unless `can_cancel` is True.
        """
        if not self.can_cancel:
            raise TooLate(self.status)
        self._end(Status.CANCELLED, now, reason)
        self.note(now, "cancelled", reason=reason)

    @property
    def can_retry(self) -> bool:
        """Return whether the request can be retried: its status is held or failed."""
        return self.status in (Status.HELD, Status.FAILED)

    def retry(self, now: datetime) -> None:
        """Schedule the current step of a held or failed request to run now, on demand of staff or the requester.

        The status becomes `in_progress`, the number of failed attempts becomes 0, and a timeline entry is added. Raises
        `IllegalTransition` unless the request is held or failed.
        """
        if not self.can_retry:
            raise IllegalTransition(self.status, Status.IN_PROGRESS)
        self._become(Status.IN_PROGRESS, now)
        self.ended_at = None
        self.attempts = 0
        self.note(now, "retried")
        self.make_due(now)

    def _proceed(self, now: datetime) -> None:
        if self.status is not Status.IN_PROGRESS:
            self._become(Status.IN_PROGRESS, now)

    def _become(self, status: Status, now: datetime, reason: Reason | None = None) -> None:
        if not may_become(self.status, status):
            raise IllegalTransition(self.status, status)
        self.status = status
        self.reason = reason
        self.updated_at = now
        self.waiting_for = None
        self.waiting_until = None

    def _end(self, status: Status, now: datetime, reason: Reason | None = None) -> None:
        self._become(status, now, reason)
        self.rest()
        self.ended_at = now
