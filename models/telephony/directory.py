"""Entries in the telephone directory, which `standorte directory export` exports for publishers.

An account can have one entry if it has booked this option of the price list. A withdrawn entry is kept for a while, so
that an export can report the withdrawal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.contracts.catalogue import DIRECTORY_ENTRY
from models.contracts.contracts import has_product
from models.db.base import Base, quoted
from models.errors import Forbidden, InvalidField, NotFound
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.phone_numbers import BadPhoneNumber, typed_phone_number
from models.states import AccountState
from models.telephony.numbers import NumberBlock, is_own_number


class Publication(StrEnum):
    """The places where a directory entry is published: the printed directory, the online one, directory enquiries."""

    PRINT = "print"
    ONLINE = "online"
    ENQUIRIES = "enquiries"


@dataclass(frozen=True, slots=True)
class DirectoryData:
    """The content of a directory entry: name as printed, whether the address is shown, and where it is published.

    `published_in` has values of `Publication`.
    """

    name: str
    show_address: bool
    published_in: tuple[str, ...]


def directory_data(saved: Mapping[str, Any] | None) -> DirectoryData | None:
    """Return the content of a directory entry from a stored JSON object; None if `saved` is None."""
    return DirectoryData(**{**saved, "published_in": tuple(saved["published_in"])}) if saved is not None else None


class DirectoryEntry(Base):
    """The directory entry of an account, for one of its numbers (`number`, E.164 without the plus sign).

    The address shown is the account's. `withdrawn_at` is when the entry was withdrawn, None if it was not.
    """

    __tablename__ = "directory_entries"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(sa.BigInteger)
    name: Mapped[str]
    show_address: Mapped[bool]
    published_in: Mapped[list[str]]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]

    __table_args__ = (
        sa.CheckConstraint(
            f"cardinality(published_in) > 0 AND published_in <@ ARRAY[{quoted(*Publication)}]", name="published_in"
        ),
        sa.CheckConstraint("name <> ''", name="name"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the entry was withdrawn at least `retention.DIRECTORY_ENTRIES` (400 days) ago."""
        return cls.withdrawn_at <= now - retention.DIRECTORY_ENTRIES

    @property
    def data(self) -> DirectoryData:
        """Return the entry's content: the name as printed, whether the address is shown, and where it is published."""
        return DirectoryData(self.name, self.show_address, tuple(self.published_in))


def put_entry(session: Session, account_id: int, number: int, data: DirectoryData, now: datetime) -> None:
    """Store the account's directory entry in place of an earlier one, even a withdrawn one: an account has at most one.

    `number` is in E.164 without the plus sign. The caller must check the rights and that the number is the account's,
    and record the change in the account's audit log.
    """
    new = {
        "number": number,
        "name": data.name,
        "show_address": data.show_address,
        "published_in": [place for place in Publication if place in data.published_in],
        "changed_at": now,
        "withdrawn_at": None,
    }
    statement = postgresql.insert(DirectoryEntry).values(account_id=account_id, created_at=now, **new)
    session.execute(statement.on_conflict_do_update(index_elements=[DirectoryEntry.account_id], set_=new))


def withdraw_for_block(session: Session, block: NumberBlock, now: datetime) -> None:
    """Withdraw the directory entry for a number of this block, because the block is taken from its account.

    Does nothing if there is no such entry. Runs one statement.
    """
    numbers = DirectoryEntry.number.between(block.first_number, block.last_number)
    theirs = sa.and_(DirectoryEntry.account_id == block.account_id, DirectoryEntry.withdrawn_at.is_(None), numbers)
    table = DirectoryEntry.__table__
    assert isinstance(table, sa.Table)
    session.execute(sa.update(table).where(theirs).values(withdrawn_at=now, changed_at=now))


def entry_of(session: Session, account: Account) -> DirectoryEntry | None:
    """Return the account's directory entry, also if it is withdrawn; None if the account never had one."""
    return session.get(DirectoryEntry, account.id, populate_existing=True)


def change_entry(
    session: Session, person: Principal, account: Account, number: str, data: DirectoryData, now: datetime
) -> None:
    """Store the account's directory entry for `number`, and record it in the account's audit log.

    `number` is one of the account's numbers in any usual spelling. Locks the account. A withdrawn entry is published
    again. Raises `Forbidden` if the account is not active or the person may not manage its trunks, `NotFound` if the
    account has not booked a directory entry (an option of the price list), and `InvalidField` if the number is not one
    of the account's.
    """
    _begin(session, person, account, now)
    try:
        typed = typed_phone_number(number)
    except BadPhoneNumber as error:
        raise InvalidField("number", "not_own_number") from error
    if not is_own_number(session, account.id, int(typed)):
        raise InvalidField("number", "not_own_number")
    put_entry(session, account.id, int(typed), data, now)
    facts = {"name": data.name, "number": typed}
    record(session, person, account, AuditEvent.DIRECTORY_CHANGED, Action.MANAGE_TRUNK, now, facts)


def withdraw_entry(session: Session, person: Principal, account: Account, now: datetime) -> None:
    """Withdraw the account's directory entry, and record it in the account's audit log. Safe to run twice.

    Locks the account. Raises `Forbidden` if the account is not active or the person may not manage its trunks, and
    `NotFound` if the account has not booked a directory entry or never had one.
    """
    _begin(session, person, account, now)
    found = entry_of(session, account)
    if found is None:
        raise NotFound
    if found.withdrawn_at is None:
        found.withdrawn_at = found.changed_at = now
        facts = {"name": found.name}
        record(session, person, account, AuditEvent.DIRECTORY_WITHDRAWN, Action.MANAGE_TRUNK, now, facts)


def entries_since(session: Session, since: datetime | None) -> Sequence[sa.Row[DirectoryEntry, Account]]:
    """Return directory entries, each with its account, sorted by number.

    If `since` is None, these are the entries of active accounts that are not withdrawn. Otherwise they are the entries
    that were created, changed or withdrawn at that time or later. Entries of accounts that are not active are then
    included only if they are withdrawn.
    """
    query = sa.select(DirectoryEntry, Account).join(Account, Account.id == DirectoryEntry.account_id)
    if since is None:
        query = query.where(DirectoryEntry.withdrawn_at.is_(None), Account.state == AccountState.ACTIVE)
    else:
        told = sa.or_(DirectoryEntry.withdrawn_at.is_not(None), Account.state == AccountState.ACTIVE)
        query = query.where(DirectoryEntry.changed_at >= since, told)
    return session.execute(query.order_by(DirectoryEntry.number, DirectoryEntry.account_id)).all()


def _begin(session: Session, person: Principal, account: Account, now: datetime) -> None:
    lock_active_account(session, account)
    if not may(person, Action.MANAGE_TRUNK, account):
        raise Forbidden
    if not has_product(session, account.id, DIRECTORY_ENTRY, now):
        raise NotFound
