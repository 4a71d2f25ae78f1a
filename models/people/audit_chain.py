"""The audit log's seals: a chain of hashes over all entries, which reveals any later change of the log.

A scheduled job seals new entries in the order of their ids. A seal's hash covers the previous seal's hash, its own
position and time, and the entry's content. Seals have a table of their own: rows of entries are never updated, and
inserting an entry need not wait for the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.people.audit_log import AuditEntry

FIRST = bytes(32)
"""The value that the first seal's hash covers in place of a previous seal's hash."""
LATE = 100_000
"""An entry is still sealed if its id is less than this far below the newest sealed id.

Ids of one transaction can be committed after greater ids of another; no transaction draws so many.
"""
TAKES = timedelta(hours=1)
"""How long after its time an entry may be committed: far longer than any transaction runs."""

# The time as UTC with microseconds, so that the hash does not depend on the time zone of the session.
_AT = sa.func.to_char(sa.func.timezone("UTC", AuditEntry.at), sa.literal_column("'YYYY-MM-DD\"T\"HH24:MI:SS.US'"))
CONTENT = (
    AuditEntry.id,
    AuditEntry.account_id,
    AuditEntry.user_id,
    AuditEntry.through_id,
    AuditEntry.by_staff,
    AuditEntry.deed,
    AuditEntry.facts,
    AuditEntry.at,
)
"""The columns of an audit entry that the hash of its seal covers: all of them."""
_CONTENT = sa.cast(sa.func.jsonb_build_array(*CONTENT[:-1], _AT), sa.Text)


class AuditSeal(Base):
    """The seal of one entry of the audit log, at `position` in the chain, counted from 1.

    `hash` is the SHA-256 of the previous seal's hash, of this seal's position and time, and of the entry's content.
    """

    __tablename__ = "audit_seals"

    position: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(sa.ForeignKey("audit_entries.id"), unique=True)
    sealed_at: Mapped[datetime]
    hash: Mapped[bytes]

    __table_args__ = (
        sa.CheckConstraint("position > 0", name="counted_from_one"),
        sa.CheckConstraint("octet_length(hash) = 32", name="hash_length"),
    )


class Flaw(StrEnum):
    """The kinds of flaws that a check of the audit log's seals can find.

    Their values are also the kinds of the findings that a scheduled job reports about them.
    """

    CHANGED = "audit_entry_changed"
    """The content of the entry, or its seal, was changed after the sealing."""
    REMOVED = "audit_entry_removed"
    SEAL_REMOVED = "audit_seal_removed"
    INSERTED = "audit_entry_inserted"
    """The entry was inserted after newer entries had been sealed, but has an older time or id."""
    SHORTENED = "audit_shortened"
    """A seal at this position, known from an earlier time, is missing or has another hash."""


@dataclass(frozen=True, slots=True)
class ChainFlaw:
    """A flaw that a check of the audit log's chain found: its kind, its position, and the id of the audit entry.

    `position` is that of the bad or missing seal; for an entry without a seal, that of the last seal checked.
    `entry_id` is None if the affected entry is not known: if a seal is missing, or if the chain was cut or replaced.
    """

    flaw: Flaw
    position: int
    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest seal of the audit log's chain: its position, counted from 1 (0: there is no seal), and its hash."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        """Return the position and the hash in hexadecimal, separated by a colon."""
        return f"{self.position}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> ChainHead:
        """Parse a position and a hash in hexadecimal digits, separated by a colon; a missing hash becomes an empty one.

        Raises `ValueError` if the position is no number or the hash is not hexadecimal.
        """
        position, _, digits = text.partition(":")
        return cls(int(position), bytes.fromhex(digits))


def chain_head(session: Session) -> ChainHead:
    """Return the newest seal of the audit log's chain; position 0 and a hash of zeros if there is none."""
    newest = session.scalar(sa.select(AuditSeal).order_by(AuditSeal.position.desc()).limit(1))
    return ChainHead(0, FIRST) if newest is None else ChainHead(newest.position, newest.hash)


def seal_entries(session: Session, now: datetime, limit: int, after: int | None = None) -> list[int]:
    """Seal up to `limit` entries of the audit log that are not sealed yet, and return their ids, the smallest first.

    Several calls form one run. They have the same `now`; `after` is the last id that the previous call has returned,
    None for the first call. Of two transactions that seal at the same time, one fails with `IntegrityError`.
    """
    head = chain_head(session)
    position, previous = head.position, head.hash
    entries = session.execute(_unsealed(session, after).limit(limit)).all()
    for id, _, content in entries:
        position += 1
        previous = _hash(previous, position, now, content)
        session.add(AuditSeal(position=position, entry_id=id, sealed_at=now, hash=previous))
    session.flush()
    return [id for id, _, _ in entries]


class ChainCheck:
    """A check of all seals of the audit log, page by page; each page may be read in a transaction of its own.

    Call `next_page` until it returns None, then `end`. Entries that are sealed while the check runs may or may not be
    included.
    """

    def __init__(self) -> None:
        self.sealed = 0
        """The number of seals that were checked."""
        self.unsealed = 0
        """The number of entries that wait for their seal."""
        self.head = ChainHead(0, FIRST)
        """The last seal checked."""
        self._runs = _Runs()

    def next_page(self, session: Session, limit: int) -> list[ChainFlaw] | None:
        """Check the next `limit` seals and return their flaws; None if there are no more seals."""
        query = (
            sa.select(AuditSeal, AuditEntry.at, _CONTENT)
            .outerjoin(AuditEntry, AuditEntry.id == AuditSeal.entry_id)
            .where(AuditSeal.position > self.head.position)
            .order_by(AuditSeal.position)
            .limit(limit)
        )
        flaws: list[ChainFlaw] = []
        rows = session.execute(query).all()
        for seal, at, content in rows:
            flaws += self._check(seal, at, content)
            # What follows is compared with the hash that was recorded, so that one change is one flaw.
            self.head = ChainHead(seal.position, seal.hash)
            self.sealed += 1
            session.expunge(seal)
        return flaws if rows else None

    def end(self, session: Session, known: Sequence[ChainHead], limit: int) -> list[ChainFlaw]:
        """Check the entries without a seal; return flaws: entries inserted later, and a chain that was cut or replaced.

        Call this after the last page. `known` are heads of the chain that were recorded at earlier times. Each must
        still be a seal of the chain; where only its position is known, its hash is empty. Counts in `unsealed` up to
        `limit` entries that wait for a seal. An entry without a seal counts as inserted later in two cases. Its id is
        at least `LATE` (100,000) below the newest sealed one; at most `limit` of these are reported. Or it waits for
        its seal, but is older than entries that were sealed before.
        """
        flaws = [ChainFlaw(Flaw.SHORTENED, head.position) for head in known if not _reached(session, head)]
        newest = session.scalar(sa.select(sa.func.max(AuditSeal.entry_id))) or 0
        forgotten = sa.select(AuditEntry.id).where(AuditEntry.id <= newest - LATE, _is_unsealed())
        flaws += [ChainFlaw(Flaw.INSERTED, self.head.position, id) for id in session.scalars(forgotten.limit(limit))]
        self._runs.close()
        for id, at, _ in session.execute(_unsealed(session).limit(limit)):
            self.unsealed += 1
            if self._runs.is_late(id, at):
                flaws.append(ChainFlaw(Flaw.INSERTED, self.head.position, id))
        return flaws

    def _check(self, seal: AuditSeal, at: datetime | None, content: str) -> list[ChainFlaw]:
        expected = self.head.position + 1
        flaws = [ChainFlaw(Flaw.SEAL_REMOVED, position) for position in range(expected, seal.position)]
        if at is None:
            return [*flaws, ChainFlaw(Flaw.REMOVED, seal.position, seal.entry_id)]
        # Without its predecessor a seal cannot be checked.
        if not flaws and _hash(self.head.hash, seal.position, seal.sealed_at, content) != seal.hash:
            flaws.append(ChainFlaw(Flaw.CHANGED, seal.position, seal.entry_id))
        self._runs.begin(seal.sealed_at)
        if self._runs.is_late(seal.entry_id, at):
            flaws.append(ChainFlaw(Flaw.INSERTED, seal.position, seal.entry_id))
        self._runs.add(seal.entry_id, at)
        return flaws


class _Runs:
    """Finds entries that somebody has inserted into the audit log after newer entries had been sealed.

    The scheduled job seals all new entries in one run; seals with the same `sealed_at` belong to one run. So an entry
    that is older than an entry sealed in an earlier run did not exist when that run sealed. It was inserted later,
    unless its transaction was merely committed late. Entries are added in the order of their seals.
    """

    def __init__(self) -> None:
        self._sealed_at: datetime | None = None
        self._closed: tuple[int, datetime] | None = None
        """The newest id and the newest time of all earlier runs."""
        self._open: tuple[int, datetime] | None = None
        """The newest id and the newest time of all runs, including the current one."""

    def begin(self, sealed_at: datetime) -> None:
        """Begin the run whose seals were made at the time `sealed_at`, and close the run before.

        Does nothing if `sealed_at` is the time of the current run.
        """
        if sealed_at != self._sealed_at:
            self.close()
            self._sealed_at = sealed_at

    def close(self) -> None:
        """End the current run of sealing: from now on `is_late` compares entries with those sealed in it, too.

        Entries of one run are not compared with each other, because one run may seal older entries after newer ones.
        """
        self._closed = self._open

    def add(self, id: int, at: datetime) -> None:
        """Add an entry that was sealed in the current run, by its id and its time.

        An entry's time counts as that of the run's seals at the latest. Otherwise an entry dated in the future would
        make all later entries look as if they had been inserted afterwards.
        """
        if self._sealed_at is not None:
            # An entry from the future would make all that follow look late.
            at = min(at, self._sealed_at)
        newest_id, newest_at = self._open or (id, at)
        self._open = max(id, newest_id), max(at, newest_at)

    def is_late(self, id: int, at: datetime) -> bool:
        """Return whether an entry was inserted after newer entries had been sealed, judged by its id and its time `at`.

        True if it is older, by time or by id, than the newest entry sealed in the runs before the current one. A
        difference of an hour (`TAKES`) between an entry's time and its commit is allowed.
        """
        if self._closed is None:
            return False
        newest_id, newest_at = self._closed
        # An id is drawn after the entry's time: a smaller id with a later time was never drawn.
        return at < newest_at - TAKES or (id < newest_id and at > newest_at + TAKES)


def _is_unsealed() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(AuditSeal.entry_id == AuditEntry.id)


def _unsealed(session: Session, after: int | None = None) -> sa.Select[int, datetime, str]:
    if after is None:
        after = (session.scalar(sa.select(sa.func.max(AuditSeal.entry_id))) or 0) - LATE
    query = sa.select(AuditEntry.id, AuditEntry.at, _CONTENT)
    return query.where(AuditEntry.id > after, _is_unsealed()).order_by(AuditEntry.id)


def _reached(session: Session, head: ChainHead) -> bool:
    if head.position == 0:
        return True
    seal = session.get(AuditSeal, head.position)
    return seal is not None and seal.hash.startswith(head.hash)


def _hash(previous: bytes, position: int, sealed_at: datetime, content: str) -> bytes:
    return sha256(previous + f"{position} {sealed_at.astimezone(UTC).isoformat()} {content}".encode()).digest()
