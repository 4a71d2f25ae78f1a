"""The load of a chaos run: customers who order, link, cancel, detach and change things, and try until answered."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa
from pypdf import PdfReader
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.proofs.link_codes import create_link_code
from models.proofs.ownership import decide
from models.proofs.proofs import Consent, Decision
from models.requests.requests import Request
from models.telephony.trunks import SipTrunk
from models.typed_codes import display_code
from models.values import utc_now
from models.vault import Vault
from tests.benchmarks import bulk, front
from tests.benchmarks.system import Customer
from tests.chaos.plant import SECRET, Plant
from tests.factories import PASSWORD, make_account, make_user

CLIENTS = 4
PATIENCE = 90.0
"""Seconds for which a client repeats a call."""
ROWS = 60
"""Rows of the file."""
PAUSE = 0.25
"""Seconds between two calls of one client."""


@dataclass(frozen=True, slots=True)
class Owned:
    """An account that can be linked: its customer number, and the e-mail address of its administrator."""

    customer_number: str
    email: str


@dataclass
class Load:
    """All clients of a chaos run, and what they record.

    `accepted` has the calls that were answered with 202 (id, kind), `cancelled` ids of requests, `unanswered` the
    number of calls without an answer, `failed` the errors on which clients stopped.
    """

    plant: Plant
    accepted: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    unanswered: int = 0
    failed: list[str] = field(default_factory=list)
    """What clients did not expect, so that they ended."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _owned: list[Owned] = field(default_factory=list)

    def start(self) -> None:
        """Make 400 accounts that can be linked, and start the clients, each in a thread."""
        with self.plant.database.transaction() as session:
            for _ in range(400):
                owner: User = make_user(session)
                account: Account = make_account(session, administrator=owner)
                self._owned.append(Owned(account.customer_number, owner.email))
        for number in range(CLIENTS):
            customer = self.plant.customers[number % len(self.plant.customers)]
            self._begin(partial(self._client, customer))
        self._begin(self._portal)
        self._begin(self._upload)
        self._begin(self._letters)

    def stop(self) -> None:
        """Tell the clients to stop, and wait until each has finished its call."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def order(self, customer: Customer) -> str | None:
        """Order until the API accepts it.

        Return the request's id; None if there is no answer within 90 seconds (`PATIENCE`).
        """
        return self._accept(customer, "order", "POST", "/orders", front.BODY)

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:
                self.failed.append(repr(error))

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _client(self, customer: Customer) -> None:
        links: list[Owned] = []
        while not self._over.wait(PAUSE):
            what = random.choices(["order", "cancel", "retry", "link", "detach"], [5, 1, 1, 3, 1])[0]
            if what in ("order", "cancel", "retry"):
                id = self.order(customer)
                if id is not None and what == "cancel":
                    self._cancel(customer, id)
                elif id is not None and what == "retry":
                    self._ask(customer, "POST", f"/requests/{id}/retry", {})
            elif what == "link":
                owned = self._next_owned()
                if owned is not None and self._link(customer, owned):
                    links.append(owned)
            elif links:
                self._detach(customer, links.pop(0))

    def _link(self, customer: Customer, owned: Owned) -> bool:
        """Link the account by its administrator's login, a link code or the administrator's consent, chosen by chance.

        Return whether the link request was accepted.
        """
        proof = {"method": "credentials", "email": owned.email, "password": PASSWORD}
        method = random.choice(["credentials", "link_code", "consent"])
        if method == "link_code":
            proof = {"method": method, "code": self._administered(owned, self._code)}
        elif method == "consent":
            proof = {"method": method}
        body = {"customer_number": owned.customer_number, "proof": proof}
        id = self._accept(customer, "link", "POST", "/link-requests", body)
        if id is not None and method == "consent":
            self._administered(owned, partial(self._consent, id))
        return id is not None

    def _administered(self, owned: Owned, act: Callable[[Session, User, Account], str | None]) -> str:
        """Run `act` as the account's administrator in transactions until it returns a text; return the text.

        It is run again after a database error, and if it returns None.
        """
        while True:
            with suppress(sa.exc.DBAPIError), self.plant.database.transaction() as session:
                account = account_by_number(session, owned.customer_number)
                owner = session.scalars(sa.select(User).where(User.email == owned.email)).one()
                assert account is not None
                done = act(session, owner, account)
                if done is not None:
                    return done
            time.sleep(0.3)

    def _code(self, session: Session, owner: User, account: Account) -> str:
        words = create_link_code(session, principal_of(session, owner), account, utc_now()).words()
        return display_code(Vault(SECRET).code(*words))

    def _consent(self, id: str, session: Session, owner: User, _account: Account) -> str | None:
        """Consent to the link request as the administrator `owner`, and return a text.

        Return None if no consent was asked for yet.
        """
        request = session.get_one(Request, UUID(id))
        if session.get(Consent, request.id) is None:
            return None
        decide(session, Vault(SECRET), request, owner, Decision.ACCEPTED, None, utc_now())
        return "given"

    def _letters(self) -> None:
        """Order for addresses that need a proof, and prove each with the code in its letter, until the load stops."""
        customer = self.plant.customers[4]
        read: set[Path] = set()
        while not self._over.wait(PAUSE):
            body = json.loads(front.BODY)
            body["location"] |= {"name": f"Filiale {len(read)}", "street": f"Brückenstr. {1000 + len(read)}"}
            id = self._accept(customer, "order", "POST", "/orders", body)
            if id is None:
                continue
            while not (arrived := set((self.plant.directory / "letters").glob("*.pdf")) - read):
                time.sleep(0.3)
            [letter] = arrived
            text = "".join(page.extract_text() for page in PdfReader(letter).pages)
            code = re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", text)
            assert code is not None
            answer = self._ask(customer, "POST", f"/requests/{id}/proofs", {"kind": "letter_code", "code": code[0]})
            assert answer is not None and answer.status_code == 200, answer
            read.add(letter)

    def _upload(self) -> None:
        """Upload a file of orders and send it, again until the server answers.

        An equal file does not make a second bulk.
        """
        customer = self.plant.customers[3]
        while not self._over.wait(PAUSE):
            with (
                suppress(httpx.HTTPError, AssertionError),
                front.signed_in(self.plant.port, customer.manager) as client,
            ):
                bulk.upload(client, customer.main.customer_number, bulk.file_of(ROWS))
                return

    def _detach(self, customer: Customer, owned: Owned) -> None:
        path = f"/accounts/{owned.customer_number}"
        # Only what has been linked can be detached.
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self._ask(customer, "GET", path)
            if answer is None or answer.status_code == 200:
                break
            time.sleep(0.5)
        self._accept(customer, "detach", "DELETE", f"{path}/link")

    def _cancel(self, customer: Customer, id: str) -> None:
        answer = self._ask(customer, "POST", f"/requests/{id}/cancel", {})
        # Without an answer nobody knows, so either end is right.
        if answer is None or answer.status_code == 200:
            with self._lock:
                self.cancelled.append(id)

    def _next_owned(self) -> Owned | None:
        with self._lock:
            return self._owned.pop() if self._owned else None

    def _accept(self, customer: Customer, kind: str, method: str, path: str, body: Any = None) -> str | None:
        answer = self._ask(customer, method, path, body)
        with self._lock:
            if answer is None:
                self.unanswered += 1
                return None
            assert answer.status_code == 202, (kind, answer.status_code, answer.text)
            id = str(answer.json()["id"])
            self.accepted.append({"id": id, "kind": kind})
        return id

    def _ask(self, customer: Customer, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """Call the API until the answer is neither a 5xx nor 429; return the answer, None after 90 s (`PATIENCE`).

        All tries have one idempotency key.
        """
        head = {"Authorization": f"Bearer {customer.token}", "Idempotency-Key": uuid4().hex}
        content = {"content": body, "headers": head | {"Content-Type": "application/json"}}
        parameters: dict[str, Any] = content if isinstance(body, bytes) else {"json": body, "headers": head}
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = httpx.request(method, f"{self.plant.front}/api/v1{path}", timeout=20, **parameters)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            time.sleep(0.3)
        return None

    def _portal(self) -> None:
        """Order, add a forwarding and renew the secret on the portal's pages again and again, until the load stops."""
        customer = self.plant.customers[-1]
        while not self._over.wait(2 * PAUSE):
            id = self.order(customer)
            if id is None:
                continue
            with suppress(httpx.HTTPError, AssertionError, sa.exc.DBAPIError):
                number = self._number_of(customer, id)
                self._forward(customer.manager, number)
                self._renew(customer.manager, number)

    def _number_of(self, customer: Customer, id: str) -> str:
        answer = self._ask(customer, "GET", f"/requests/{id}")
        assert answer is not None
        return str(answer.json()["customer_number"])

    def _renew(self, manager: Principal, customer_number: str) -> None:
        """Renew the secret of the account's trunk on its page. Fails as long as there is no trunk."""
        with self.plant.database.transaction() as session:
            mine = sa.select(SipTrunk.id).join(Account).where(Account.customer_number == customer_number)
            trunk = session.scalar(mine)
        with front.signed_in(self.plant.port, manager) as browser:
            path = f"/standortverwaltung/{customer_number}/sip/{trunk}/erneuern"
            page = browser.get(path).text
            form = {name: front.field_of(page, name) for name in ("csrf_token", "issue")} | {"password": PASSWORD}
            browser.post(path, data=form).raise_for_status()

    def _forward(self, manager: Principal, customer_number: str) -> None:
        with front.signed_in(self.plant.port, manager) as browser:
            path = f"/standortverwaltung/{customer_number}/rufweiterleitung/neu"
            form = {"condition": "always", "target": "+4930901820", "when": "all", "enabled": "y"}
            form["csrf_token"] = front.field_of(browser.get(path).text, "csrf_token")
            browser.post(path, data=form | {"after_seconds": "20"}).raise_for_status()
