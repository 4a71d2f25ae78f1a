"""Orders that lack their proofs, and functions that give these, for the tests of steps."""

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
    """Return an order whose contact and connection address have not been proved; `changes` replace its fields."""
    return an_order(**{"location": ELSEWHERE, "contact": STRANGER, **changes})


def waits(pipeline: Pipeline, id: UUID) -> tuple[Actor | None, Reason | None, datetime | None]:
    """Return for whom, why and until when the request waits; all None if it does not wait."""
    request = pipeline.request(id)
    return request.waiting_for, request.reason, request.waiting_until


def code_in(text: str) -> str:
    """Return the code in the text of a mail or letter."""
    found = re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", text)
    assert found is not None
    return found[0]


def mails_to(pipeline: Pipeline, address: str) -> list[str]:
    """Return the texts of all mails to an address, without receipts, which only confirm that something has arrived."""
    return [mail.text for mail in pipeline.mailer.but_receipts if mail.recipient_address == address]


def confirm(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Enter this code to prove the e-mail address of the order `id`; return whether it was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return confirm_email(session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now)


def enter(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Enter this code to prove the connection address of the order `id`; return whether it was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return enter_letter_code(
            session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now
        )


def again(pipeline: Pipeline, id: UUID, what: str) -> None:
    """Request a new code for the order `id`; `what` is its kind: "email" or "letter"."""
    with pipeline.runtime.database.transaction() as session:
        ask_again(session, pipeline.manager, session.get_one(Request, id), what, pipeline.clock.now, PLENTY)
