"""Outgoing mails and letters: a row for each to each person, written in the transaction that decided to send it.

The row is its own queue (`models.db.work_queue`). It holds no codes and no links: `proof` names them, and they are
derived when the mail is rendered (`models.vault`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.db.batch_insert import batch_insert
from models.db.work_queue import InBulk, alone_index, due_index, lease_ends
from models.values import Locale


class Channel(StrEnum):
    """How it travels."""

    MAIL = "mail"
    LETTER = "letter"


class MessageState(StrEnum):
    """Whether it has left."""

    QUEUED = "queued"
    SENT = "sent"
    REFUSED = "refused"


class Message(InBulk, Base):
    """One mail or letter to one person about one request, or about their login; unique, so that it is never decided
    twice.

    `occasion` tells apart what is sent again on purpose: a reminder, a new code. `proof` are the words that its code
    and link are derived from. `announced` puts it into the request's timeline when it has left; whatever would tell
    an outsider something is not announced.
    """

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"))
    channel: Mapped[Channel] = mapped_column(enumeration(Channel, "channel"), default=Channel.MAIL)
    template: Mapped[str]
    occasion: Mapped[str] = mapped_column(default="")
    recipient_name: Mapped[str]
    recipient_address: Mapped[str]
    locale: Mapped[Locale] = mapped_column(sa.Text)
    facts: Mapped[dict[str, Any]]
    proof: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))
    announced: Mapped[bool] = mapped_column(default=False)
    state: Mapped[MessageState] = mapped_column(enumeration(MessageState, "state"), default=MessageState.QUEUED)
    queued_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]

    __table_args__ = (
        sa.UniqueConstraint("request_id", "template", "occasion", "recipient_address"),
        # The same where there is no request. Of its own, and not NULLS NOT DISTINCT above: that index is large.
        sa.Index(
            "uq_messages_without_request",
            "template",
            "occasion",
            "recipient_address",
            unique=True,
            postgresql_where=sa.text("request_id IS NULL"),
        ),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
        sa.CheckConstraint("request_id IS NOT NULL OR NOT announced", name="announced_in_timeline"),
        sa.CheckConstraint("channel = 'letter' OR recipient_address = lower(recipient_address)", name="address_lower"),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_has_time"),
        sa.CheckConstraint("(state = 'refused') = (refused_at IS NOT NULL)", name="refused_has_time"),
        sa.CheckConstraint("(state = 'queued') = (due_at IS NOT NULL)", name="queued_is_due"),
        lease_ends(),
        due_index("messages"),
        alone_index("messages"),
        # Few ever: what the back office has to look at.
        sa.Index("ix_messages_bulk_id", "bulk_id", postgresql_where=sa.text("bulk_id IS NOT NULL")),
        sa.Index("ix_messages_refused_at", "refused_at", postgresql_where=sa.text("refused_at IS NOT NULL")),
    )

    @property
    def key(self) -> str:
        """The same for the same message at every attempt, and no address in clear; of what is unique, so unique."""
        words = (str(self.request_id), self.template, self.occasion, self.recipient_address)
        return hashlib.sha256("/".join(words).encode()).hexdigest()[:40]

    def message_id(self, domain: str) -> str:
        """For the mail's Message-ID header (RFC 5322)."""
        return f"<{self.key}@{domain}>"

    def give_back(self) -> None:
        """End a claim under which nothing was tried: the message is due at once, before all that were queued later."""
        self.make_due(self.queued_at)

    def left(self, now: datetime) -> None:
        """It is with the mail server or the printer."""
        self.state, self.sent_at = MessageState.SENT, now
        self.rest()

    def refuse(self, now: datetime) -> None:
        """It will never leave: the address is not accepted."""
        self.state, self.refused_at = MessageState.REFUSED, now
        self.rest()


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets a mail, in which language."""

    name: str
    address: str
    locale: Locale


def queue_message(
    session: Session,
    request_id: uuid.UUID | None,
    template: str,
    to: Recipient,
    facts: dict[str, Any],
    now: datetime,
    *,
    channel: Channel = Channel.MAIL,
    occasion: str = "",
    proof: Sequence[str] | None = None,
    announced: bool = False,
    bulk_id: uuid.UUID | None = None,
) -> None:
    """Decide to send something; it leaves after the commit."""
    batch_insert(
        session,
        Message,
        request_id=request_id,
        bulk_id=bulk_id,
        channel=channel,
        template=template,
        occasion=occasion,
        recipient_name=to.name,
        recipient_address=to.address,
        locale=to.locale,
        facts={"recipient_name": to.name, **facts},
        proof=proof,
        announced=announced,
        state=MessageState.QUEUED,
        queued_at=now,
        due_at=now,
        attempts=0,
    )


def messages_of(session: Session, request_ids: Sequence[uuid.UUID]) -> list[Message]:
    """Every message of these requests, the oldest first."""
    return list(session.scalars(sa.select(Message).where(Message.request_id.in_(request_ids)).order_by(Message.id)))


def still_queued(session: Session, ids: Sequence[int], lease: uuid.UUID) -> list[Message]:
    """Lock the messages that are still claimed under this lease, in the order in which they are to be sent."""
    ours = sa.select(Message).where(Message.id.in_(ids), Message.lease == lease)
    # As they are claimed: those of a bulk come after the others.
    return list(session.scalars(ours.order_by(Message.bulk_id.is_not(None), Message.id).with_for_update()))
