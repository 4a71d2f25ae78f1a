"""A daily limit for actions of one person that cause mails to other people, or fill a log that is kept for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import TooEarly
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Principal

MOST_A_DAY = 10
"""How often a person may perform one kind of such action on one account within 24 hours."""
_DAY = timedelta(days=1)


def ensure_not_repeated(
    session: Session,
    person: Principal,
    account: Account,
    deed: AuditEvent,
    now: datetime,
    most: int = MOST_A_DAY,
) -> None:
    """Raise `TooEarly` if the person has done `deed` to the account `most` times within 24 hours.

    Otherwise a person, or an API token, could have mails sent to the people of another account without end, by planning
    something and taking it back in turn. The actions are counted by the person's entries in the audit log. The caller
    must have locked the account, and must record the action in the audit log in the same transaction.
    """
    done = (
        sa.select(AuditEntry.at)
        .where(
            AuditEntry.account_id == account.id,
            AuditEntry.user_id == person.user_id,
            AuditEntry.deed == deed,
            AuditEntry.at > now - _DAY,
        )
        .order_by(AuditEntry.at.desc())
        .offset(most - 1)
    )
    first = session.scalar(done.limit(1))
    if first is not None:
        raise TooEarly(first + _DAY)
