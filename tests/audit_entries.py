"""Reads the audit log without its entries about access, such as sign-ins, for tests that check other entries."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.people.audit_log import OF_ACCESS, AuditEntry


def entries_of_deeds(session: Session) -> Sequence[AuditEntry]:
    """Return the entries of the audit log except those about access (`OF_ACCESS`), the oldest first."""
    query = sa.select(AuditEntry).where(AuditEntry.deed.not_in(OF_ACCESS)).order_by(AuditEntry.id)
    return session.scalars(query).all()
