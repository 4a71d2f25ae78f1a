"""Bearer tokens of the JSON API: creation, revocation, and lookup of the person who acts with a token."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base
from models.people.rights import Principal, Scope
from models.people.users import User, principal_of

TOKEN_PREFIX = "sv_"  # noqa: S105 - a prefix by which leaked tokens can be found, no secret


class ApiToken(Base):
    """A bearer token that acts for a user, limited to one account and to the token's scopes."""

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
        """Revoke the token, so that requests with the token are rejected. Safe to run twice: the first time is kept."""
        self.revoked_at = self.revoked_at or now


def create_token(
    session: Session, account: Account, user: User, name: str, scopes: frozenset[Scope], now: datetime
) -> str:
    """Create an API token and return its text. The text cannot be read later: only a hash of the token is stored."""
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
    """Return the person who acts with the token, without staff rights; None if the token is unknown or revoked."""
    row = session.execute(
        sa.select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_hash == _token_hash(token), ApiToken.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    api_token, user = row
    return replace(
        principal_of(session, user),
        # A token never acts for the back office.
        is_staff=False,
        token_id=api_token.id,
        token_account_id=api_token.account_id,
        scopes=frozenset(Scope(scope) for scope in api_token.scopes),
    )


def _token_hash(token: str) -> bytes:
    # 256 random bits need no salt and no slow hash; the duration of a lookup by hash reveals nothing about the token.
    return hashlib.sha256(token.encode()).digest()
