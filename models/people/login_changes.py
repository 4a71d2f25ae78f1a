"""Audit entries and mails about changes of a user's login, and mails about sign-ins in unknown browsers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.users import User, roles_of


@dataclass(frozen=True, slots=True)
class Where:
    """The browser in which a person acts: its name, empty if not known, and its IP address."""

    browser: str
    address: str


def note_change(
    session: Session,
    user: User,
    deed: AuditEvent,
    where: Where | None,
    now: datetime,
    *,
    by_staff: int | None = None,
    **facts: str | int,
) -> None:
    """Record a change of the user's login in the audit log of each of the user's accounts, and mail the user about it.

    `deed` is the kind of change. For a user without an account, one entry is added that belongs to no account. `where`
    is the browser in which the user made the change. It is None if the carrier made it: the member of staff with the id
    `by_staff` or, if that is None, somebody on the command line. `facts` are the details for the texts of entry and
    mail.
    """
    accounts: list[int | None] = [*sorted(roles_of(session, user.id))]
    for account_id in accounts or [None]:
        session.add(
            AuditEntry(
                account_id=account_id,
                user_id=user.id if where is not None else by_staff,
                by_staff=where is None,
                deed=deed,
                facts={**facts, "user_id": user.id},
                at=now,
            )
        )
    told = {name: str(facts.get(name, "")) for name in ("name", "until")}
    if deed in (AuditEvent.LOGIN_DISABLED, AuditEvent.LOGIN_ENABLED):
        # A new password changes nothing about it.
        told["path"] = "/anmelden"
    _tell(session, user, "login_changed", where, now, what=str(deed), **told)


def tell_of_sign_in(session: Session, user: User, where: Where, now: datetime) -> None:
    """Queue a mail that tells the user of a sign-in with the user's login in the unknown browser `where`."""
    _tell(session, user, "new_sign_in", where, now)


def _tell(session: Session, user: User, template: str, where: Where | None, now: datetime, **facts: str) -> None:
    told = {
        "email": user.email,
        "at": now.isoformat(),
        "browser": where.browser if where is not None else "",
        "address": where.address if where is not None else "",
        "path": "/passwort",
        **facts,
    }
    to = Recipient(user.name, user.email, user.locale)
    # Each time is told, also the second in one moment.
    queue_message(session, None, template, to, told, now, occasion=secrets.token_hex(8))
