"""A plain application to compare the portal with: Flask, SQLAlchemy and a chain of four Celery tasks for an order.

It has no proofs, locks, idempotency, retries or limits. It sends the mails, with the PDF, that the portal sends for an
order: they come from a pickled list of `Receipt`, in the file that the environment variable `FACTS` names.
"""

from __future__ import annotations

import os
import pickle
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from celery import Celery, chain
from flask import Flask, Response, request
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from models.values import Locale
from tasks.outbox.render import render
from tasks.outbox.what_was_ordered import PlacedOrder
from tasks.ports import Mail
from tasks.settings import Carrier
from workers.gateways.smtp import build_message

QUEUE = "plain"
FACTS = "PLAIN_FACTS"
"""The name of the environment variable with the path of the pickled list of `Receipt`."""
_CARRIER, _SENDER = Carrier(), Address("Portal", addr_spec="portal@example.com")

app = Celery("plain", broker=os.environ.get("REDIS_URL"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=8, task_default_queue=QUEUE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mail about an order: its template, language and facts (the values in its text).

    `printed` is the order that the mail's PDF shows; None if the mail has no PDF.
    """

    template: str
    locale: Locale
    facts: Mapping[str, Any]
    printed: PlacedOrder | None


class PlainBase(DeclarativeBase):
    """The tables of the plain application."""


class PlainOrder(PlainBase):
    """An order: the JSON body of the call, and its state, such as `accepted` or `verified`."""

    __tablename__ = "plain_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    state: Mapped[str] = mapped_column(default="accepted", index=True)


class PlainTrunk(PlainBase):
    """The trunk of an order: its SIP user and its first number."""

    __tablename__ = "plain_trunks"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("plain_orders.id"))
    sip_user: Mapped[str]
    number: Mapped[str]


@cache
def _sessions() -> sessionmaker[Session]:
    return sessionmaker(sa.create_engine(os.environ["DATABASE_URL"]), expire_on_commit=False)


@cache
def _receipts() -> Sequence[Receipt]:
    found: list[Receipt] = pickle.loads(Path(os.environ[FACTS]).read_bytes())
    return found


@cache
def _mail_server() -> smtplib.SMTP:
    where = urlsplit(os.environ["SMTP_URL"])
    return smtplib.SMTP(where.hostname or "", where.port or 25)


@app.task(name="plain.verify")
def verify(id: int) -> int:
    """Set the order's state to verified; the first task of the chain."""
    with _sessions().begin() as session:
        session.get_one(PlainOrder, id).state = "verified"
    return id


@app.task(name="plain.provision")
def provision(id: int) -> int:
    """Give the order a trunk with one number; the second task of the chain."""
    with _sessions().begin() as session:
        session.add(PlainTrunk(order_id=id, sip_user=f"t{id}", number=f"+4930{id:08}"))
        session.get_one(PlainOrder, id).state = "provisioned"
    return id


@app.task(name="plain.attach")
def attach(id: int) -> int:
    """Set the order's state to attached; the third task of the chain."""
    with _sessions().begin() as session:
        session.get_one(PlainOrder, id).state = "attached"
    return id


@app.task(name="plain.confirm")
def confirm(id: int) -> None:
    """Send the mails about the order and set its state to confirmed; the last task of the chain."""
    for place, receipt in enumerate(_receipts()):
        rendered = render(receipt.template, receipt.locale, receipt.facts, _CARRIER)
        attachments = () if receipt.printed is None else (receipt.printed.pdf(str(receipt.facts["link"]), _CARRIER),)
        mail = Mail(
            message_id=f"<{id:032}.{place}@plain.example>",
            recipient_name="Hanna Palmer",
            recipient_address="hanna.palmer@example.com",
            locale=receipt.locale,
            subject=rendered.subject,
            text=rendered.text,
            html=rendered.html,
            attachments=attachments,
        )
        _mail_server().send_message(build_message(mail, _SENDER))
    with _sessions().begin() as session:
        session.get_one(PlainOrder, id).state = "confirmed"


def create_app() -> Flask:
    """Return the Flask application that accepts orders.

    POST /orders inserts an order, sends the chain of tasks and answers 202; a body without all fields gets 422.
    """
    front = Flask("plain")

    @front.post("/orders")
    def order() -> tuple[Response, int]:
        body = request.get_json()
        if not {"product", "channels", "location", "contact", "numbers"} <= body.keys():
            return Response(status=422), 422
        with _sessions().begin() as session:
            placed = PlainOrder(body=body)
            session.add(placed)
        chain(verify.s(placed.id), provision.s(), attach.s(), confirm.s()).apply_async()
        return Response(f'{{"id": {placed.id}}}', mimetype="application/json"), 202

    return front
