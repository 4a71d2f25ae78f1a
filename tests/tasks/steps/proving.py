"""Orders that nobody has proved yet, and giving their proofs, in tests of steps."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

from models.orders.orders import Contact, Location, OrderDraft
from models.proofs.order_codes import confirm_email, enter_letter_code
from models.proofs.replacement_codes import ask_again
from models.requests.requests import Request
from models.states import Actor, Reason
from tests.factories import PLENTY, an_order
from tests.tasks.conftest import Pipeline

DAY = timedelta(days=1)
ELSEWHERE = Location("Filiale Mitte", "Torstr. 1", "10119", "Berlin")
STRANGER = Contact("Nele Neu", "nele@example.com", None)


def fresh(**changes: object) -> OrderDraft:
    """Return an order for an address and a contact that were never proved; `changes` replace its fields."""
    return an_order(**{"location": ELSEWHERE, "contact": STRANGER, **changes})


def waits(pipeline: Pipeline, id: UUID) -> tuple[Actor | None, Reason | None, datetime | None]:
    """Return for whom, why and until when a request waits; each None if it does not wait."""
    request = pipeline.request(id)
    return request.waiting_for, request.reason, request.waiting_until


def code_in(text: str) -> str:
    """Return the code in the text of a mail or letter."""
    found = re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", text)
    assert found is not None
    return found[0]


def mails_to(pipeline: Pipeline, address: str) -> list[str]:
    """Return the texts of all mails to an address, except receipts."""
    return [mail.text for mail in pipeline.mailer.but_receipts if mail.recipient_address == address]


def confirm(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Confirm the e-mail address with a code. Return whether the code was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return confirm_email(session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now)


def enter(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Confirm the connection address with the letter's code. Return whether the code was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return enter_letter_code(
            session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now
        )


def again(pipeline: Pipeline, id: UUID, what: str) -> None:
    """Request a new code of the kind `what`: "email" or "letter"."""
    with pipeline.runtime.database.transaction() as session:
        ask_again(session, session.get_one(Request, id), what, pipeline.clock.now, PLENTY)
