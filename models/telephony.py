"""Ortsnetze, number pools and SIP trunks.

A number block is free when it belongs to no account and its quarantine is over (`available_from`); so nothing has
to run for a quarantine to end. An exclusion constraint keeps two blocks from ever sharing a number.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column, object_session, relationship

from models.accounts import Account
from models.base import Base, enumeration
from models.contracts import Contract
from models.due import Due, due_index, lease_ends
from models.errors import InvalidField, NoNumbersAvailable, TrunkClosed
from models.towns import NO_AREA_CODES
from models.values import block_numbers, display_block, national_to_e164

QUARANTINE = timedelta(days=90)
"""How long a released number rests, so that its next owner does not get the last one's calls."""
BLOCK_SIZES = (1, 10, 100)


class AreaCode(Base):
    """An Ortsnetz: a German area code with its leading zero, and the name of its town."""

    __tablename__ = "area_codes"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]

    __table_args__ = (sa.CheckConstraint("code ~ '^0[1-9][0-9]{1,4}$'", name="form"),)


class TrunkState(StrEnum):
    """Whether a trunk may register and call. Emergency calls can be made while it is suspended too."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Suspender(StrEnum):
    """Who has suspended a trunk. Each lifts only what is theirs."""

    CUSTOMER = "customer"
    CARRIER = "carrier"


class SipTrunk(Due, Base):
    """A SIP trunk with its credentials; the secret is encrypted by the `Vault`.

    Suspended from the first of the two moments on until both are null; `carrier_reason` is what the customer reads.
    Due: the registrar has to be told about it as it is now. Whoever changes what the registrar knows makes it due.
    """

    __tablename__ = "sip_trunks"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    # In the order of bytes, whatever the database's own order is: as the registrar's rows are compared.
    sip_user: Mapped[str] = mapped_column(sa.Text(collation="C"), unique=True)
    domain: Mapped[str]
    secret: Mapped[bytes]
    channels: Mapped[int]
    state: Mapped[TrunkState] = mapped_column(enumeration(TrunkState, "state"), default=TrunkState.ACTIVE)
    customer_suspended_at: Mapped[datetime | None]
    carrier_suspended_at: Mapped[datetime | None]
    carrier_reason: Mapped[str | None]
    created_at: Mapped[datetime]

    account: Mapped[Account] = relationship(lazy="raise_on_sql")
    contract: Mapped[Contract] = relationship(lazy="raise_on_sql")
    blocks: Mapped[list[NumberBlock]] = relationship(lazy="raise_on_sql", order_by="NumberBlock.first_number")

    __table_args__ = (
        sa.CheckConstraint("channels > 0", name="channels"),
        sa.CheckConstraint(
            "state = 'closed' OR (state = 'suspended')"
            " = (customer_suspended_at IS NOT NULL OR carrier_suspended_at IS NOT NULL)",
            name="suspended_by_somebody",
        ),
        sa.CheckConstraint(
            "(carrier_suspended_at IS NULL) = (carrier_reason IS NULL) AND carrier_reason <> ''",
            name="carrier_says_why",
        ),
        lease_ends(),
        due_index("sip_trunks"),
    )

    def suspend(self, by: Suspender, now: datetime, reason: str | None = None) -> bool:
        """Nobody registers any more, and no call comes or goes but to 110 and 112, until it is resumed.

        The carrier gives a reason, and may give another one later. Safe to run twice: False if nothing has changed.
        Raises `TrunkClosed`.
        """
        assert (reason is not None) == (by is Suspender.CARRIER)
        self._ensure_open()
        if by is Suspender.CUSTOMER:
            changed = self.customer_suspended_at is None
            self.customer_suspended_at = self.customer_suspended_at or now
        else:
            changed = self.carrier_reason != reason
            self.carrier_suspended_at, self.carrier_reason = self.carrier_suspended_at or now, reason
        if changed:
            self.state = TrunkState.SUSPENDED
            self.attempts = 0
            self.make_due(now)
        return changed

    def resume(self, by: Suspender, now: datetime) -> bool:
        """Lift the suspension by this side; it stays suspended if the other side has suspended it too.

        Safe to run twice: False if nothing has changed. Raises `TrunkClosed`.
        """
        self._ensure_open()
        if by is Suspender.CUSTOMER:
            changed = self.customer_suspended_at is not None
            self.customer_suspended_at = None
        else:
            changed = self.carrier_suspended_at is not None
            self.carrier_suspended_at = self.carrier_reason = None
        if changed:
            self.state = (
                TrunkState.SUSPENDED if self.customer_suspended_at or self.carrier_suspended_at else TrunkState.ACTIVE
            )
            self.attempts = 0
            self.make_due(now)
        return changed

    def _ensure_open(self) -> None:
        if self.state is TrunkState.CLOSED:
            raise TrunkClosed(self.sip_user)


def provision_key(request_id: uuid.UUID | None, sip_user: str) -> str:
    """What the registrar knows a trunk by: the request that asked for it, or something as unique that stays as long."""
    return str(request_id or uuid.uuid5(uuid.NAMESPACE_OID, sip_user))


class NumberBlock(Base):
    """1, 10 or 100 consecutive numbers of one Ortsnetz. `first_number` is E.164 without the plus sign.

    It stays for ever, with the numbers that it has.
    """

    __tablename__ = "number_blocks"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    area_code: Mapped[str] = mapped_column(sa.ForeignKey("area_codes.code"))
    first_number: Mapped[int] = mapped_column(sa.BigInteger)
    size: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    trunk_id: Mapped[int | None] = mapped_column(sa.ForeignKey("sip_trunks.id"), index=True)
    available_from: Mapped[datetime]

    __table_args__ = (
        # In the order in which they are compared with the registrar's.
        sa.Index("ix_number_blocks_first_number", "first_number"),
        sa.CheckConstraint(f"size IN {BLOCK_SIZES}", name="size"),
        sa.CheckConstraint("mod(first_number, size) = 0", name="aligned"),
        sa.CheckConstraint("account_id IS NOT NULL OR trunk_id IS NULL", name="trunk_needs_account"),
        sa.CheckConstraint("starts_with(first_number::text, '49' || substr(area_code, 2))", name="in_area"),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(first_number, first_number + size)"), "&&"),
            name="ex_number_blocks_overlap",
            using="gist",
        ),
        sa.Index(
            "ix_number_blocks_free",
            "area_code",
            "size",
            "available_from",
            "id",
            postgresql_where=sa.text("account_id IS NULL"),
        ),
        # By any part of a number; see `models.number_search`.
        sa.Index(
            "ix_number_blocks_stem",
            sa.literal_column("((first_number / size)::text)", sa.Text).label("stem"),
            postgresql_using="gin",
            postgresql_ops={"stem": "gin_trgm_ops"},
            postgresql_where=sa.text("account_id IS NOT NULL"),
        ),
    )

    @property
    def numbers(self) -> tuple[str, ...]:
        """Every number in E.164, with the plus sign."""
        return block_numbers(self.first_number, self.size)

    @property
    def display(self) -> str:
        """As people write it."""
        return display_block(self.area_code, self.first_number, self.size)


class BlockAnnouncement(Due, Base):
    """Due: the registrar has to be told that the numbers of this block are ours, whoever has them. Told, it is gone.

    A row of its own, as whoever takes blocks out of the pool passes over those that somebody else has locked.
    """

    __tablename__ = "block_announcements"

    block_id: Mapped[int] = mapped_column(sa.ForeignKey("number_blocks.id"), primary_key=True)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")

    __table_args__ = (lease_ends(), due_index("block_announcements"))


@sa.event.listens_for(Base.metadata, "before_create")
def _provide_trigrams(_metadata: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    # Where the tables are made without the migrations.
    connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))


def _free(area_code: str, size: int, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        NumberBlock.area_code == area_code,
        NumberBlock.size == size,
        NumberBlock.account_id.is_(None),
        NumberBlock.available_from <= now,
    )


def pool_has(session: Session, area_code: str, size: int, now: datetime) -> bool:
    """Whether the pool has a free block of this size at this moment. No promise: others take from it too."""
    return session.scalar(sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(1)) is not None


def count_free(session: Session, area_code: str, size: int, now: datetime, most: int = 1000) -> int:
    """How many blocks of this size are free at this moment, counted up to `most`. No promise, as `pool_has`."""
    some = sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


class NumberPool:
    """Free number blocks for the orders of one transaction, given out without waiting for anybody.

    `wanted` says how many blocks of an area code and size the transaction may take: so many are locked with one
    statement when the first is asked for. What others are taking at that moment is passed over.
    """

    def __init__(self, session: Session, now: datetime, wanted: Mapping[tuple[str, int], int]) -> None:
        self._session = session
        self._now = now
        self._wanted = wanted
        self._locked: dict[tuple[str, int], list[NumberBlock]] = {}

    def has(self, area_code: str, size: int) -> bool:
        """Whether there is one to take."""
        return bool(self._of(area_code, size))

    def take(self, area_code: str, size: int, account_id: int) -> NumberBlock:
        """Give a block to an account, the one that has been free for longest. Raises `NoNumbersAvailable`."""
        blocks = self._of(area_code, size)
        if not blocks:
            raise NoNumbersAvailable(area_code, size)
        block = blocks.pop(0)
        block.account_id = account_id
        return block

    def _of(self, area_code: str, size: int) -> list[NumberBlock]:
        key = (area_code, size)
        if key not in self._locked:
            free = (
                sa.select(NumberBlock)
                .where(_free(area_code, size, self._now))
                .order_by(NumberBlock.available_from, NumberBlock.id)
                .limit(self._wanted.get(key, 1))
                # Who only refers to a block is in nobody's way.
                .with_for_update(skip_locked=True, key_share=True)
            )
            self._locked[key] = list(self._session.scalars(free))
        return self._locked[key]


def release_block(block: NumberBlock, now: datetime) -> None:
    """Take a block back; it rests for `QUARANTINE` before it can be given out again."""
    block.account_id = None
    block.trunk_id = None
    block.available_from = now + QUARANTINE


def give_up_trunk(trunk: SipTrunk, now: datetime) -> None:
    """Close a trunk for good: the registrar is told, its numbers go back to the pool, its contract ends."""
    session = object_session(trunk)
    assert session is not None
    trunk.state = TrunkState.CLOSED
    trunk.make_due(now)
    for block in session.scalars(sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id).with_for_update()):
        release_block(block, now)
    session.get_one(Contract, trunk.contract_id).end(now)


def stock_pool(session: Session, area_code: str, first_subscriber: str, size: int, count: int, now: datetime) -> int:
    """Add `count` consecutive free blocks, the first at `first_subscriber` (digits after the area code).

    Numbers that are in the pool already are left as they are; returns how many blocks were added. They are to be
    announced, so the caller sends the hint after the commit.
    """
    if size not in BLOCK_SIZES:
        raise InvalidField("size", "unknown_block_size", BLOCK_SIZES)
    first = int(national_to_e164(area_code) + first_subscriber)
    if first % size:
        raise InvalidField("first_subscriber", "not_aligned", size)
    of_each = {
        NumberBlock.area_code: sa.literal(area_code),
        NumberBlock.size: sa.literal(size),
        NumberBlock.available_from: sa.literal(now),
    }
    firsts = sa.func.generate_series(sa.literal(first, sa.BigInteger), first + (count - 1) * size, size)
    rows = postgresql.insert(NumberBlock).from_select(
        [NumberBlock.first_number, *of_each], sa.select(firsts, *of_each.values())
    )
    added = rows.on_conflict_do_nothing().returning(NumberBlock.id).cte("added")
    announcements = sa.insert(BlockAnnouncement).from_select(
        ["block_id", "due_at"], sa.select(added.c.id, sa.literal(now)), include_defaults=False
    )
    return len(session.scalars(announcements.returning(BlockAnnouncement.block_id)).all())


def new_sip_user() -> str:
    """A SIP user name that says nothing about the customer: 't' and 12 digits."""
    return f"t{secrets.randbelow(10**12):012d}"


def load_area_codes(session: Session) -> int:
    """Bring the table of Ortsnetze up to date from the phonenumbers package; returns how many there are."""
    from phonenumbers.geodata import GEOCODE_DATA  # large: only where it is needed

    names = {
        "0" + prefix.removeprefix("49"): names.get("de") or names["en"]
        for prefix, names in GEOCODE_DATA.items()
        if prefix.startswith("49") and 4 <= len(prefix) <= 7 and ("de" in names or "en" in names)
    }
    rows = [{"code": code, "name": name} for code, name in names.items() if code not in NO_AREA_CODES]
    statement = postgresql.insert(AreaCode).values(rows)
    session.execute(
        statement.on_conflict_do_update(index_elements=[AreaCode.code], set_={"name": statement.excluded.name})
    )
    return len(rows)
