"""Outgoing mail: a row for each mail to each person, written in the transaction that decided to send it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, enumeration
from models.values import Locale


class MessageState(StrEnum):
    """Whether a mail has left."""

    QUEUED = "queued"
    SENT = "sent"
    REFUSED = "refused"


class Message(Base):
    """One mail to one person about one request; unique, so that it is never decided twice."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"))
    template: Mapped[str]
    recipient_name: Mapped[str]
    recipient_address: Mapped[str]
    locale: Mapped[Locale] = mapped_column(sa.Text)
    facts: Mapped[dict[str, Any]]
    state: Mapped[MessageState] = mapped_column(enumeration(MessageState, "state"), default=MessageState.QUEUED)
    queued_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]

    __table_args__ = (
        sa.UniqueConstraint("request_id", "template", "recipient_address"),
        sa.CheckConstraint("recipient_address = lower(recipient_address)", name="address_lower"),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_has_time"),
        sa.Index("ix_messages_queued", "queued_at", postgresql_where=sa.text("state = 'queued'")),
    )


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets a mail, in which language."""

    name: str
    address: str
    locale: Locale


def message_id(request_id: uuid.UUID, template: str, address: str, domain: str) -> str:
    """The same for the same mail at every attempt (RFC 5322), and no address in clear."""
    digest = hashlib.sha256(f"{request_id}/{template}/{address.lower()}".encode()).hexdigest()
    return f"<{digest[:40]}@{domain}>"


def messages_of(session: Session, request_ids: Sequence[uuid.UUID]) -> list[Message]:
    """Every mail of these requests, the oldest first."""
    return list(session.scalars(sa.select(Message).where(Message.request_id.in_(request_ids)).order_by(Message.id)))
