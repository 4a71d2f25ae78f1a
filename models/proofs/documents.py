"""Uploaded documents that are to prove a connection address or a need for numbers; staff decide on each."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.requests.requests import Request
from models.states import RefusalReason


class ProofDocument(Base):
    """An uploaded document that is to prove an address or a need for numbers.

    Its table `address_documents` was named before there were certificates of need.

    An address is proved by an extract from the commercial register, for example. For a request for numbers, it is a
    certificate of need (`models.proofs.certificates`). `numbers` is then how many
    numbers the trunk would have; the document has to show that they are needed. For a proof of an address, `numbers` is
    None.

    `released` is whether the back office has accepted the document; None until the back office decides. `refusal` is
    the reason for refusing it; None if it was not refused, and in rows that are older than this column. `refusal_note`
    is a note of staff for the customer.
    """

    __tablename__ = "address_documents"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"))
    name: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes] = mapped_column(deferred=True)
    uploaded_at: Mapped[datetime]
    uploaded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    released: Mapped[bool | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    refusal: Mapped[RefusalReason | None] = mapped_column(enumeration(RefusalReason, "refusal"))
    refusal_note: Mapped[str | None]
    numbers: Mapped[int | None]

    __table_args__ = (
        sa.CheckConstraint("released IS FALSE OR refusal IS NULL", name="only_refused_has_reason"),
        sa.CheckConstraint("media_type IN ('application/pdf', 'image/png', 'image/jpeg')", name="media_type"),
        sa.CheckConstraint("(released IS NULL) = (decided_at IS NULL)", name="decision_has_time"),
        sa.CheckConstraint("(released IS NULL) = (decided_by IS NULL)", name="decision_has_author"),
        sa.Index("ix_address_documents_request_id", "request_id"),
        sa.Index("ix_address_documents_certificates", "request_id", postgresql_where=sa.text("numbers IS NOT NULL")),
        sa.Index("uq_address_documents_open", "request_id", unique=True, postgresql_where=sa.text("released IS NULL")),
    )


def latest_document(session: Session, request: Request) -> ProofDocument | None:
    """Return the newest document uploaded for the request, whether or not it was decided on; None if there is none.

    The document's content is loaded only when the attribute is accessed.
    """
    of_request = sa.select(ProofDocument).where(ProofDocument.request_id == request.id)
    return session.scalar(of_request.order_by(ProofDocument.id.desc()).limit(1))
