"""Idempotency keys: a call of the API repeated with the same key and body gets the first answer and changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.db.advisory_locks import advisory_lock_sql, note_advisory_lock
from models.db.base import Base
from models.db.batch_insert import batch_insert
from models.errors import IdempotencyConflict


class IdempotencyKey(Base):
    """An idempotency key that a caller of the API sent, unique for account and user, with the answer to the first call.

    `fingerprint` is a digest of the first call's body. `request_id` is the request that the call created, None if it
    created none. `answer` holds status, location and body of the response, None until the first call has ended.
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

    ON_CONFLICT = "(account_id, user_id, key) DO UPDATE SET request_id = excluded.request_id, answer = excluded.answer"
    __table_args__ = (
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name="key_length"),
        # Asked for each request that is deleted.
        sa.Index("ix_idempotency_keys_request_id", "request_id"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the key was first used 30 days ago (`retention.IDEMPOTENCY_KEYS`) or earlier."""
        return cls.created_at <= now - retention.IDEMPOTENCY_KEYS

    def save_answer(self, session: Session, answer: dict[str, Any], request_id: uuid.UUID | None) -> None:
        """Store the answer to the first call, and the request that the call created or changed, at the next flush.

        `answer` has the response's status, location and body. The row is written together with the other queued rows
        (`batch_insert`), so that it can refer to one of them.
        """
        batch_insert(
            session,
            IdempotencyKey,
            account_id=self.account_id,
            user_id=self.user_id,
            key=self.key,
            fingerprint=f"\\x{self.fingerprint.hex()}",
            request_id=request_id,
            answer=answer,
            created_at=self.created_at,
        )


def known_key(session: Session, account_id: int, user_id: int, keys: Sequence[str]) -> str:
    """Return the key in `keys` that the user has already used for the account; `keys[0]` if they have used none.

    All keys stand for the same call: each is derived from the call's content with another value of `SECRET_KEY`, the
    newest value first. So a repeated call is recognised even after the secret was replaced.
    """
    used = sa.select(IdempotencyKey.key).where(
        IdempotencyKey.account_id == account_id, IdempotencyKey.user_id == user_id, IdempotencyKey.key.in_(keys)
    )
    return session.scalar(used.limit(1)) or keys[0]


def reserve_key(
    session: Session,
    account_id: int,
    user_id: int,
    key: str,
    fingerprints: Sequence[bytes],
    now: datetime,
    lock: str | None = None,
) -> IdempotencyKey:
    """Insert and lock the row of the idempotency key `key`, or lock the existing row; return the row.

    A new row has no answer yet; an existing one has that of the first call. A second call with the same key waits until
    the first call's transaction has ended. `fingerprints` are digests of the call's body, one for each secret of the
    vault; the first is stored. `lock` names an advisory lock that the same statement takes afterwards
    (`take_advisory_lock`), or is None. Raises `IdempotencyConflict` if the key was first sent with another body.
    """
    values = {"account": account_id, "person": user_id, "name": key, "print": fingerprints[0], "now": now}
    if lock is None:
        row: IdempotencyKey = session.scalars(_reserve(), values).one()
    else:
        row = session.scalars(_reserve_and_lock(), values | {"lock": lock}).one()
        note_advisory_lock(session, lock)
    if row.fingerprint not in fingerprints:
        raise IdempotencyConflict
    return row


@cache
def _reserve() -> Any:
    return _reserving()


@cache
def _reserve_and_lock() -> Any:
    # PostgreSQL comes to what is returned when it has locked the key's row.
    return _reserving(advisory_lock_sql(sa.bindparam("lock", type_=sa.Text)))


def _reserving(*more: sa.ColumnElement[Any]) -> Any:
    """Return a statement that inserts, or locks, the row of an idempotency key, and returns the row.

    The SQL expressions `more` are evaluated once the row is locked; one of them can take an advisory lock.
    """
    table = IdempotencyKey.__table__
    assert isinstance(table, sa.Table)
    new = postgresql.insert(table).values(
        account_id=sa.bindparam("account"),
        user_id=sa.bindparam("person"),
        key=sa.bindparam("name"),
        fingerprint=sa.bindparam("print"),
        created_at=sa.bindparam("now"),
    )
    # Changes nothing, but locks the row that is there, and in one statement: between two it might be forgotten.
    locked = new.on_conflict_do_update(index_elements=["account_id", "user_id", "key"], set_={"key": new.excluded.key})
    rows = sa.select(IdempotencyKey).from_statement(locked.returning(*table.columns, *more))
    return rows.execution_options(populate_existing=True)
