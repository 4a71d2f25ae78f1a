"""The load of a chaos run: clients that order, link, cancel, detach and change, and repeat each call until answered.

The clients use the API and the portal's pages.
"""

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
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import sqlalchemy as sa
from pypdf import PdfReader

from models.accounts.accounts import Account
from models.people.rights import Principal
from models.people.users import User, principal_of
from tests.benchmarks import bulk, front
from tests.benchmarks.system import Customer
from tests.chaos.pages import Pages
from tests.chaos.plant import Plant
from tests.factories import PASSWORD, make_account, make_user
from tests.plain_http import call

T = TypeVar("T")
CLIENTS = 4
PATIENCE = 90.0
"""Seconds for which a client repeats a call before it gives up."""
ROWS = 60
"""How many orders each bulk file has."""
FILES_EVERY = 60.0
"""Seconds between two bulk files."""
TARIFFS = (("trunk-50", 30), ("trunk-2", 2), ("trunk-10", 8))
"""The tariffs (product key, channels) to which contracts are changed; the last is the ordered one with other channels.
"""
SAID = ("id", "kind", "status", "step", "reason", "customer_number")
"""The fields of the API's answer about a request that are recorded."""
PAUSE = 0.25
"""Seconds between two calls of one client."""


@dataclass(frozen=True, slots=True)
class Owned:
    """An account that can be linked: its customer number, and its administrator (`owner`)."""

    customer_number: str
    owner: Principal


@dataclass
class Load:
    """All clients of a chaos run, and what they record.

    `clients` is the number of general API clients. Three more use the portal's pages, send bulk files, and enter the
    codes of letters. `owned` is how many accounts there are to link, `files` how many bulk files are sent at most.
    `accounts` are the customer numbers that existed before the load, `accepted` has the calls that were answered with
    202 (id, kind), `cancelled` the ids of cancelled requests, `unanswered` the number of calls without an answer,
    `failed` the errors on which a client stopped, `bulks` the ids of the files that were sent.
    """

    plant: Plant
    clients: int = CLIENTS
    owned: int = 400
    files: int = 1
    accounts: list[str] = field(default_factory=list)
    accepted: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    unanswered: int = 0
    failed: list[str] = field(default_factory=list)
    bulks: list[str] = field(default_factory=list)
    pages: Pages = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _owned: list[Owned] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pages = Pages(self.plant.port)

    def start(self) -> None:
        """Create the accounts that can be linked, and start all clients, each in a thread."""
        with self.plant.database.transaction() as session:
            for _ in range(self.owned):
                owner: User = make_user(session)
                account: Account = make_account(session, administrator=owner)
                self._owned.append(Owned(account.customer_number, principal_of(session, owner)))
            self.accounts += session.scalars(sa.select(Account.customer_number))
        for number in range(self.clients):
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
        """Send an order to the API, again and again until it is accepted.

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
            what = random.choices(["order", "cancel", "retry", "change", "link", "detach"], [5, 1, 1, 1, 3, 1])[0]
            if what in ("order", "cancel", "retry", "change"):
                id = self.order(customer)
                if id is not None and what == "cancel":
                    self._cancel(customer, id)
                elif id is not None and what == "retry":
                    self._ask(customer, "POST", f"/requests/{id}/retry", {})
                elif id is not None and what == "change":
                    self._change(customer, id)
            elif what == "link":
                owned = self._next_owned()
                if owned is not None and self._link(customer, owned):
                    links.append(owned)
            elif links:
                self._detach(customer, links.pop(0))

    def _change(self, customer: Customer, id: str) -> None:
        """Change tariff and channels of the account that the order `id` has made, once or twice.

        Waits until the order is completed, and before a second change until the first one is completed.
        """
        for product, channels in random.sample(TARIFFS, random.choice([1, 2])):
            done = self._completed(customer, id)
            if done is None:
                return
            body = {"customer_number": done["customer_number"], "product": product, "channels": channels}
            changed = self._accept(customer, "change", "POST", "/changes", body)
            if changed is None:
                return
            id = changed

    def _completed(self, customer: Customer, id: str) -> dict[str, Any] | None:
        """Wait until the request is completed, and return it as the API shows it.

        Return None if that takes longer than `PATIENCE` seconds, or if the load stops before.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._over.wait(0.5):
            answer = self._ask(customer, "GET", f"/requests/{id}")
            if answer is not None and answer.json()["status"] == "completed":
                return dict(answer.json())
        return None

    def _link(self, customer: Customer, owned: Owned) -> bool:
        """Request the link of the account `owned`. Return whether the link request was accepted.

        The proof is the administrator's login, a link code or the administrator's consent, chosen by chance.
        """
        proof = {"method": "credentials", "email": owned.owner.email, "password": PASSWORD}
        method = random.choice(["credentials", "link_code", "consent"])
        if method == "link_code":
            create = partial(self.pages.create_link_code, owned.owner, owned.customer_number)
            proof = {"method": method, "code": self._insist("a link code", create)}
        elif method == "consent":
            proof = {"method": method}
        body = {"customer_number": owned.customer_number, "proof": proof}
        id = self._accept(customer, "link", "POST", "/link-requests", body)
        if id is not None and method == "consent":
            self._await_question(customer, id)
            self._insist("a consent", partial(self.pages.consent, owned.owner, id))
        return id is not None

    def _insist(self, what: str, act: Callable[[], T]) -> T:
        """Call `act`, which uses the portal's pages, until it succeeds; return its result.

        Each try is recorded under the name `what`. Raises `TimeoutError` after `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done = self.pages.attempt(what, act)
            if done is not None:
                return done
            time.sleep(0.3)
        raise TimeoutError(what)

    def _await_question(self, customer: Customer, id: str) -> None:
        """Wait until the link request with this id is pending: only then can the other account's administrator consent.

        Raises `TimeoutError` after `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self._ask(customer, "GET", f"/requests/{id}")
            if answer is not None and answer.json()["status"] == "pending":
                return
            time.sleep(0.3)
        raise TimeoutError(id)

    def _letters(self) -> None:
        """Place orders for addresses that need a proof, and enter the code of each letter, until the load stops."""
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
        """Send bulk files of orders, each repeated until it succeeds, until `files` are sent or the load stops."""
        customer = self.plant.customers[3]
        while len(self.bulks) < self.files and not self._over.wait(PAUSE):
            content = bulk.file_of(ROWS, f"Lager {len(self.bulks)}.")
            send = partial(self.pages.send_file, customer.manager, customer.main.customer_number, content)
            id = self.pages.attempt("a file", send)
            if id is not None:
                self.bulks.append(id)
                self._over.wait(FILES_EVERY)

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
        """Call the API, again and again until the answer is neither a 5xx nor 429. Return the answer.

        Return None if there is no such answer within 90 seconds (`PATIENCE`). All tries have the same idempotency key.
        """
        head = {"Authorization": f"Bearer {customer.token}", "Idempotency-Key": uuid4().hex}
        content = {"content": body, "headers": head | {"Content-Type": "application/json"}}
        parameters: dict[str, Any] = content if isinstance(body, bytes) else {"json": body, "headers": head}
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = call(method, f"{self.plant.front}/api/v1{path}", timeout=20, **parameters)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            time.sleep(0.3)
        return None

    def _portal(self) -> None:
        """Again and again, place an order by the API, then add a forwarding and renew the SIP password on the pages.

        Return when the load stops.
        """
        customer = self.plant.customers[-1]
        while not self._over.wait(2 * PAUSE):
            id = self.order(customer)
            done = self._completed(customer, id) if id is not None else None
            if done is not None:
                number = done["customer_number"]
                self.pages.attempt("a forwarding", partial(self.pages.add_forwarding, customer.manager, number))
                self.pages.attempt("a new secret", partial(self.pages.renew_secret, customer.manager, number))

    def answers(self) -> list[dict[str, Any]]:
        """Return all requests of the plant's customers as the API lists them, each as a dictionary.

        It has only some of the API's fields (`SAID`), such as `id` and `status`. `main` is added to each: the customer
        number of the account for which it was listed. If a list cannot be read, that is added to `failed`.
        """
        found: list[dict[str, Any]] = []
        for customer in self.plant.customers:
            cursor: str | None = ""
            main = {"main": customer.main.customer_number}
            while cursor is not None:
                answer = self._ask(customer, "GET", f"/requests?limit=200{cursor and f'&cursor={cursor}'}")
                if answer is None or answer.status_code != 200:
                    self.failed.append(f"requests of {customer.main.customer_number}: {answer}")
                    break
                page = answer.json()
                found += [{name: one[name] for name in SAID} | main for one in page["items"]]
                cursor = page["next_cursor"]
        return found
