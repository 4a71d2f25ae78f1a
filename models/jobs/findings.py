"""Findings: the discrepancies that scheduled jobs have found. Their texts, by kind, are in `tasks.wording.findings`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.jobs.jobs import JobRun


class Finding(Base):
    """A discrepancy that a run of a scheduled job found, such as a difference between the registrar and the portal.

    `subject` is a customer or phone number, a SIP user or a request's id. `kind` selects the text that describes the
    discrepancy, and `facts` are the variables of that text. `repaired`: the run repaired the discrepancy or started its
    repair; for a dry run, whether it would have done so.
    """

    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey(JobRun.id, ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    subject: Mapped[str]
    facts: Mapped[dict[str, Any]]
    repaired: Mapped[bool]


def findings_of(session: Session, run: JobRun, *, limit: int) -> Sequence[Finding]:
    """Return up to `limit` findings of a run: first the findings that the run could not repair, then the others."""
    found = sa.select(Finding).where(Finding.run_id == run.id).order_by(Finding.repaired, Finding.id).limit(limit)
    return session.scalars(found).all()
