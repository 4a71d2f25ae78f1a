"""Who did what to an account, as whom and when: for the local team, which shares its account with the main account.

What the carrier's staff did to a request is told to the main account that it is for.

An entry is written in the transaction of what it tells about. It holds no secret, and it is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base, enumeration, quoted
from models.people.rights import Action, Principal, only_as_staff, through_main
from models.people.users import User


class Deed(StrEnum):
    """What was done."""

    LOOKED_IN = "looked_in"
    SECRET_SEEN = "secret_seen"  # noqa: S105 - a name
    SECRET_RENEWED = "secret_renewed"  # noqa: S105
    TRUNK_SUSPENDED = "trunk_suspended"
    TRUNK_RESUMED = "trunk_resumed"
    NUMBERS_RELEASED = "numbers_released"
    ACCOUNT_CLOSED = "account_closed"
    FORWARDING_ADDED = "forwarding_added"
    FORWARDING_CHANGED = "forwarding_changed"
    FORWARDING_REMOVED = "forwarding_removed"
    DETACH_ASKED = "detach_asked"
    USER_INVITED = "user_invited"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    USER_JOINED = "user_joined"
    ROLE_CHANGED = "role_changed"
    USER_REMOVED = "user_removed"
    REQUEST_RETRIED = "request_retried"
    REQUEST_CANCELLED = "request_cancelled"
    DOCUMENT_OPENED = "document_opened"
    DOCUMENT_RELEASED = "document_released"
    DOCUMENT_REFUSED = "document_refused"


_OF_STAFF = quoted(
    Deed.REQUEST_RETRIED,
    Deed.REQUEST_CANCELLED,
    Deed.DOCUMENT_OPENED,
    Deed.DOCUMENT_RELEASED,
    Deed.DOCUMENT_REFUSED,
)


class AuditEntry(Base):
    """One deed. `through_id` is the main account by which alone the person could do it; null for an own right.

    `by_staff`: it was done as the carrier's staff only; without a person, at the console.
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    through_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    by_staff: Mapped[bool] = mapped_column(default=False)
    deed: Mapped[Deed] = mapped_column(enumeration(Deed, "deed"))
    facts: Mapped[dict[str, Any]]
    at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("by_staff OR user_id IS NOT NULL", name="somebody_did_it"),
        sa.CheckConstraint("deed <> 'looked_in' OR by_staff OR through_id IS NOT NULL", name="looked_in_through"),
        sa.CheckConstraint("NOT by_staff OR through_id IS NULL", name="staff_through_nobody"),
        sa.CheckConstraint(f"by_staff OR NOT (deed IN ({_OF_STAFF}))", name="staff_deeds"),
        sa.Index("ix_audit_entries_account_id_id", "account_id", "id"),
        # One look in an hour says all.
        sa.Index(
            "uq_audit_entries_looked_in",
            "account_id",
            "user_id",
            sa.text("date_trunc('hour'::text, (at AT TIME ZONE 'UTC'::text))"),
            unique=True,
            postgresql_where=sa.text("deed = 'looked_in'"),
        ),
    )


@dataclass(frozen=True, slots=True)
class AttributedEntry:
    """An entry with who did it (None: the carrier), and the main account through which it was done."""

    entry: AuditEntry
    user: User | None
    through: Account | None


def record(
    session: Session,
    person: Principal,
    account: Account,
    deed: Deed,
    right: Action,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write down what this person has done to the account by this right."""
    session.add(
        AuditEntry(
            account_id=account.id,
            user_id=person.user_id,
            through_id=through_main(person, right, account),
            by_staff=only_as_staff(person, right, account),
            deed=deed,
            facts=dict(facts or {}),
            at=now,
        )
    )


def record_of_carrier(
    session: Session, account: Account, deed: Deed, now: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Write down what the carrier has done to the account at the console."""
    session.add(AuditEntry(account_id=account.id, by_staff=True, deed=deed, facts=dict(facts or {}), at=now))


def record_look(session: Session, person: Principal, account: Account, now: datetime) -> None:
    """Write down that somebody from the main account or of the staff looks in: once for each person, account and hour.

    Safe to run twice. Whoever sees the account by a role of their own leaves no trace.
    """
    through = through_main(person, Action.VIEW, account)
    by_staff = only_as_staff(person, Action.VIEW, account)
    if through is None and not by_staff:
        return
    look = postgresql.insert(AuditEntry).values(
        account_id=account.id,
        user_id=person.user_id,
        through_id=through,
        by_staff=by_staff,
        deed=Deed.LOOKED_IN,
        facts={},
        at=now,
    )
    session.execute(look.on_conflict_do_nothing())


def entries_of(
    session: Session, account: Account, *, before: int | None = None, limit: int = 50
) -> Sequence[AttributedEntry]:
    """What was done to the account, the newest first, before the given entry. One statement."""
    query = sa.select(AuditEntry).where(AuditEntry.account_id == account.id).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return _told(session, query)


def _told(session: Session, entries: sa.Select[AuditEntry]) -> Sequence[AttributedEntry]:
    through = aliased(Account)
    query = (
        entries.add_columns(User, through)
        .outerjoin(User, User.id == AuditEntry.user_id)
        .outerjoin(through, through.id == AuditEntry.through_id)
        .order_by(AuditEntry.id.desc())
    )
    return [AttributedEntry(entry, user, main) for entry, user, main in session.execute(query)]
