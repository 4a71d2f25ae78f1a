"""Reads the audit log for tests that are not about access, whose users have signed in before."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.people.audit_log import OF_ACCESS, AuditEntry


def entries_of_deeds(session: Session) -> Sequence[AuditEntry]:
    """Return the entries of the audit log, but for those about access (`OF_ACCESS`), the oldest first."""
    query = sa.select(AuditEntry).where(AuditEntry.deed.not_in(OF_ACCESS)).order_by(AuditEntry.id)
    return session.scalars(query).all()
