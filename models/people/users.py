"""Users (people who can sign in), and their memberships (roles) in accounts."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base, enumeration
from models.db.word_search import searchable_sql
from models.people.rights import LEADS, Principal, Role
from models.states import AccountState
from models.values import Locale


class User(Base):
    """A person who can sign in. `password_hash` is null until the first password is set.

    `disabled_at` is when the carrier has disabled the user (`models.staff.sign_in_access`), so that they cannot sign in
    any more; null if the user is not disabled. `links_void_at` is when the carrier last disabled the user, and stays
    when the user is enabled again: links mailed before that time are invalid.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    email_confirmed_at: Mapped[datetime | None]
    name: Mapped[str]
    password_hash: Mapped[str | None]
    locale: Mapped[Locale] = mapped_column(sa.Text, default="de")
    is_staff: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    links_void_at: Mapped[datetime | None]

    __table_args__ = (
        sa.CheckConstraint("email = lower(email)", name="email_lower"),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
        sa.Index(
            "ix_users_text",
            searchable_sql(sa.column("name", sa.Text), sa.column("email", sa.Text)).label("text"),
            postgresql_using="gin",
            postgresql_ops={"text": "gin_trgm_ops"},
        ),
    )


class Membership(Base):
    """The role of a user in an account; a user has at most one in each account."""

    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(enumeration(Role, "role"))


def user_text() -> sa.ColumnElement[str]:
    """Return SQL for the text of a user in which the back office's search looks for words.

    It joins name and e-mail address, without accents and with umlauts spelled out (`searchable_sql`).
    """
    return searchable_sql(User.name, User.email)


def principal_of(session: Session, user: User) -> Principal:
    """Return the user as an acting person (`Principal`), with all roles read from the database now.

    A disabled user (`User.disabled_at`) has no roles and does not count as the carrier's staff.
    """
    if user.disabled_at is not None:
        return Principal(user_id=user.id, email=user.email, name=user.name, locale=user.locale, roles={})
    return acting(user, roles_of(session, user.id))


def acting(user: User, roles: dict[int, Role]) -> Principal:
    """Return the user as an acting person (`Principal`) with the given roles, a dict of account id to role."""
    return Principal(
        user_id=user.id, email=user.email, name=user.name, locale=user.locale, roles=roles, is_staff=user.is_staff
    )


def roles_of(session: Session, user_id: int) -> dict[int, Role]:
    """Return a dict of account id to role, for every account of which the user is a member.

    Closed accounts are left out, because nobody has any right in a closed account.
    """
    return {row.account_id: row.role for row in session.execute(_roles(), {"user_id": user_id})}


@cache
def _roles() -> sa.Select[int, Role]:
    """Return the query for the roles of the user `user_id`, a parameter; built once, because it runs very often."""
    return (
        sa.select(Membership.account_id, Membership.role)
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.user_id == sa.bindparam("user_id"), Account.state != AccountState.CLOSED)
    )


def roles_sql(user_id: sa.SQLColumnExpression[int]) -> sa.ScalarSelect[dict[str, str]]:
    """Return an SQL subquery for a JSON object of account id to role, for the user with this id.

    Closed accounts are left out.
    """
    roles = sa.func.json_object_agg(Membership.account_id, Membership.role)
    return (
        sa.select(sa.func.coalesce(roles, sa.literal_column("'{}'::json"), type_=sa.JSON))
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.user_id == user_id, Account.state != AccountState.CLOSED)
        .scalar_subquery()
    )


def administrators_of(session: Session, account_id: int) -> list[User]:
    """Return the administrators of the account itself, not of its main account, sorted by user id.

    Disabled users (`User.disabled_at`) are left out.
    """
    return list(
        session.scalars(
            sa.select(User)
            .join(Membership, Membership.user_id == User.id)
            .where(
                Membership.account_id == account_id,
                Membership.role == Role.ADMINISTRATOR,
                User.disabled_at.is_(None),
            )
            .order_by(User.id)
        )
    )


def people_to_tell(session: Session, asked_by: int | None, main_id: int, account_id: int | None = None) -> list[User]:
    """Return the people who get the mails about a request that the user with the id `asked_by` has made.

    This is only that user, if they are not disabled and still concerned: they are the carrier's staff, or have a role
    in the main account `main_id` or in the account that the request is about (`account_id`). Otherwise, and if
    `asked_by` is None, all administrators of the main account are returned.
    """
    person = session.scalar(_ASKED, {"asked_by": asked_by, "main_id": main_id, "account_id": account_id})
    return [person] if person is not None else administrators_of(session, main_id)


def _id(name: str) -> sa.BindParameter[int | None]:
    return sa.bindparam(name, type_=sa.BigInteger)


# Executed for each completed order: building the statement takes longer than running it.
_ASKED = sa.select(User).where(
    User.id == _id("asked_by"),
    sa.or_(
        User.is_staff,
        sa.exists().where(
            Membership.user_id == User.id, Membership.account_id.in_((_id("main_id"), _id("account_id")))
        ),
    ),
    User.disabled_at.is_(None),
)


def people_of_main(session: Session, account: Account) -> set[int]:
    """Return the ids of the users with a role in the account's main account that gives access to its sub-accounts.

    Empty if the account has no main account.
    """
    if account.main_id is None:
        return set()
    query = sa.select(Membership.user_id).where(Membership.account_id == account.main_id, Membership.role.in_(LEADS))
    return set(session.scalars(query))
