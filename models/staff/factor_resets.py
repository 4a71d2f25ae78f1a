"""Removing the second factors of a person who has lost them, asked for by staff and done a day later.

The person is told at once, and stops the reset by using a second factor or recovery code meanwhile, which shows that
it is not lost. Staff can withdraw it until then. Factors of the carrier's staff are reset at the console only
(`second_factors.reset_factors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.errors import Forbidden, NotFound
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.login_changes import note_change
from models.people.logins import Login, end_logins
from models.people.rights import Principal
from models.people.second_factors import RecoveryCode, SecondFactor, factors_of, reset_factors
from models.people.users import User

RESET_AFTER = timedelta(days=1)
"""The time between the question and the reset, in which the person can read the mail and stop it."""


_USES = (
    AuditEvent.FACTOR_ADDED,
    AuditEvent.FACTOR_REMOVED,
    AuditEvent.RECOVERY_CODES_MADE,
    AuditEvent.RECOVERY_CODE_USED,
)


class FactorReset(Base):
    """A reset of a person's second factors that waits for its time; `proof` says how staff know the person.

    The row is deleted when the reset is done, stopped or withdrawn: the audit log keeps what happened.
    """

    __tablename__ = "factor_resets"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True, autoincrement=False)
    asked_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    proof: Mapped[str]
    asked_at: Mapped[datetime]

    @property
    def due_at(self) -> datetime:
        """Return when the factors are removed, unless one of them is used before."""
        return self.asked_at + RESET_AFTER


def ask_for_factor_reset(session: Session, staff: Principal, user: User, proof: str, now: datetime) -> FactorReset:
    """Schedule the removal of the user's second factors and recovery codes in a day, and tell the user by mail at once.

    Using a factor before then stops it. `proof` is how the carrier knows that it is the user who asks; it stands in the
    log of each of the user's accounts, with the name of the member of staff. Safe to run twice: a reset that waits
    already stays as it is, and nobody is told again. Raises `Forbidden` unless a member of staff asks, without an API
    token, for a user who is not staff, and `NotFound` if the user has no second factor.
    """
    if not staff.is_staff or staff.token_id is not None or user.is_staff:
        raise Forbidden
    if not factors_of(session, user.id):
        raise NotFound
    asked = {"user_id": user.id, "asked_by": staff.user_id, "proof": proof, "asked_at": now}
    new = postgresql.insert(FactorReset).values(asked).on_conflict_do_nothing()
    is_new = session.scalar(new.returning(FactorReset.user_id)) is not None
    reset = session.get_one(FactorReset, user.id)
    if is_new:
        facts = {"proof": proof, "until": reset.due_at.isoformat()}
        note_change(session, user, AuditEvent.FACTOR_RESET_ASKED, None, now, by_staff=staff.user_id, **facts)
    return reset


def withdraw_factor_reset(session: Session, staff: Principal, user: User, now: datetime) -> None:
    """Withdraw the reset of the user's second factors that waits, log it, and tell the user by mail.

    Any member of staff may do this, not only the one who asked for the reset. Raises `Forbidden` unless `staff` is one
    of the carrier's staff, and `NotFound` if no reset waits any more.
    """
    if not staff.is_staff or staff.token_id is not None:
        raise Forbidden
    # As the job does, which would otherwise remove the factors meanwhile.
    session.execute(sa.select(User.id).where(User.id == user.id).with_for_update())
    gone = sa.delete(FactorReset).where(FactorReset.user_id == user.id).returning(FactorReset.user_id)
    if session.scalar(gone) is None:
        raise NotFound
    note_change(session, user, AuditEvent.FACTOR_RESET_WITHDRAWN, None, now, by_staff=staff.user_id)


def open_resets(session: Session) -> Sequence[tuple[FactorReset, User]]:
    """Lock the people whose reset is neither done nor stopped; return these resets, due or not, each with its person.

    A person whom another transaction has locked is left out. Every deletion of a reset, also an erasure, locks the
    person first.
    """
    query = sa.select(FactorReset, User).join(User, User.id == FactorReset.user_id).order_by(FactorReset.user_id)
    return [(reset, user) for reset, user in session.execute(query.with_for_update(skip_locked=True, of=User))]


def end_reset(session: Session, reset: FactorReset, user: User, now: datetime) -> str:
    """Do the reset if its time has come, or delete it if it is void. Return `reset`, `stopped` (void) or `waiting`.

    It is void if the user has used or changed a second factor since it was asked for, has none left, or is staff, or if
    the person who asked for it is staff no more or shut out. The user must be locked. When it is done, the user is
    signed out everywhere and told by mail.
    """
    asked_by = session.get_one(User, reset.asked_by)
    may_ask = asked_by.is_staff and asked_by.disabled_at is None
    is_void = user.is_staff or not may_ask or not factors_of(session, user.id)
    if is_void or _used_since(session, user.id, reset.asked_at):
        session.delete(reset)
        return "stopped"
    if now < reset.due_at:
        return "waiting"
    reset_factors(session, user, reset.proof, now, by_staff=reset.asked_by)
    end_logins(session, user.id)
    session.delete(reset)
    return "reset"


def _used_since(session: Session, user_id: int, since: datetime) -> bool:
    used = SecondFactor.last_used_at > since, SecondFactor.created_at > since
    factor = sa.exists().where(SecondFactor.user_id == user_id, sa.or_(*used))
    code = sa.exists().where(RecoveryCode.user_id == user_id, RecoveryCode.used_at > since)
    # Factors and codes can be gone again, but what the user has done with them stays in the log.
    done = sa.exists().where(
        AuditEntry.user_id == user_id, ~AuditEntry.by_staff, AuditEntry.deed.in_(_USES), AuditEntry.at > since
    )
    signed_in = sa.exists().where(Login.user_id == user_id, Login.factor_at > since)
    return bool(session.scalar(sa.select(factor | code | done | signed_in)))
