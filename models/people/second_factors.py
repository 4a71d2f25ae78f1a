"""Second factors, which a person proves besides the password: authenticator apps, and recovery codes for a lost device.

Passkeys are in `models.people.passkeys`.

A code of an authenticator app (TOTP, RFC 6238) is valid for its half minute, and for the ones before and after because
clocks differ. Each code works once. The app's secret is encrypted together with the ids of its row and its user, so
that a copy in another row is useless. Each recovery code works once, and only a salted hash of it is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import pyotp
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.errors import FactorNeeded, NotFound
from models.people.audit_log import AuditEvent
from models.people.login_changes import Where, note_change
from models.people.users import User
from models.typed_codes import CODE_ALPHABET, plain_code
from models.vault import SecretUnreadable, Vault, new_salt

PROOF_LASTS = timedelta(minutes=10)
"""The time after a proof of the second factor during which it is not asked for again."""
SETUP_LASTS = timedelta(minutes=30)
"""The time after a new app secret was shown during which the user can confirm it by a code."""
RECOVERY_CODES = 10
LONGEST_NAME = 60
_RECOVERY_LENGTH = 15
_GROUP = 5
_APP_DIGITS = 6
_APP_STEPS = (-1, 0, 1)


class FactorKind(StrEnum):
    """The kinds of second factors: an authenticator app, and a passkey."""

    APP = "app"
    PASSKEY = "passkey"


class SecondFactor(Base):
    """A second factor of a user: an authenticator app or a passkey.

    For an app, `secret` is its encrypted secret, and `counter` the number of the half minute (since 1970) of the last
    code that was used. For a passkey, `secret` is the public key, `credential_id` the passkey's id, and `counter` the
    device's signature counter.
    """

    __tablename__ = "second_factors"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    kind: Mapped[FactorKind] = mapped_column(enumeration(FactorKind, "kind"))
    name: Mapped[str]
    secret: Mapped[bytes]
    credential_id: Mapped[bytes | None] = mapped_column(unique=True)
    counter: Mapped[int] = mapped_column(sa.BigInteger)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]

    __table_args__ = (sa.CheckConstraint("(kind = 'passkey') = (credential_id IS NOT NULL)", name="passkey_has_id"),)


class RecoveryCode(Base):
    """A code that can be used once instead of a second factor; only a salted hash of it is stored.

    `used_at` is null until the code is used.
    """

    __tablename__ = "recovery_codes"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    salt: Mapped[str]
    code_hash: Mapped[bytes]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def has_factor(user_id: sa.SQLColumnExpression[int]) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the user with this id has a second factor."""
    # The front sees the factors of its caller only.
    return sa.func.has_factor(user_id, type_=sa.Boolean)


def factor_required_from(user_id: sa.SQLColumnExpression[int]) -> sa.ColumnElement[datetime | None]:
    """Return SQL for the time from which any of the user's accounts requires a second factor; null if none does."""
    # The front does not see every account of a person whose password it checks.
    return sa.func.factor_required_from(user_id, type_=sa.TIMESTAMP(timezone=True))


def needs_more_than_password(session: Session, user_id: int, now: datetime) -> bool:
    """Return whether a password, or a code sent by mail, is not enough to prove that somebody is this user.

    True if the user has a second factor, or if a company of the user requires one and the grace period is over.
    """
    id = sa.literal(user_id, sa.BigInteger)
    demanded = sa.func.coalesce(factor_required_from(id) <= now, sa.false())
    return bool(session.scalar(sa.select(sa.or_(has_factor(id), demanded))))


def factors_of(session: Session, user_id: int) -> Sequence[SecondFactor]:
    """Return the second factors of the user, the oldest first."""
    query = sa.select(SecondFactor).where(SecondFactor.user_id == user_id)
    return session.scalars(query.order_by(SecondFactor.created_at, SecondFactor.id)).all()


def new_app_secret() -> str:
    """Return a new random secret for an authenticator app: 160 bits as 32 characters (Base32)."""
    return pyotp.random_base32()


def seal_setup(vault: Vault, user: int, secret: str, now: datetime) -> str:
    """Encrypt a new secret of an authenticator app for the user with the id `user`, and return the encrypted text.

    The text is a hidden field of the form in which the user confirms the app by a code. `open_setup` decrypts it, for
    half an hour.
    """
    facts = {"use": "new factor", "user": user, "at": now.isoformat(), "secret": secret}
    return vault.seal(json.dumps(facts)).decode()


def open_setup(vault: Vault, user: int, sealed: str, now: datetime) -> str | None:
    """Return the app secret that `seal_setup` has encrypted in `sealed` for the user with the id `user`.

    None if `sealed` is another text, was encrypted for another user, or is older than half an hour.
    """
    try:
        facts = json.loads(vault.open(sealed.encode()))
    except (SecretUnreadable, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("use") != "new factor" or facts["user"] != user:
        return None
    return str(facts["secret"]) if now < datetime.fromisoformat(facts["at"]) + SETUP_LASTS else None


def app_address(secret: str, email: str, issuer: str) -> str:
    """Return the `otpauth://` URI that an authenticator app reads from a QR code.

    `email` is the user's address, `issuer` the name of the portal; the app shows both.
    """
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def add_app(
    session: Session, vault: Vault, user: User, name: str, secret: str, typed: str, where: Where, now: datetime
) -> bool:
    """Add an authenticator app with this secret as a second factor, but only if `typed` is its current code.

    Return whether it was added. If so, this is recorded in the audit log and the user told by mail. `name` is what the
    user calls the app, `where` the browser in which the user adds it.
    """
    step = _matching_step(secret, typed, now)
    if step is None:
        return False
    session.add(new_app(vault, user.id, name, secret, step, now))
    note_change(session, user, AuditEvent.FACTOR_ADDED, where, now, name=name)
    session.flush()
    return True


def new_app(vault: Vault, user_id: int, name: str, secret: str, counter: int, now: datetime) -> SecondFactor:
    """Return a new second factor of the user: an authenticator app, whose secret is encrypted. The caller adds it.

    `name` is what the user calls the app. `counter` is the number of the half minute (since 1970) of the last used
    code, 0 if none was used: only codes of later half minutes are valid.
    """
    id = uuid.uuid4()
    return SecondFactor(
        id=id,
        user_id=user_id,
        kind=FactorKind.APP,
        name=name,
        secret=vault.seal(_bound(id, user_id, secret)),
        counter=counter,
        created_at=now,
        last_used_at=now if counter else None,
    )


def find_factor(session: Session, user_id: int, id: uuid.UUID) -> SecondFactor:
    """Return the user's second factor with this id. Raises `NotFound` if the user has no factor with this id."""
    factor = session.get(SecondFactor, id)
    if factor is None or factor.user_id != user_id:
        raise NotFound
    return factor


def remove_factor(
    session: Session, user_id: int, id: uuid.UUID, where: Where, now: datetime, *, is_required: bool
) -> None:
    """Remove the user's second factor with this id; if it is the last one, delete the user's recovery codes, too.

    The removal is recorded in the audit log with the browser `where` in which the user asked for it, and the user told
    by mail. Locks the user's row. `is_required`: the user must have a second factor. Raises `NotFound` if the user has
    no factor with this id, and `FactorNeeded` if it is the last one and `is_required`.
    """
    # Of two removals at once, the second finds one factor less.
    user = session.get_one(User, user_id, with_for_update=True)
    factor = find_factor(session, user_id, id)
    is_last = len(factors_of(session, user_id)) == 1
    if is_last and is_required:
        raise FactorNeeded
    session.delete(factor)
    if is_last:
        session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    note_change(session, user, AuditEvent.FACTOR_REMOVED, where, now, name=factor.name)


def reset_factors(session: Session, user: User, proof: str, now: datetime, *, by_staff: int | None = None) -> int:
    """Remove all second factors and recovery codes of a user who has lost them; return how many factors there were.

    `proof` is how the carrier knows that the user has asked for it. `by_staff` is the id of the member of staff who
    asked for the reset, None on the command line. If there were any factors, the removal is recorded in the audit log
    and the user told by mail.
    """
    factors = factors_of(session, user.id)
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.execute(sa.delete(SecondFactor).where(SecondFactor.user_id == user.id))
    if factors:
        note_change(session, user, AuditEvent.FACTORS_RESET, None, now, by_staff=by_staff, proof=proof)
    return len(factors)


def renew_recovery_codes(session: Session, user: User, now: datetime, where: Where | None = None) -> list[str]:
    """Replace the user's recovery codes by ten new ones and return them; they cannot be read later.

    `where` is the browser in which the user asks for them; this is then recorded in the audit log, and the user told by
    mail. It is None if the codes are made together with the user's first factor: adding the factor was recorded and
    mailed already.
    """
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = ["".join(secrets.choice(CODE_ALPHABET) for _ in range(_RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    for code in codes:
        salt = new_salt()
        session.add(RecoveryCode(user_id=user.id, salt=salt, code_hash=_recovery_hash(salt, code), created_at=now))
    if where is not None:
        note_change(session, user, AuditEvent.RECOVERY_CODES_MADE, where, now)
    session.flush()
    return [" ".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP)) for code in codes]


def recovery_codes_left(session: Session, user_id: int) -> int:
    """Return how many recovery codes of the user are not used yet."""
    query = sa.select(sa.func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.scalar(query) or 0


def prove(session: Session, vault: Vault, user: User, typed: str, where: Where, now: datetime) -> bool:
    """Return whether `typed` is an unused code of the user's authenticator app or an unused recovery code; use it up.

    The use of a recovery code is recorded in the audit log with the browser `where` in which it was typed, and the user
    is told by mail. The use of an app's code is neither recorded nor mailed.
    """
    plain = plain_code(typed)
    if len(plain) == _APP_DIGITS:
        apps = [factor for factor in factors_of(session, user.id) if factor.kind is FactorKind.APP]
        return any(_use_app_code(session, vault, factor, plain, now) for factor in apps)
    return len(plain) == _RECOVERY_LENGTH and _use_recovery_code(session, user, plain, where, now)


def _use_app_code(session: Session, vault: Vault, factor: SecondFactor, code: str, now: datetime) -> bool:
    try:
        bound = vault.open(factor.secret)
    except SecretUnreadable:
        return False
    secret = bound.rpartition(" ")[2]
    if bound != _bound(factor.id, factor.user_id, secret):
        return False
    step = _matching_step(secret, code, now)
    if step is None:
        return False
    # Of two requests with one code, one finds the counter changed.
    use = sa.update(SecondFactor).where(SecondFactor.id == factor.id, SecondFactor.counter < step)
    used = use.values(counter=step, last_used_at=now).returning(SecondFactor.id)
    return session.scalar(used.execution_options(synchronize_session=False)) is not None


def _use_recovery_code(session: Session, user: User, code: str, where: Where, now: datetime) -> bool:
    codes = session.scalars(sa.select(RecoveryCode).where(RecoveryCode.user_id == user.id)).all()
    # All are tried, so that the duration reveals nothing.
    found = [one for one in codes if hmac.compare_digest(one.code_hash, _recovery_hash(one.salt, code))]
    if not found:
        return False
    use = sa.update(RecoveryCode).where(RecoveryCode.id == found[0].id, RecoveryCode.used_at.is_(None))
    used = use.values(used_at=now).returning(RecoveryCode.id).execution_options(synchronize_session=False)
    if session.scalar(used) is None:
        return False
    left = recovery_codes_left(session, user.id)
    note_change(session, user, AuditEvent.RECOVERY_CODE_USED, where, now, name=str(left))
    return True


def _matching_step(secret: str, typed: str, now: datetime) -> int | None:
    """Return the number of the half minute (since 1970) whose code `typed` is, for an app with this secret.

    None unless it is the code of the current half minute, of the one before or of the one after.
    """
    app, code = pyotp.TOTP(secret), plain_code(typed).encode()
    current = app.timecode(now)
    steps = (current + difference for difference in _APP_STEPS)
    return next((step for step in steps if hmac.compare_digest(app.generate_otp(step).encode(), code)), None)


def _bound(id: uuid.UUID, user_id: int, secret: str) -> str:
    return f"second factor {id} {user_id} {secret}"


def _recovery_hash(salt: str, code: str) -> bytes:
    # 74 random bits need no slow hash.
    return hashlib.sha256(f"recovery code\0{salt}\0{code}".encode()).digest()
