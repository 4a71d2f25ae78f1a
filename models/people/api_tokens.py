"""Bearer tokens of the JSON API: creation, revocation, expiry, and lookup of the person who acts with a token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.db.base import Base
from models.errors import NotFound, TokenExpired, TokenNameTaken, TooManyTokens
from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEvent, record, record_of_carrier
from models.people.invitations import lock_users
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import Action, Principal, Role, Scope, token_gives_rights
from models.people.sign_in_log import network_of, record_token_use
from models.people.users import User, administrators_of, roles_sql

TOKEN_PREFIX = "sv_"  # noqa: S105 - a prefix by which leaked tokens can be found, no secret
LONGEST_LIFE = timedelta(days=365)
"""The longest time for which a new token is valid, and the default; it ends with the end of its last day."""
MOST_TOKENS = 50
"""The most tokens of an account that are neither revoked nor expired, so that people can still read the list."""
LONGEST_NAME = 100
_USE_NOTED_EVERY = timedelta(minutes=5)


class ApiToken(Base):
    """A bearer token that acts for a user, limited to one account and to the token's scopes.

    `expires_at` is null for tokens that were created before tokens had an expiry. `last_used_at` is the time of the
    last recorded call, and `last_used_address` its IP address. A call within 5 minutes after a recorded one is not
    recorded.
    """

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    name: Mapped[str]
    # Not loaded: the front may not read it, as a caller is told by it (`models.db.caller`).
    token_hash: Mapped[bytes] = mapped_column(unique=True, deferred=True)
    scopes: Mapped[list[str]] = mapped_column(postgresql.ARRAY(sa.Text))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None]

    __table_args__ = (
        sa.CheckConstraint("expires_at > created_at", name="expires_later"),
        sa.CheckConstraint("(last_used_at IS NULL) = (last_used_address IS NULL)", name="last_use_is_whole"),
    )

    def revoke(self, now: datetime) -> None:
        """Revoke the token: requests with it are rejected from now on. Safe to run twice: the first time is stored."""
        self.revoked_at = self.revoked_at or now

    def has_expired(self, now: datetime) -> bool:
        """Return whether the token's last day is over; False for a token without an expiry."""
        return self.expires_at is not None and now >= self.expires_at


def create_token(
    session: Session,
    account: Account,
    user: User,
    name: str,
    scopes: Iterable[Scope],
    now: datetime,
    valid_for: timedelta = LONGEST_LIFE,
) -> str:
    """Create an API token of the account that acts for `user`, and return its text, which cannot be read later.

    Only a hash of the text is stored. The token is valid for `valid_for`, at most 365 days, to the end of the last day.
    The creation is not recorded in the audit log, and no mail is sent. Flushes the session.
    """
    return _create(session, account, user, name, scopes, now, valid_for)[1]


def issue_token(
    session: Session,
    person: Principal,
    account: Account,
    name: str,
    scopes: Iterable[Scope],
    valid_for: timedelta,
    now: datetime,
) -> str:
    """Create an API token of the account that acts for `person`, and return its text, which cannot be read later.

    The token has the scopes `scopes` and is valid for `valid_for`, at most 365 days, to the end of the last day. Locks
    the account and records the creation in the account's audit log. The account's other administrators are told by
    mail. Raises `Forbidden` if the person may not manage the account's tokens, `TokenNameTaken` if a token of the
    account that is neither revoked nor expired has this name, and `TooManyTokens` if the account has the maximum (50)
    of such tokens, and `TooEarly` if the person has made as many for the account within 24 hours, revoked or not.
    """
    person = lock_users(session, person, account, Action.MANAGE_TOKENS)
    usable = [token.name for token, _ in tokens_of(session, account) if _is_usable(token, now)]
    if name in usable:
        raise TokenNameTaken
    if len(usable) >= MOST_TOKENS:
        raise TooManyTokens(MOST_TOKENS)
    ensure_not_repeated(session, person, account, AuditEvent.TOKEN_CREATED, now, MOST_TOKENS)
    user = session.get_one(User, person.user_id)
    token, text = _create(session, account, user, name, scopes, now, valid_for)
    record(session, person, account, AuditEvent.TOKEN_CREATED, Action.MANAGE_TOKENS, now, {"name": name})
    _tell_administrators(session, account, token, user.name, now, but=user.id)
    return text


def issue_token_for_carrier(
    session: Session,
    account: Account,
    user: User,
    name: str,
    scopes: Iterable[Scope],
    valid_for: timedelta,
    now: datetime,
) -> str:
    """Create an API token of the account that acts for `user`, on behalf of the carrier, and return its text.

    The text cannot be read later. The token is valid for `valid_for`, at most 365 days, to the end of the last day. The
    account's audit log names the carrier as the creator, and all administrators of the account are told by mail.
    """
    token, text = _create(session, account, user, name, scopes, now, valid_for)
    record_of_carrier(session, account, AuditEvent.TOKEN_CREATED, now, {"name": name})
    _tell_administrators(session, account, token, None, now)
    return text


def tokens_of(session: Session, account: Account) -> Sequence[tuple[ApiToken, User]]:
    """Return all tokens of the account, each with the user it acts for.

    Tokens that are not revoked come first, then the revoked ones; within each group, the newest comes first.
    """
    query = sa.select(ApiToken, User).join(User, User.id == ApiToken.user_id).where(ApiToken.account_id == account.id)
    rows = session.execute(query.order_by(ApiToken.revoked_at.is_not(None), ApiToken.id.desc()))
    return [(token, user) for token, user in rows]


def find_token(session: Session, account: Account, token_id: int) -> ApiToken:
    """Return the account's token with this id. Raises `NotFound` if the account has no such token."""
    token = session.scalar(sa.select(ApiToken).where(ApiToken.id == token_id, ApiToken.account_id == account.id))
    if token is None:
        raise NotFound
    return token


def revoke_token(session: Session, person: Principal, account: Account, token_id: int, now: datetime) -> None:
    """Revoke a token of the account, so that requests with the token are rejected. Safe to run twice.

    Locks the account and records the revocation in the account's audit log. Raises `Forbidden` if the person may not
    manage the account's tokens, and `NotFound` if the account has no such token.
    """
    person = lock_users(session, person, account, Action.MANAGE_TOKENS)
    token = find_token(session, account, token_id)
    if token.revoked_at is None:
        token.revoke(now)
        record(session, person, account, AuditEvent.TOKEN_REVOKED, Action.MANAGE_TOKENS, now, {"name": token.name})


def revoke_tokens_of_user(session: Session, user_id: int, account_id: int, now: datetime) -> None:
    """Revoke all tokens of the account that act for the user. Safe to run twice.

    The tokens stay revoked if the user gets a role in the account again.
    """
    theirs = sa.update(ApiToken).where(ApiToken.user_id == user_id, ApiToken.account_id == account_id)
    session.execute(theirs.where(ApiToken.revoked_at.is_(None)).values(revoked_at=now))


@dataclass(frozen=True, slots=True)
class TokenUse:
    """A call with an API token: the person who acts with it, without staff rights, and the token's account.

    `is_noted`: the open transaction has stored this use as the token's last one. It does so only if no use was stored
    in the 5 minutes before.
    """

    person: Principal
    account: Account
    is_noted: bool


def use_token(session: Session, token: str, address: str, now: datetime) -> TokenUse | None:
    """Return the person and the account of an API token, and record the use of the token, at most every 5 minutes.

    The first use on a day (UTC), and a use from another network than the one before, are recorded in the audit log of
    the token's account, too. `address` is the caller's IP address. Returns None if the token is unknown or revoked, or
    if its user is disabled. Also returns None if the user's role in the token's account allows nothing that the token's
    scopes allow; in a closed account nobody has a role. Raises `TokenExpired` if the token has expired but is valid
    otherwise.
    """
    row = session.execute(_by_hash(), {"hash": token_hash(token)}).one_or_none()
    if row is None:
        return None
    person = Principal(
        user_id=row.user_id,
        email=row.email,
        name=row.name,
        locale=row.locale,
        roles={int(account_id): Role(role) for account_id, role in row.roles.items()},
        # A token never acts for the back office.
        is_staff=False,
        token_id=row.token_id,
        token_account_id=row.Account.id,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
    )
    if not token_gives_rights(person):
        return None
    if row.expires_at is not None and now >= row.expires_at:
        raise TokenExpired(row.expires_at)
    if row.last_used_at is not None and row.last_used_at > now - _USE_NOTED_EVERY:
        return TokenUse(person, row.Account, is_noted=False)
    _note_use(session, row.token_id, address, now)
    is_same_day = row.last_used_at is not None and row.last_used_at.astimezone(UTC).date() == now.astimezone(UTC).date()
    if not is_same_day or network_of(row.last_used_address) != network_of(address):
        record_token_use(session, person, row.Account.id, row.token_name, address, now)
    return TokenUse(person, row.Account, is_noted=True)


@cache
def _by_hash() -> sa.Select[*tuple[Any, ...]]:
    """Return the query for a token, its user, its account and the user's roles, by the token's hash (parameter `hash`).

    It selects only the needed columns of token and user. It is built once, because it runs at each call of the API.
    """
    token = ApiToken.id.label("token_id"), ApiToken.name.label("token_name"), ApiToken.scopes, ApiToken.expires_at
    use = ApiToken.last_used_at, ApiToken.last_used_address
    person = User.id.label("user_id"), User.email, User.name, User.locale, roles_sql(User.id).label("roles")
    return (
        sa.select(*token, *use, *person, Account)
        .join(User, User.id == ApiToken.user_id)
        .join(Account, Account.id == ApiToken.account_id)
        .where(
            ApiToken.id
            == sa.select(sa.func.token_of_secret(sa.bindparam("hash", type_=sa.LargeBinary))).scalar_subquery(),
            ApiToken.revoked_at.is_(None),
            User.disabled_at.is_(None),
        )
    )


def _create(
    session: Session,
    account: Account,
    user: User,
    name: str,
    scopes: Iterable[Scope],
    now: datetime,
    valid_for: timedelta,
) -> tuple[ApiToken, str]:
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        account_id=account.id,
        user_id=user.id,
        name=name,
        token_hash=token_hash(text),
        scopes=sorted(scopes),
        created_at=now,
        expires_at=end_of_day(now + min(valid_for, LONGEST_LIFE)),
    )
    session.add(token)
    session.flush()
    return token, text


def _is_usable(token: ApiToken, now: datetime) -> bool:
    return token.revoked_at is None and not token.has_expired(now)


def _tell_administrators(
    session: Session, account: Account, token: ApiToken, maker: str | None, now: datetime, *, but: int | None = None
) -> None:
    """Queue a mail about the new token to each of the account's administrators, except to the user with the id `but`.

    `maker` is the name of the person who has created the token; None for the carrier.
    """
    assert token.expires_at is not None
    facts = {
        "account_name": account.name,
        "customer_number": account.customer_number,
        "maker": maker,
        "token_name": token.name,
        "scopes": token.scopes,
        "until": token.expires_at.isoformat(),
        "path": f"/benutzer/{account.customer_number}/api-token",
    }
    for user in administrators_of(session, account.id):
        if user.id != but:
            to = Recipient(user.name, user.email, user.locale)
            queue_message(session, None, "api_token_created", to, facts, now, occasion=str(token.id))


def _note_use(session: Session, token_id: int, address: str, now: datetime) -> None:
    """Store `now` and the IP address `address` as the token's last use; do nothing within 5 minutes of a stored use."""
    # Of many calls at one time, one writes: the others wait for its commit and find the time changed.
    stale = sa.or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _USE_NOTED_EVERY)
    use = sa.update(ApiToken).where(ApiToken.id == token_id, stale).values(last_used_at=now, last_used_address=address)
    session.execute(use.execution_options(synchronize_session=False))


def token_hash(token: str) -> bytes:
    """Return the SHA-256 hash of an API token's text, under which the database stores the token."""
    # 256 random bits need no salt and no slow hash; the duration of a lookup by hash reveals nothing about the token.
    return hashlib.sha256(token.encode()).digest()
