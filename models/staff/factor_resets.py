"""Removal of the second factors of a user who has lost them: requested by staff, carried out a day later.

The user is told by mail at once, and stops the reset by using a second factor or a recovery code, because that shows
that it is not lost. Staff can withdraw the reset before it is carried out. Factors of the carrier's staff can be reset
only on the command line (`second_factors.reset_factors`).
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
from models.people.login_sessions import Login, end_logins
from models.people.rights import Principal
from models.people.second_factors import RecoveryCode, SecondFactor, factors_of, reset_factors
from models.people.users import User

RESET_AFTER = timedelta(days=1)
"""The time between the request for a reset and the reset, in which the user can read the mail and stop the reset."""


_USES = (
    AuditEvent.FACTOR_ADDED,
    AuditEvent.FACTOR_REMOVED,
    AuditEvent.RECOVERY_CODES_MADE,
    AuditEvent.RECOVERY_CODE_USED,
)


class FactorReset(Base):
    """A scheduled reset of a user's second factors; `proof` says how staff know that the user has asked for it.

    The row is deleted when the reset is carried out, stopped or withdrawn; the audit log keeps what happened.
    """

    __tablename__ = "factor_resets"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True, autoincrement=False)
    asked_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    proof: Mapped[str]
    asked_at: Mapped[datetime]

    @property
    def due_at(self) -> datetime:
        """Return the time at which the factors are removed, unless one of them is used before."""
        return self.asked_at + RESET_AFTER


def ask_for_factor_reset(session: Session, staff: Principal, user: User, proof: str, now: datetime) -> FactorReset:
    """Schedule the removal of the user's second factors and recovery codes in a day; tell the user by mail at once.

    Returns the reset. Using a factor before then stops it. `proof` says how the carrier knows that the user has asked
    for it; the audit log of each of the user's accounts stores it, with the name of the member of staff. Safe to run
    twice: a reset that is already scheduled stays as it is, and no further mail is sent.

    Raises `Forbidden` unless `staff` is one of the carrier's staff and acts without an API token, or if the user is
    staff. Raises `NotFound` if the user has no second factor.
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
    """Withdraw the scheduled reset of the user's second factors, record this in the audit log, and mail the user.

    Any member of staff may do this, not only the one who requested the reset. Raises `Forbidden` unless `staff` is one
    of the carrier's staff and acts without an API token, and `NotFound` if no reset is scheduled any more.
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
    """Lock the users for whom a reset of second factors is scheduled; return the resets, each with its user.

    Resets whose time has not come yet are included. Users whom another transaction has locked are left out. Every
    transaction that deletes a reset must lock the user first.
    """
    query = sa.select(FactorReset, User).join(User, User.id == FactorReset.user_id).order_by(FactorReset.user_id)
    return [(reset, user) for reset, user in session.execute(query.with_for_update(skip_locked=True, of=User))]


def end_reset(session: Session, reset: FactorReset, user: User, now: datetime) -> str:
    """Carry out a reset of second factors if its time has come, or delete it if it is void; return what was done.

    The result is `reset`, `stopped` (it was void) or `waiting`. A reset is void if the user has used or changed a
    second factor since it was requested, has none left, or is staff. It is also void if the person who requested it is
    no longer staff or is disabled. The caller must have locked the user. When the reset is carried out, the user is
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
