"""Outgoing mails and letters: one row for each message and recipient, inserted in the transaction that causes it.

The table is its own work queue (`models.db.work_queue`). A row has no codes and no links: when the message is rendered,
both are derived from a secret key and the words in the row's `proof` (`models.vault`).
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
from models.db.trace_context import current_traceparent
from models.db.work_queue import BulkQueueRow, WorkKind, alone_index, due_index, lease_ends
from models.values import Locale


class Channel(StrEnum):
    """The channel of a message: e-mail or postal letter."""

    MAIL = "mail"
    LETTER = "letter"


class MessageState(StrEnum):
    """The delivery state of a message: queued, sent (handed over), or refused because the address is not accepted."""

    QUEUED = "queued"
    SENT = "sent"
    REFUSED = "refused"


class Message(BulkQueueRow, Base):
    """One mail or letter to one person: about one request, or about a login, an invitation or a whole bulk file.

    `request_id` is null if the message is about no single request. `template` names the message's text, `facts` are the
    variables of the text. `occasion` distinguishes messages that are sent again on purpose: a reminder, a new code.
    Request, template, occasion and recipient address are unique together, so that no message is queued twice. `proof`
    holds the words from which the code and the link in the message are derived; null if it has none. `announced`: the
    request's timeline shows the message once it was sent; a message that would reveal something to an outsider is not
    announced.
    """

    __tablename__ = "messages"
    WORK = WorkKind.MESSAGES
    OWNER = "coalesce((SELECT main_id FROM requests WHERE requests.id = messages.request_id), 0)"

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
    traceparent: Mapped[str | None]
    """The trace context of the work that queued the message; None if that work was not traced."""
    queued_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]

    __table_args__ = (
        sa.UniqueConstraint("request_id", "template", "occasion", "recipient_address"),
        # Uniqueness of messages without a request. A separate index instead of NULLS NOT DISTINCT in the constraint
        # above, because that index is large.
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
        sa.Index("ix_messages_bulk_id", "bulk_id", postgresql_where=sa.text("bulk_id IS NOT NULL")),
        # Refused messages, which the back office has to check, are always few.
        sa.Index("ix_messages_refused_at", "refused_at", postgresql_where=sa.text("refused_at IS NOT NULL")),
    )

    @property
    def key(self) -> str:
        """Return the message's unique key: 40 hex digits of a hash, the same at every attempt to send the message.

        The key is derived from request, template, occasion and recipient address, and does not reveal the address.
        """
        words = (str(self.request_id), self.template, self.occasion, self.recipient_address)
        return hashlib.sha256("/".join(words).encode()).hexdigest()[:40]

    def message_id(self, domain: str) -> str:
        """Return the value of the mail's Message-ID header (RFC 5322), with the given domain."""
        return f"<{self.key}@{domain}>"

    def give_back(self) -> None:
        """End a worker's claim on the message without an attempt to send it.

        The message is due again from the time at which it was queued. So any worker may claim it, before messages that
        were queued later.
        """
        self.make_due(self.queued_at)

    def refuse(self, now: datetime) -> None:
        """Mark the message as refused, because its address is not accepted; it leaves the work queue for good."""
        self.state, self.refused_at = MessageState.REFUSED, now
        self.rest()


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a message: name, e-mail or postal address, and language."""

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
    hinted: bool = True,
) -> None:
    """Queue a message to `to`, by mail or as a letter (`channel`); a worker sends it after the commit.

    `request_id` is None for a message about a login, an invitation or a whole bulk file. `template` names the text and
    `facts` are its variables; the recipient's name is added. `occasion` distinguishes messages that repeat a template
    on purpose, such as a reminder: request, template, occasion and address must be unique together, or the flush raises
    `IntegrityError`. `proof` are the words from which the message's code and link are derived; None for a message
    without them. `announced`: the request's timeline shows the message once it was sent.

    `bulk_id` is the bulk file that the request comes from; such messages are sent after all others. `hinted`: a Celery
    message after the commit tells the workers that messages are due; without it they find this message after the next
    such message, or by the regular search for due rows some seconds later. The row is inserted at the session's next
    flush or at the commit.
    """
    batch_insert(
        session,
        Message,
        hinted,
        request_id=request_id,
        bulk_id=bulk_id,
        channel=channel,
        template=template,
        occasion=occasion,
        recipient_name=to.name,
        recipient_address=to.address,
        locale=to.locale,
        facts={**facts, "recipient_name": to.name},
        proof=proof,
        announced=announced,
        state=MessageState.QUEUED,
        traceparent=current_traceparent(),
        queued_at=now,
        due_at=now,
        attempts=0,
    )


def was_queued(session: Session, template: str, occasion: str, to: Recipient) -> bool:
    """Return whether a message with this template, occasion and recipient address was ever queued, sent or not.

    Only messages about no single request count. `occasion` distinguishes messages that repeat a template on purpose.
    """
    same = Message.template == template, Message.occasion == occasion, Message.recipient_address == to.address
    return session.scalar(sa.select(sa.exists().where(Message.request_id.is_(None), *same))) or False


def messages_of(session: Session, request_ids: Sequence[uuid.UUID]) -> list[Message]:
    """Return every message about the requests with these ids, in the order in which the messages were queued."""
    return list(session.scalars(sa.select(Message).where(Message.request_id.in_(request_ids)).order_by(Message.id)))


def still_claimed(session: Session, ids: Sequence[int], lease: uuid.UUID) -> list[Message]:
    """Lock and return the messages among `ids` that the claim `lease` still holds, in the order of `ids`.

    A claim reserves messages for one worker. Skips messages that another transaction has locked.
    """
    return _locked(session, ids, Message.lease == lease)


def still_queued(session: Session, ids: Sequence[int]) -> list[Message]:
    """Lock and return the messages among `ids` that are neither sent nor refused, in the order of `ids`.

    Includes messages that any worker has claimed. Skips messages that another transaction has locked.
    """
    return _locked(session, ids, Message.state == MessageState.QUEUED)


def mark_sent(session: Session, ids: Sequence[int], now: datetime) -> set[int]:
    """Mark messages as sent (handed over to mail server or printer), and take them out of the work queue.

    Return the ids of the messages that were marked. Messages that are already sent or refused, or that another
    transaction has locked, are left as they are. It does not matter whether a worker has claimed a message.
    """
    return set(session.scalars(_MARK_SENT, {"ids": ids, "now": now}))


def queued_ids(session: Session, ids: Sequence[int]) -> set[int]:
    """Return the ids among `ids` whose messages are neither sent nor refused, locked messages included."""
    return set(session.scalars(sa.select(Message.id).where(_QUEUED), {"ids": ids}))


_QUEUED = (Message.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger)))) & (
    Message.state == MessageState.QUEUED
)
# Executed for every few mails: building the statement takes longer than running it.
_MARK_SENT = (
    sa.update(Message)
    .where(Message.id.in_(sa.select(Message.id).where(_QUEUED).with_for_update(skip_locked=True)))
    .values(
        state=MessageState.SENT,
        sent_at=sa.bindparam("now", type_=sa.TIMESTAMP(timezone=True)),
        # As the method `rest` does.
        due_at=None,
        lease=None,
    )
    .returning(Message.id)
    .execution_options(synchronize_session=False)
)


def _locked(session: Session, ids: Sequence[int], which: sa.ColumnElement[bool]) -> list[Message]:
    found = sa.select(Message).where(Message.id.in_(ids), which).with_for_update(skip_locked=True)
    places = {id: place for place, id in enumerate(ids)}
    return sorted(session.scalars(found), key=lambda message: places[message.id])
