"""People, their roles in accounts, their API tokens, and the one answer to 'may this person do that here?'."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts import Account
from models.base import Base, enumeration
from models.states import AccountState
from models.values import Locale

TOKEN_PREFIX = "sv_"  # noqa: S105 - a prefix by which leaked tokens can be found, no secret


class Role(StrEnum):
    """What a person is in an account."""

    ADMINISTRATOR = "administrator"
    LOCATION_MANAGER = "location_manager"
    LOCAL_MEMBER = "local_member"


class Action(StrEnum):
    """What a person can want to do to an account."""

    VIEW = "view"
    ORDER = "order"
    LINK = "link"
    DETACH = "detach"
    FORWARD_CALLS = "forward_calls"
    SEE_CALLS = "see_calls"
    SEE_SECRET = "see_secret"  # noqa: S105 - the name of a right
    MANAGE_TRUNK = "manage_trunk"
    SEE_LOG = "see_log"
    MANAGE_USERS = "manage_users"
    PROVE_OWNERSHIP = "prove_ownership"
    OPERATE = "operate"


class Scope(StrEnum):
    """What an API token may be used for."""

    READ = "read"
    WRITE = "write"


RIGHTS: Mapping[Role, frozenset[Action]] = {
    Role.ADMINISTRATOR: frozenset(Action) - {Action.OPERATE},
    Role.LOCATION_MANAGER: frozenset(
        {
            Action.VIEW,
            Action.ORDER,
            Action.LINK,
            Action.DETACH,
            Action.FORWARD_CALLS,
            Action.SEE_CALLS,
            Action.SEE_SECRET,
            Action.MANAGE_TRUNK,
            Action.SEE_LOG,
        }
    ),
    Role.LOCAL_MEMBER: frozenset({Action.FORWARD_CALLS, Action.SEE_CALLS}),
}
THROUGH_MAIN: frozenset[Action] = frozenset(
    {Action.VIEW, Action.DETACH, Action.FORWARD_CALLS, Action.SEE_CALLS, Action.SEE_SECRET, Action.MANAGE_TRUNK}
)
"""What administrators and location managers of a main account may do to its sub-accounts."""
STAFF: frozenset[Action] = frozenset({Action.VIEW, Action.SEE_CALLS, Action.OPERATE})
SCOPED: Mapping[Scope, frozenset[Action]] = {
    Scope.READ: frozenset({Action.VIEW}),
    Scope.WRITE: frozenset({Action.ORDER, Action.LINK, Action.DETACH, Action.PROVE_OWNERSHIP}),
}


class User(Base):
    """A person who can sign in. `password_hash` is null until the first password was set."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    email_confirmed_at: Mapped[datetime | None]
    name: Mapped[str]
    password_hash: Mapped[str | None]
    locale: Mapped[Locale] = mapped_column(sa.Text, default="de")
    is_staff: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("email = lower(email)", name="email_lower"),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
    )


class Membership(Base):
    """A person's role in an account."""

    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(enumeration(Role, "role"))


class ApiToken(Base):
    """A bearer token of an account; it acts for a user and never beyond that account and its scopes."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(postgresql.ARRAY(sa.Text))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    def revoke(self, now: datetime) -> None:
        """From now on nobody gets in with it. Safe to run twice: the first time counts."""
        self.revoked_at = self.revoked_at or now


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is acting: a person, signed in or through a token, with the roles that were read at that moment."""

    user_id: int
    email: str
    name: str
    locale: Locale
    roles: Mapping[int, Role] = field(default_factory=dict)
    is_staff: bool = False
    token_id: int | None = None
    token_account_id: int | None = None
    scopes: frozenset[Scope] = frozenset()


def may(principal: Principal, action: Action, account: Account) -> bool:
    """Whether this person may do that to this account. The only place that knows.

    A token narrows its user's rights to its account (with sub-accounts) and its scopes; proving ownership of
    another account is its user's own right and only needs the scope.
    """
    if principal.token_id is not None:
        if not any(action in SCOPED[scope] for scope in principal.scopes):
            return False
        reached = principal.token_account_id in (account.id, account.main_id)
        if not reached and action is not Action.PROVE_OWNERSHIP:
            return False
    elif principal.is_staff and action in STAFF:
        return True
    return _by_own_role(principal, action, account) or _by_main_account(principal, action, account)


def through_main(principal: Principal, action: Action, account: Account) -> int | None:
    """The main account by which alone this person may do that to its sub-account; None for whoever may anyway."""
    if _by_own_role(principal, action, account) or not _by_main_account(principal, action, account):
        return None
    return account.main_id


def only_as_staff(principal: Principal, action: Action, account: Account) -> bool:
    """Whether it is only as the carrier's staff that this person may do that to this account."""
    if _by_own_role(principal, action, account) or _by_main_account(principal, action, account):
        return False
    return may(principal, action, account)


def only_forwards(principal: Principal) -> bool:
    """Whether minding call forwarding and its calls is all that this person may do, wherever they are a member."""
    if principal.is_staff or not principal.roles:
        return False
    return all(Action.VIEW not in RIGHTS[role] for role in principal.roles.values())


def _by_own_role(principal: Principal, action: Action, account: Account) -> bool:
    own = principal.roles.get(account.id)
    return own is not None and action in RIGHTS[own]


def _by_main_account(principal: Principal, action: Action, account: Account) -> bool:
    if account.main_id is None or action not in THROUGH_MAIN:
        return False
    return principal.roles.get(account.main_id) in (Role.ADMINISTRATOR, Role.LOCATION_MANAGER)


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """What no password has, with this hasher's parameters; hashing one would hold up the start of every program."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${'A' * 22}${'A' * 43}"


_hasher = PasswordHasher()
# Verified against when there is no such user, so that the answer takes as long as for a wrong password.
_NOBODY = _nobodys_hash(_hasher)


def hash_password(password: str) -> str:
    """Argon2id with the library's parameters (RFC 9106, low-memory profile)."""
    return _hasher.hash(password)


def authenticate(session: Session, email: str, password: str) -> User | None:
    """The user with these credentials. Wrong password, no password and no such user take the same time."""
    user = session.scalar(sa.select(User).where(User.email == email.strip().lower()))
    known = user.password_hash if user is not None else None
    try:
        _hasher.verify(known or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return None
    return user if known is not None else None


def principal_of(session: Session, user: User) -> Principal:
    """The person with all roles, as of now."""
    return Principal(
        user_id=user.id,
        email=user.email,
        name=user.name,
        locale=user.locale,
        roles=roles_of(session, user.id),
        is_staff=user.is_staff,
    )


def roles_of(session: Session, user_id: int) -> dict[int, Role]:
    """Account id to role, for every account the person is a member of. In a closed one nobody has any right."""
    rows = session.execute(
        sa.select(Membership.account_id, Membership.role)
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.user_id == user_id, Account.state != AccountState.CLOSED)
    )
    return {row.account_id: row.role for row in rows}


def administrators_of(session: Session, account_id: int) -> list[User]:
    """The account's own administrators, the oldest first."""
    return list(
        session.scalars(
            sa.select(User)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.account_id == account_id, Membership.role == Role.ADMINISTRATOR)
            .order_by(User.id)
        )
    )


def create_token(
    session: Session, account: Account, user: User, name: str, scopes: frozenset[Scope], now: datetime
) -> str:
    """A new API token. The return value is the only time it can be read: only its hash is kept."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    session.add(
        ApiToken(
            account_id=account.id,
            user_id=user.id,
            name=name,
            token_hash=_token_hash(token),
            scopes=sorted(scopes),
            created_at=now,
        )
    )
    session.flush()
    return token


def principal_by_token(session: Session, token: str) -> Principal | None:
    """Who acts with this bearer token; None if there is no such token or it was revoked."""
    row = session.execute(
        sa.select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_hash == _token_hash(token), ApiToken.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    api_token, user = row
    return Principal(
        user_id=user.id,
        email=user.email,
        name=user.name,
        locale=user.locale,
        roles=roles_of(session, user.id),
        token_id=api_token.id,
        token_account_id=api_token.account_id,
        scopes=frozenset(Scope(scope) for scope in api_token.scopes),
    )


def _token_hash(token: str) -> bytes:
    # 256 random bits need no salt and no slow hash; looking up a hash leaks nothing by its time.
    return hashlib.sha256(token.encode()).digest()
