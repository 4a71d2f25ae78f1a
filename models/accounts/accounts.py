"""The tables of accounts and of issued customer numbers.

The database itself enforces the hierarchy: an account has at most one main account, and a main account is never a
sub-account. The foreign key `(main_id, main_role)` references `accounts (id, role)`, and the generated column
`main_role` is always 'main'. Check constraints keep `role` and `main_id` consistent. A trigger, which the migrations
create, refuses to turn a main account into a sub-account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.db.word_search import plain_sql, searchable_sql
from models.states import AccountRole, AccountState, Origin
from models.values import random_customer_number

_ADDRESS, _CONTACT = ("street", "postal_code", "city"), ("contact_name", "contact_email", "contact_phone")
_SEARCHED = ("customer_number", "name", *_ADDRESS, *_CONTACT)


def account_text() -> sa.ColumnElement[str]:
    """Return SQL for the text of an account that the back office searches for words.

    The text joins customer number, name, address and contact: once in lower case without accents, and once with umlauts
    spelled out in two letters.
    """
    return searchable_sql(*(getattr(Account, name) for name in _SEARCHED))


class IssuedCustomerNumber(Base):
    """A customer number that was ever issued. A trigger forbids changes and deletes, so no number is issued twice."""

    __tablename__ = "customer_numbers"

    number: Mapped[str] = mapped_column(primary_key=True)

    __table_args__ = (sa.CheckConstraint("number ~ '^[1-9][0-9]{6}$'", name="seven_digits"),)


class Account(Base):
    """A customer's account: one customer number with its contracts, at one connection address.

    If `role` is "sub", `main_id` is the id of the main account, `origin` says how the account was attached (order, link
    request or collective invoice), and `attached_at` when; for other roles these three are null. `main_role` is always
    'main', for the foreign key that `main_id` is part of. `factor_required_from` is the time from which each person of
    the account and of its sub-accounts needs a second factor; null if nobody needs one. `approval_from_cents` is the
    monthly sum from which requests wait for a second person (`models.requests.approvals`); null if none does. `tags`
    are those of a sub-account (`models.links.tags`); null if it has none.
    """

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
    factor_required_from: Mapped[datetime | None]
    approval_from_cents: Mapped[int | None]
    tags: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))

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
        sa.CheckConstraint("approval_from_cents > 0", name="approval_from"),
        sa.CheckConstraint("cardinality(tags) BETWEEN 1 AND 10", name="tags"),
        sa.CheckConstraint("contact_email = lower(contact_email)", name="contact_email_lower"),
        sa.Index("ix_accounts_main_id_id", "main_id", "id", postgresql_where=sa.text("main_id IS NOT NULL")),
        # Few: ordered, or closed.
        sa.Index("ix_accounts_not_active", "id", postgresql_where=sa.text("state <> 'active'")),
        sa.Index(
            "ix_accounts_text",
            searchable_sql(*(sa.column(name, sa.Text) for name in _SEARCHED)).label("text"),
            postgresql_using="gin",
            postgresql_ops={"text": "gin_trgm_ops"},
        ),
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

    @property
    def paid_since(self) -> datetime | None:
        """Return the time from which the main account pays the account's costs; None if there is no main account.

        It is the account's creation if the main account ordered it, otherwise the time at which it was attached.
        """
        return self.created_at if self.origin is Origin.ORDER else self.attached_at

    def activate(self) -> None:
        """Mark the account as active, because the ordered products are in service. Safe to run twice."""
        self.state = AccountState.ACTIVE

    def close(self) -> None:
        """Mark the account as closed, and nothing else: the caller ends its trunks, numbers and contracts."""
        self.state = AccountState.CLOSED


def issue_customer_numbers(session: Session, count: int = 1) -> list[str]:
    """Return `count` new random customer numbers, which were never issued before, and record them as issued."""
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


def ids_by_customer_number(session: Session, customer_numbers: Sequence[str]) -> dict[str, int]:
    """Return a dict of customer number to account id; customer numbers that no account has are left out."""
    if not customer_numbers:
        return {}
    known = sa.select(Account.customer_number, Account.id).where(Account.customer_number.in_(customer_numbers))
    return {row.customer_number: row.id for row in session.execute(known)}
