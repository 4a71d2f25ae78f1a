"""Accounts and their hierarchy: depth 1, at most one main account, a main account never becomes a sub-account.

The database enforces the rules too: `(main_id, main_role)` references `accounts (id, role)` with `main_role`
generated as 'main', check constraints keep role and `main_id` consistent, and a trigger (see the migrations) prevents
a main account from ever becoming a sub-account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.db.text import plain_sql
from models.errors import AlreadyAttached, IsMainAccount, RuleBroken
from models.states import AccountRole, AccountState, Origin, Reason
from models.values import random_customer_number


class IssuedCustomerNumber(Base):
    """A customer number that was issued at some time. A trigger forbids changes and deletes, so none is reused."""

    __tablename__ = "customer_numbers"

    number: Mapped[str] = mapped_column(primary_key=True)

    __table_args__ = (sa.CheckConstraint("number ~ '^[1-9][0-9]{6}$'", name="seven_digits"),)


class Account(Base):
    """One customer number with its contracts, at one location."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    customer_number: Mapped[str] = mapped_column(sa.ForeignKey("customer_numbers.number"), unique=True)
    role: Mapped[AccountRole] = mapped_column(enumeration(AccountRole, "role"), default=AccountRole.STANDALONE)
    state: Mapped[AccountState] = mapped_column(enumeration(AccountState, "state"), default=AccountState.ACTIVE)
    main_id: Mapped[int | None] = mapped_column(sa.BigInteger)
    main_role: Mapped[str] = mapped_column(sa.Text, sa.Computed("'main'", persisted=True))
    origin: Mapped[Origin | None] = mapped_column(enumeration(Origin, "origin"))
    attached_at: Mapped[datetime | None]

    name: Mapped[str]
    street: Mapped[str]
    postal_code: Mapped[str]
    city: Mapped[str]
    contact_name: Mapped[str]
    contact_email: Mapped[str]
    contact_phone: Mapped[str | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("id", "role", name="uq_accounts_id_role"),
        sa.ForeignKeyConstraint(
            ["main_id", "main_role"], ["accounts.id", "accounts.role"], name="fk_accounts_main_is_main"
        ),
        sa.CheckConstraint("(role = 'sub') = (main_id IS NOT NULL)", name="sub_has_main"),
        sa.CheckConstraint("(role = 'sub') = (origin IS NOT NULL)", name="sub_has_origin"),
        sa.CheckConstraint("(role = 'sub') = (attached_at IS NOT NULL)", name="sub_has_time"),
        sa.CheckConstraint("main_id <> id", name="no_self_link"),
        sa.CheckConstraint("state <> 'closed' OR role <> 'sub'", name="closed_stands_alone"),
        sa.CheckConstraint("postal_code ~ '^[0-9]{5}$'", name="postal_code"),
        sa.CheckConstraint("contact_email = lower(contact_email)", name="contact_email_lower"),
        sa.Index("ix_accounts_main_id_id", "main_id", "id", postgresql_where=sa.text("main_id IS NOT NULL")),
        # The sort orders of the overview; see `models.views.locations`.
        *(
            sa.Index(
                f"ix_accounts_main_id_{name}", "main_id", key, "id", postgresql_where=sa.text("main_id IS NOT NULL")
            )
            for name, key in (
                ("attached_at", "attached_at"),
                ("customer_number", "customer_number"),
                ("name", plain_sql(sa.column("name"))),
                ("city", plain_sql(sa.column("city"))),
            )
        ),
    )

    def activate(self) -> None:
        """Mark the account as active, because the ordered products are in service. Safe to run twice."""
        self.state = AccountState.ACTIVE

    def close(self) -> None:
        """Mark the account as closed. Its customer number is never issued again."""
        self.state = AccountState.CLOSED


def issue_customer_numbers(session: Session, count: int = 1) -> list[str]:
    """Issue `count` new customer numbers that were never issued before, and record them as issued."""
    issued: list[str] = []
    while len(issued) < count:
        candidates = {random_customer_number() for _ in range(count - len(issued))}
        statement = (
            postgresql.insert(IssuedCustomerNumber)
            .values([{"number": number} for number in candidates])
            .on_conflict_do_nothing()
            .returning(IssuedCustomerNumber.number)
        )
        issued.extend(session.scalars(statement))
    return issued


def account_by_number(session: Session, customer_number: str) -> Account | None:
    """Return the account with the customer number; None if there is no such account."""
    return session.scalar(sa.select(Account).where(Account.customer_number == customer_number))


def ids_by_customer_number(session: Session, customer_numbers: Sequence[str]) -> list[int]:
    """Return the ids of the accounts with the customer numbers; numbers without an account are left out."""
    if not customer_numbers:
        return []
    return list(session.scalars(sa.select(Account.id).where(Account.customer_number.in_(customer_numbers))))


def lock_accounts(session: Session, ids: Sequence[int]) -> None:
    """Lock the accounts until the transaction ends, and reload each from the database when it is first locked.

    Lock an account before changing it: reloading overwrites changes that are not flushed yet.
    """
    locked: set[int] = session.info.setdefault("locked_accounts", set())
    missing = sorted(set(ids) - locked)
    if missing:
        query = sa.select(Account).where(Account.id.in_(missing)).order_by(Account.id).with_for_update()
        # The result is kept so that the identity map, which holds its objects weakly, does not forget them.
        session.info.setdefault("kept_accounts", []).extend(
            session.scalars(query.execution_options(populate_existing=True))
        )
        locked.update(missing)


def lock_account(session: Session, account: Account) -> None:
    """Lock and reload one account until the transaction ends, so that changes to the account run one after the other.

    Transactions that only refer to the account by a foreign key are not blocked (FOR NO KEY UPDATE).
    """
    session.refresh(account, with_for_update={"key_share": True})


def may_be_main(account: Account) -> bool:
    """Return whether the account is, or may become, a main account: it is neither closed nor a sub-account."""
    return account.state is not AccountState.CLOSED and account.role is not AccountRole.SUB


def ensure_may_be_main(account: Account) -> None:
    """Raise `RuleBroken` unless the account is, or may become, a main account."""
    if not may_be_main(account):
        closed = account.state is AccountState.CLOSED
        raise RuleBroken(Reason.ACCOUNT_CLOSED if closed else Reason.IS_SUB_ACCOUNT, account.customer_number)


def ensure_may_be_sub(account: Account) -> None:
    """Raise `AlreadyAttached`, `IsMainAccount` or another `RuleBroken` unless the account may become a sub-account."""
    if account.role is AccountRole.SUB:
        raise AlreadyAttached(account.customer_number)
    if account.role is AccountRole.MAIN:
        raise IsMainAccount(account.customer_number)
    if account.state is AccountState.CLOSED:
        raise RuleBroken(Reason.ACCOUNT_CLOSED, account.customer_number)


def promote(session: Session, main_id: int) -> Account:
    """Make a standalone account a main account; an account that already is a main account stays one.

    Raises `RuleBroken` if the account is a sub-account or closed. Locks no account that is a main account already:
    the foreign key of its sub-accounts and the trigger ensure that a main account stays one.
    """
    account = session.get_one(Account, main_id)
    if account.role is not AccountRole.MAIN:
        lock_accounts(session, [main_id])
    ensure_may_be_main(account)
    if account.role is AccountRole.STANDALONE:
        account.role = AccountRole.MAIN
        session.flush()
    return account


def attach(session: Session, main_id: int, account_id: int, origin: Origin, now: datetime) -> Account:
    """Attach an account to a main account as its sub-account, and return the sub-account.

    Safe to run twice: an account already attached to this main account is left unchanged. Locks the account, so that
    exactly one of several main accounts succeeds if they attach it at the same time.
    Raises `AlreadyAttached`, `IsMainAccount` or another `RuleBroken`.
    """
    if main_id == account_id:
        raise RuleBroken(Reason.SAME_ACCOUNT)
    promote(session, main_id)
    lock_accounts(session, [account_id])
    account = session.get_one(Account, account_id)
    if account.main_id == main_id:
        return account
    ensure_may_be_sub(account)
    account.role = AccountRole.SUB
    account.main_id = main_id
    account.origin = origin
    account.attached_at = now
    return account


def detach(session: Session, main_id: int, account_id: int) -> Account:
    """Detach a sub-account from its main account; the account keeps its logins, numbers, contract and address.

    Locks the account. Raises `RuleBroken` if the account is not, or no longer, attached to the main account.
    """
    lock_accounts(session, [account_id])
    account = session.get_one(Account, account_id)
    if account.main_id != main_id:
        raise RuleBroken(Reason.NOT_ATTACHED, account.customer_number)
    account.role = AccountRole.STANDALONE
    account.main_id = account.origin = account.attached_at = None
    return account
