"""Idempotency keys: a call repeated with an equal key and body gets the first call's answer and changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.db.base import Base
from models.errors import IdempotencyConflict


class IdempotencyKey(Base):
    """An idempotency key, unique for an account and the person who sent the key, with the answer to the first call.

    `fingerprint` is a digest of the first call's body, `request_id` the request that the call created, None if it
    created none, and `answer` the status, location and body of the response, None until the first call has ended.
    """

    __tablename__ = "idempotency_keys"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"))
    # json, not jsonb: the same answer means the same bytes, so the order of the keys stays.
    answer: Mapped[dict[str, Any] | None] = mapped_column(postgresql.JSON(none_as_null=True))
    created_at: Mapped[datetime]

    __table_args__ = (sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name="key_length"),)

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the key is older than `retention.IDEMPOTENCY_KEYS` (30 days) and can be deleted."""
        return cls.created_at <= now - retention.IDEMPOTENCY_KEYS


def known_key(session: Session, account_id: int, user_id: int, keys: Sequence[str]) -> str:
    """Return which of the idempotency keys the person has used for the account before; the first one if none.

    `keys` are the forms of one key, which contains a fingerprint: each is made with another key of the vault.
    """
    used = sa.select(IdempotencyKey.key).where(
        IdempotencyKey.account_id == account_id, IdempotencyKey.user_id == user_id, IdempotencyKey.key.in_(keys)
    )
    return session.scalar(used.limit(1)) or keys[0]


def reserve_key(
    session: Session, account_id: int, user_id: int, key: str, fingerprints: Sequence[bytes], now: datetime
) -> IdempotencyKey:
    """Return the row of the idempotency key `key`, locked: a new one without an answer, or one with the first answer.

    `fingerprints` are digests of the call's body by each key of the vault; the first is stored. A second call with the
    same key waits until the first call's transaction has ended. Raises `IdempotencyConflict` if the key was first sent
    with another body.
    """
    new = postgresql.insert(IdempotencyKey).values(
        account_id=account_id, user_id=user_id, key=key, fingerprint=fingerprints[0], created_at=now
    )
    # Changes nothing, but locks the row that is there, and in one statement: between two it might be forgotten.
    locked = new.on_conflict_do_update(index_elements=["account_id", "user_id", "key"], set_={"key": new.excluded.key})
    query = locked.returning(IdempotencyKey).execution_options(populate_existing=True)
    row = session.scalars(query).one()
    if row.fingerprint not in fingerprints:
        raise IdempotencyConflict
    return row
