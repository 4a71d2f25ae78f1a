"""Drafts of orders: what was typed so far, valid or not, kept until it is ordered or expires.

A draft that was ordered refers to its request. Ordering locks the draft's row first, so that it becomes exactly one
request.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from models import retention
from models.accounts.accounts import Account
from models.calendar_days import end_of_day, start_of_day
from models.db.base import Base, enumeration
from models.errors import NotFound
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.requests.requests import Request
from models.text_cutting import shortened
from models.vault import Vault

MOST_TYPED = 500
"""The most characters of a typed text that a draft keeps: longer than any valid value."""
_SEAL_BITS = 62
"""The number of bits of a UUID after the bits of its variant; in version 7 all of them are random."""


class DraftStep(StrEnum):
    """The steps of the order form, in their order."""

    PRODUCT = "product"
    LOCATION = "location"
    NUMBERS = "numbers"
    CONTACT = "contact"
    SUMMARY = "summary"


class Draft(Base):
    """An order that is being filled in. `data` maps the form's field names to what was typed, even if invalid.

    `step` is the form's step at which the draft is resumed, and `request_id` the order that the draft became, null if
    it was not ordered yet. An offer promises its prices (`offered_lines`) until `offered_until`; both are null without
    an offer.
    """

    __tablename__ = "order_drafts"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("uuidv7()"))
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    step: Mapped[DraftStep] = mapped_column(enumeration(DraftStep, "step"), default=DraftStep.PRODUCT)
    data: Mapped[dict[str, Any]]
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    offered_lines: Mapped[list[dict[str, Any]] | None] = mapped_column(postgresql.JSONB)
    """The prices of the draft's latest offer: each is a `PriceLine` as a dict."""
    offered_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)

    account: Mapped[Account] = relationship(lazy="raise_on_sql")
    user: Mapped[User] = relationship(lazy="raise_on_sql")

    __table_args__ = (sa.Index("ix_order_drafts_account_id_updated_at", "account_id", "updated_at"),)

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for drafts to delete, ordered or not: they have expired.

        Their last change was more than `retention.DRAFTS` (90 days) before the start of today in Germany.
        """
        return cls.updated_at < start_of_day(now) - retention.DRAFTS

    @property
    def kept_until(self) -> datetime:
        """Return when the draft can no longer be resumed: the end, in Berlin, of the 90th day after its last change."""
        return end_of_day(self.updated_at + retention.DRAFTS)

    def keep(self, typed: dict[str, Any], step: DraftStep, now: datetime) -> None:
        """Save the typed fields of a step, by field name; the fields of other steps stay.

        `step` becomes the step at which the draft is resumed. The 90 days for which the draft is kept start again.
        """
        self.data = {**self.data, **{name: _storable(value) for name, value in typed.items()}}
        self.step = step
        self.touch(now)

    def go_to(self, step: DraftStep) -> None:
        """Set the step at which the draft is resumed."""
        self.step = step

    def touch(self, now: datetime) -> None:
        """Let the 90 days for which the draft is kept start again at `now`."""
        self.updated_at = now


def new_draft_id(session: Session, vault: Vault, principal: Principal) -> uuid.UUID:
    """Return a new id for a draft of the person; the draft itself is saved only when something is typed.

    The id contains a digest that proves that it was given to this person (`was_given_to`). So a URL with an invented id
    gets the same answer as one with the id of another customer's draft.
    """
    made: uuid.UUID = session.execute(sa.select(sa.func.uuidv7())).scalar_one()
    return _sealed(vault, made, principal)[0]


def was_given_to(vault: Vault, id: uuid.UUID, principal: Principal) -> bool:
    """Return whether `new_draft_id` has made this id for the person; checked with each key of the vault."""
    return any(hmac.compare_digest(made.bytes, id.bytes) for made in _sealed(vault, id, principal))


def _sealed(vault: Vault, id: uuid.UUID, principal: Principal) -> list[uuid.UUID]:
    """Return the draft ids that the person can have been given instead of `id`: one for each key of the vault.

    Each is `id` with its last 62 bits replaced by a digest, made with the key from the other bits and the person's user
    id. So `id` was given to the person if it is one of them.
    """
    head = id.int >> _SEAL_BITS
    digests = vault.fingerprints("draft", f"{principal.user_id} {head}".encode())
    return [uuid.UUID(int=head << _SEAL_BITS | int.from_bytes(digest) % (1 << _SEAL_BITS)) for digest in digests]


def begin_draft(session: Session, id: uuid.UUID, account: Account, principal: Principal, now: datetime) -> Draft:
    """Return the draft with this id, locked; if there is none, create an empty one for the account and this person.

    Raises `NotFound` if the existing draft has expired, or if the person may not order for its account.
    """
    session.execute(
        postgresql.insert(Draft)
        .values(
            id=id,
            account_id=account.id,
            user_id=principal.user_id,
            step=DraftStep.PRODUCT,
            data={},
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing()
    )
    return own_draft(session, id, principal, now, lock=True)


def find_draft(session: Session, id: uuid.UUID, *, lock: bool = False) -> Draft | None:
    """Return the draft with this id, with its account loaded; None if there is none.

    The draft may be of any account, and may have expired. `lock` locks the draft's row until the transaction ends.
    """
    query = sa.select(Draft).where(Draft.id == id).options(joinedload(Draft.account))
    if lock:
        query = query.with_for_update(of=Draft).execution_options(populate_existing=True)
    return session.scalar(query)


def own_draft(session: Session, id: uuid.UUID, principal: Principal, now: datetime, *, lock: bool = False) -> Draft:
    """Return the draft with this id; `lock` locks its row until the transaction ends.

    Raises `NotFound` if there is none, if the person may not order for its account, or if it has expired.
    """
    draft = find_draft(session, id, lock=lock)
    if draft is None or not may(principal, Action.ORDER, draft.account) or draft.kept_until <= now:
        raise NotFound
    return draft


def open_drafts(session: Session, account: Account, now: datetime, limit: int = 50) -> list[Draft]:
    """Return up to `limit` of the account's drafts that can be resumed, the latest changed first.

    The user who began each draft is loaded with it. Drafts that were ordered, have expired, or have nothing typed into
    them are left out.
    """
    query = (
        sa.select(Draft)
        .where(Draft.account_id == account.id, ~Draft.left_over(now), Draft.request_id.is_(None))
        .order_by(Draft.updated_at.desc(), Draft.id.desc())
        .limit(limit)
        .options(joinedload(Draft.user))
    )
    # One that nothing was typed into is not worth a line.
    return [draft for draft in session.scalars(query) if any(draft.data.values())]


def order_once(session: Session, draft: Draft, submit: Callable[[], Request]) -> Request:
    """Return the request that the draft became. If there is none yet, call `submit` and record its result.

    `submit` takes no arguments, and creates and returns the request. The draft must be locked, so that of two calls at
    the same time the second returns the request of the first.
    """
    if draft.request_id is not None:
        return session.get_one(Request, draft.request_id)
    request = submit()
    draft.request_id = request.id
    return request


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, MOST_TYPED)
    return [_storable(item) for item in value[:20]]
