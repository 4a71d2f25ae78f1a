"""Drafts of orders: what was typed so far, right or wrong, kept until it is ordered or nobody comes back to it.

A draft knows the request it became. Whoever orders locks its row first, so that it becomes one and never two.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from models.accounts.accounts import Account
from models.db.base import Base, enumeration
from models.errors import NotFound
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.requests.requests import Request

KEPT_FOR = timedelta(days=90)
"""How long a draft can be resumed after it was touched last."""
MOST_TYPED = 500
"""Longer than anything that is right; so much of a field is kept."""


class DraftStep(StrEnum):
    """Where somebody is in the order."""

    PRODUCT = "product"
    LOCATION = "location"
    NUMBERS = "numbers"
    CONTACT = "contact"
    SUMMARY = "summary"


class Draft(Base):
    """An order that is being put together. `data` is what was typed, field by field, also if it is not valid."""

    __tablename__ = "order_drafts"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("uuidv7()"))
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    step: Mapped[DraftStep] = mapped_column(enumeration(DraftStep, "step"), default=DraftStep.PRODUCT)
    data: Mapped[dict[str, Any]]
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)

    account: Mapped[Account] = relationship(lazy="raise_on_sql")
    user: Mapped[User] = relationship(lazy="raise_on_sql")

    __table_args__ = (sa.Index("ix_order_drafts_account_id_updated_at", "account_id", "updated_at"),)

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Nobody can resume it any more, and if it was ordered, its request knows all of it."""
        return cls.updated_at <= now - KEPT_FOR

    @property
    def kept_until(self) -> datetime:
        """From then on it is gone."""
        return self.updated_at + KEPT_FOR

    def keep(self, typed: dict[str, Any], step: DraftStep, now: datetime) -> None:
        """Remember what was typed, beside what was typed on other steps."""
        self.data = {**self.data, **{name: _storable(value) for name, value in typed.items()}}
        self.step = step
        self.touch(now)

    def go_to(self, step: DraftStep) -> None:
        """Where it is resumed."""
        self.step = step

    def touch(self, now: datetime) -> None:
        """Somebody works with it, so it is kept for its whole time from now on."""
        self.updated_at = now


def new_draft_id(session: Session) -> uuid.UUID:
    """For a draft that is written down when something was typed."""
    found: uuid.UUID = session.execute(sa.select(sa.func.uuidv7())).scalar_one()
    return found


def begin_draft(session: Session, id: uuid.UUID, account: Account, principal: Principal, now: datetime) -> Draft:
    """The draft with this id, locked; a new one if there is none. Raises `NotFound` for somebody else's."""
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
    """The draft with this id, whoever's it is, with its account."""
    query = sa.select(Draft).where(Draft.id == id).options(joinedload(Draft.account))
    if lock:
        query = query.with_for_update(of=Draft).execution_options(populate_existing=True)
    return session.scalar(query)


def own_draft(session: Session, id: uuid.UUID, principal: Principal, now: datetime, *, lock: bool = False) -> Draft:
    """A draft of an account that this person may order for. Raises `NotFound`, also for one that has expired."""
    draft = find_draft(session, id, lock=lock)
    if draft is None or not may(principal, Action.ORDER, draft.account) or draft.kept_until <= now:
        raise NotFound
    return draft


def open_drafts(session: Session, account: Account, now: datetime, limit: int = 50) -> list[Draft]:
    """The account's drafts that can be resumed, each with who began it, the last touched first."""
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
    """The request that this draft became; it becomes one now if it has not yet. The draft has to be locked."""
    if draft.request_id is not None:
        return session.get_one(Request, draft.request_id)
    request = submit()
    draft.request_id = request.id
    return request


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MOST_TYPED]
    return [_storable(item) for item in value[:20]]
