"""confirm: tell the people concerned, each once, in their language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from models.catalogue import price_list
from models.messages import Message, MessageState, Recipient, message_id
from models.people import administrators_of
from models.requests import Request
from models.states import Kind
from models.values import Locale
from tasks.mail import render
from tasks.metrics import MAILS
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, Mail, Mailer, Ports
from tasks.steps import Outcome, Work

log = structlog.get_logger()


Key = tuple[str, str]
"""Template and address: unique within a request."""


@dataclass(slots=True)
class SendMails:
    """The request's mails that have not left yet. A refused address ends that mail, not the request."""

    mails: dict[Key, Mail]
    states: dict[Key, MessageState] = field(default_factory=dict)

    @staticmethod
    def make(calls: Sequence[SendMails], ports: Ports) -> list[GatewayError | None]:
        """Send each; the Message-ID is the same at every attempt. Once nobody answered, no more are tried."""
        failure: GatewayUnavailable | None = None
        failures: list[GatewayError | None] = []
        for call in calls:
            failure = failure or call._send(ports.mailer)
            failures.append(failure)
        return failures

    def _send(self, mailer: Mailer) -> GatewayUnavailable | None:
        for key, mail in self.mails.items():
            try:
                mailer.send(mail)
            except GatewayRefused:
                self.states[key] = MessageState.REFUSED
            except GatewayUnavailable as error:
                return error
            else:
                self.states[key] = MessageState.SENT
        return None

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Remember which have left; the others stay queued for the next attempt."""
        for message in request.messages:
            state = self.states.get(_key(message))
            if state is None:
                continue
            message.state = state
            message.sent_at = work.now if state is MessageState.SENT else None
            work.once_true(MAILS.labels(message.template, state).inc)
            work.once_true(
                log.info, "mail.left", request=str(request.id), template=message.template, outcome=str(state)
            )
            if state is MessageState.REFUSED:
                request.note(work.now, "mail_refused")
        if done:
            request.note(work.now, "confirmed")


def confirm(work: Work, request: Request) -> Outcome:
    """Safe to run twice: who gets what is decided once, and what has left is not sent again."""
    if not request.messages:
        request.messages = list(_messages(work, request))
    waiting = [message for message in request.messages if message.state is MessageState.QUEUED]
    return SendMails({_key(message): _rendered(work, request, message) for message in waiting}) if waiting else None


def _messages(work: Work, request: Request) -> Iterator[Message]:
    told: set[Key] = set()
    for template, recipient in _recipients(work, request):
        key = (template, recipient.address)
        if key in told:
            continue
        told.add(key)
        yield Message(
            template=template,
            recipient_name=recipient.name,
            recipient_address=recipient.address,
            locale=recipient.locale,
            facts=_facts(work, request, recipient),
            state=MessageState.QUEUED,
            queued_at=work.now,
        )


def _recipients(work: Work, request: Request) -> Iterator[tuple[str, Recipient]]:
    assert request.account is not None
    requester = request.requester
    to_requester = Recipient(requester.name, requester.email, requester.locale)
    if request.kind is Kind.ORDER:
        yield "order_completed", to_requester
        contact = request.account
        yield (
            "order_completed",
            Recipient(contact.contact_name, contact.contact_email.lower(), request.locale),
        )
        return
    yield "link_completed", to_requester
    for person in administrators_of(work.session, request.account.id):
        # Somebody who administers both has asked for it and is told as the requester.
        if person.id != requester.id:
            yield "link_completed_owner", Recipient(person.name, person.email, person.locale)


def _facts(work: Work, request: Request, recipient: Recipient) -> dict[str, Any]:
    assert request.account is not None
    facts: dict[str, Any] = {
        "recipient_name": recipient.name,
        "customer_number": request.account.customer_number,
        "main_customer_number": request.main.customer_number,
        "portal_url": f"{work.runtime.base_url}/standortverwaltung",
    }
    if request.kind is Kind.ORDER:
        return facts | _order_facts(work, request, recipient.locale)
    return facts | {
        "account_name": request.account.name,
        "main_account_name": request.main.name,
        "requester_name": request.requester.name,
    }


def _order_facts(work: Work, request: Request, locale: Locale) -> dict[str, Any]:
    account, trunk = request.account, request.trunk
    assert account is not None and trunk is not None and request.product_key is not None
    return {
        "product_name": price_list(work.session)[request.product_key].name(locale),
        "channels": trunk.channels,
        "numbers": [block.display for block in trunk.blocks],
        "location_name": account.name,
        "street": account.street,
        "postal_code": account.postal_code,
        "city": account.city,
        "sip_user": trunk.sip_user,
        "sip_domain": trunk.domain,
    }


def _key(message: Message) -> Key:
    return message.template, message.recipient_address


def _rendered(work: Work, request: Request, message: Message) -> Mail:
    rendered = render(message.template, message.locale, message.facts)
    return Mail(
        message_id=message_id(request.id, message.template, message.recipient_address, work.runtime.mail_domain),
        recipient_name=message.recipient_name,
        recipient_address=message.recipient_address,
        locale=message.locale,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
    )
