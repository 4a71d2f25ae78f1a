"""Do in the demo what people would do: use the portal's pages with the links and codes from mails and letters."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

import httpx
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.calendar_days import berlin_day
from models.db.session import Database
from models.people.users import User, principal_of
from models.proofs.document_refusals import Refusal
from models.proofs.proofs import Consent
from models.requests.requests import Request
from models.staff.request_actions import decide_on_document
from models.states import RefusalReason
from workers.demo.api import PortalApi, View
from workers.demo.cast import BACK_OFFICE, PASSWORD, Person, Pool
from workers.demo.mailbox import Mailbox, link_in
from workers.demo.number_pools import refill, stock
from workers.demo.visitor import Visitor, code_on

EXTRACT = b"%PDF-1.4\n% Handelsregisterauszug HRB 12345\n%%EOF\n"


@dataclass(frozen=True, slots=True)
class People:
    """The simulated people of the demo. Most methods do one thing and return a sentence that says what was done.

    The argument `view` of a method is the request concerned, as the API shows it. The methods raise `UnexpectedAnswer`
    if the portal's answer is an error, or a mail or letter does not arrive in time. `transport` replaces the network,
    for tests; None: HTTP to the portal at `base_url`.
    """

    base_url: str
    api: PortalApi
    database: Database
    mailbox: Mailbox
    transport: httpx.BaseTransport | None = None

    def confirm_email(self, contact: Person, view: View) -> str:
        """Confirm the contact's e-mail address for an order: open the link in the mail and type the mail's code.

        Return a sentence that says what was done.
        """
        mail = self.mailbox.mail(contact.email, view.customer_number)
        with self._browser() as browser:
            browser.fill_in(link_in(mail), code=code_on(mail))
        return f"{contact.name} opens the link in the mail and types the code"

    def enter_letter_code(self, view: View) -> str:
        """Prove an order's connection address: type the code from the letter that was sent there.

        Return a sentence that says what was done.
        """
        letter = self.mailbox.letter(view.customer_number)
        with self._browser() as browser:
            browser.fill_in("/brief", customer_number=view.customer_number, code=code_on(letter))
        return "at the site the letter has come, and somebody types its code"

    def decide(self, owner: Person, decision: str, view: View) -> str:
        """Accept or decline a link or a switch as `owner`, an administrator of the account that is asked for consent.

        Opens the link in the mail and types the mail's code. `decision` is the value of the pressed button: "accepted"
        or "declined". Return a sentence that says what was done.
        """
        mail = self.mailbox.mail(owner.email, view.customer_number)
        with self._browser() as browser:
            browser.fill_in(link_in(mail), code=code_on(mail), decision=decision)
        return f"{owner.name} opens the link in the mail, types the code: {decision}"

    def approve(self, person: Person, view: View) -> str:
        """Sign in as `person`, who leads the company, and approve the request. Say what was done.

        The mail that asks for the approval must have arrived.
        """
        mail = self.mailbox.mail(person.email, view.customer_number)
        with self._browser() as browser:
            browser.sign_in(person.email, PASSWORD)
            browser.fill_in(link_in(mail), decision="approve")
        return f"{person.name} opens the link in the mail, signs in and approves it"

    def create_link_code(self, owner: Person, customer_number: str) -> str:
        """Sign in as `owner`, an administrator of the account `customer_number`; create and return a link code.

        With a link code, a main account may attach the account.
        """
        with self._browser() as browser:
            browser.sign_in(owner.email, PASSWORD)
            where = "/verknuepfungscode"
            return code_on(browser.fill_in(where, f"{where}/{customer_number}"))

    def hand_in_document(self, view: View) -> str:
        """Upload an extract from the commercial register as the requester, to prove the order's connection address.

        `view` is the order as the API shows it. Return a sentence that says what was done.
        """
        self.api.hand_in(view.id, "Handelsregisterauszug.pdf", EXTRACT)
        return "the requester hands in an extract from the commercial register"

    def release_document(self, view: View) -> str:
        """Accept the document uploaded for an order, as the back office. The workers then continue the order.

        Return a sentence that says what was done.
        """
        self._decide_document(view, None)
        return f"standorte requests release-address {view.id[:8]}…: the back office has looked at it"

    def hand_in_certificate(self, view: View) -> str:
        """Upload a certificate of need as the requester of numbers. Return a sentence that says what was done."""
        self.api.hand_in(view.id, "Nebenstellen.pdf", EXTRACT, "certificate")
        return "the requester hands in a list of extensions as certificate of need"

    def refuse_certificate(self, view: View) -> str:
        """Refuse the certificate of need, as the back office. The request then waits for another certificate.

        Return a sentence that says what was done.
        """
        self._decide_document(view, Refusal(RefusalReason.NO_NEED, "Bitte mit Standortplan."))
        return f"standorte requests release-address {view.id[:8]}… --refuse: the list does not show the need"

    def _decide_document(self, view: View, refusal: Refusal | None) -> None:
        with self.database.transaction() as session:
            staff = session.scalars(sa.select(User).where(User.email == BACK_OFFICE.email)).one()
            person, now = principal_of(session, staff), self.database.now()
            decide_on_document(session, person, uuid.UUID(view.id), None, now, refusal=refusal)

    def stock(self, pool: Pool, view: View) -> str:
        """Add a single number to a pool, as the carrier, and retry the orders that were held because it was empty.

        `view` is not used. Return a sentence that says what was done.
        """
        del view
        with self.database.transaction() as session:
            retried = refill(session, pool, self.database.now()).retried
        orders = "order goes on" if len(retried) == 1 else "orders go on"
        return f"standorte numbers stock --area-code {pool.area_code}: {len(retried)} held {orders}"

    def stock_and_retry(self, pool: Pool, view: View) -> str:
        """Add a single number to a pool, as the carrier; then retry the order `view` through the API, as its requester.

        Other orders that were held because the pool was empty are not retried. Return a sentence that says what was
        done.
        """
        with self.database.transaction() as session:
            stock(session, pool, self.database.now())
        self.api.retry(view.id)
        return "there are numbers again; the requester presses retry"

    def cancel(self, view: View) -> str:
        """Cancel the request through the API, as the requester. Return a sentence that says what was done."""
        self.api.cancel(view.id)
        return "cancelled through the API, as the requester"

    def tomorrow(self) -> date:
        """Return tomorrow's date in Berlin."""
        return berlin_day(self.database.now()) + timedelta(days=1)

    def let_day_come(self, view: View) -> str:
        """Pretend that the planned day of the request has come: set it to today, and make the request due at once.

        Return a sentence that says what was done.
        """
        with self.database.transaction() as session:
            request, now = _locked(session, view), self.database.now()
            request.effective_on = berlin_day(now)
            request.make_due(now)
        return "as if its day had come"

    def let_time_pass(self, days: int, view: View) -> str:
        """Pretend that the question for consent of a link request has been open, without an answer, for `days` days.

        Moves back the times at which the question was asked and expires, and makes the request due at once. Return a
        sentence that says what was done.
        """
        by = timedelta(days=days)
        with self.database.transaction() as session:
            request = _locked(session, view)
            consent = session.get_one(Consent, request.id)
            consent.asked_at, consent.expires_at = consent.asked_at - by, consent.expires_at - by
            request.make_due(self.database.now())
        return f"{days} days pass, and nobody answers"

    @contextmanager
    def _browser(self) -> Iterator[Visitor]:
        browser = Visitor(self.base_url, self.transport)
        try:
            yield browser
        finally:
            browser.close()


def _locked(session: Session, view: View) -> Request:
    return session.get_one(Request, uuid.UUID(view.id), with_for_update=True)
