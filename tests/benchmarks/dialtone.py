"""Measures the seconds from a click at the portal until a phone system notices an order or a change of a trunk.

Web application, workers, beat, Redis and PostgreSQL run as with `make run`, and are idle but for this one order or
change. The phones are those of `standorte doctor`. A trunk's password is decrypted from the portal's database, or read
from the page that shows a renewed one. The phones try again and again until they succeed.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import httpx
import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import selectinload

from models.calendar_days import berlin_day
from models.requests.requests import Request
from models.states import Status
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tasks.ports import TrunkRecord
from tasks.registrar.trunks import record_of
from tests.benchmarks import front
from tests.benchmarks.system import System
from tests.factories import PASSWORD
from tests.fakes import wait_until
from workers import programs
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.sip.probe import NoDialTone, Phone
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

PROCESSES = 2
_BETWEEN_TRIES = 0.005
"""Seconds between two tries of a phone. With shorter pauses the phones would slow down the measured programs."""
_NOT_COUNTED = 5
"""How many orders come first and are not counted: during these, programs are loaded and connections made."""
_ACCEPTED = "200 OK"
_ABROAD = "+43720999999"
"""A number that no customer has, in a country that a new trunk may call and one that is limited to Germany may not."""
_NOT_ALLOWED = "403 Destination Not Allowed For Your Trunk"
_DECLINED, _NOT_REGISTERED = "603 Decline", "480 Not Registered"
_PLANNED = "a planned change, after its moment"
_CHANNELS = "SELECT value FROM usr_preferences WHERE username = %s AND attribute = 'channels'"
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Felt:
    """The result of the benchmark: the seconds that each order, registration and change of a trunk has taken."""

    dial_tone: list[float]
    """Seconds from the POST of an order with all proofs given to the first 200 for a REGISTER of its new trunk."""
    completed: list[float]
    """Seconds from the POST of another order until its status is completed; measured alternately with `dial_tone`."""
    registration: list[float]
    """Seconds of one REGISTER of a trunk that exists already, including the challenge."""
    in_force: dict[str, list[float]]
    """The seconds of each change, by its name such as "a renewed secret": from the portal's form until a phone notices.

    Of a change that was planned for a day: from its moment until the registrar has it.
    """


def measure(system: System, server: str, orders: int, changes: int) -> Felt:
    """Measure how long orders and changes of trunks take until they are completed or a phone system notices them.

    `orders` orders are measured until a phone can register, and as many, in turns with them, until they are completed.
    `changes` changes of each kind are measured. `server` is Kamailio's host:port. `changes` has to be smaller than
    `orders`: the changed trunks are the ordered ones.
    """
    port = free_port()
    web, beat = programs.web(LOOPBACK, port), programs.beat(system.directory / "schedule")
    with system.running(web), system.running(beat), system.worker(PROCESSES), _Customer.of(system, port, server) as one:
        ordered = [(one.waits_for_dial_tone(), one.waits_for_the_end()) for _ in range(_NOT_COUNTED + orders)]
        at_work, idle = (list(kind) for kind in zip(*ordered, strict=True))
        with front.signed_in(port, system.customers[0].manager) as portal:
            secrets = [one.renews(portal, trunk) for _, trunk in at_work[:changes]]
            forwarded = _forwardings(one, portal, [trunk for _, trunk in idle], changes)
            limited = _limits(one, portal, [trunk for _, trunk in idle[:changes]])
        planned = [one.waits_for_a_planned_change(trunk) for _, trunk in idle[:changes]]
        registrations = [one.registers_again(trunk) for _, trunk in at_work[changes:]]
    return Felt(
        [seconds for seconds, _ in at_work[_NOT_COUNTED:]],
        [seconds for seconds, _ in idle[_NOT_COUNTED:]],
        registrations,
        {"a renewed secret": secrets} | forwarded | limited | {_PLANNED: planned},
    )


def _forwardings(
    one: _Customer, portal: httpx.Client, trunks: list[TrunkRecord], changes: int
) -> dict[str, list[float]]:
    """Measure how long adding and removing a forwarding takes, for `changes` trunks.

    Return the seconds by kind of change. `trunks` are, in this order, the one that calls, the target of the
    forwardings, and those that forward. The target's phone declines every call.
    """
    caller, target, *others = trunks
    with _declining(one.server, target):
        pairs = [one.forwards(portal, trunk, target, caller) for trunk in others[:changes]]
        numbers = [one.forwards(portal, trunk, target, caller, of_one_number=True) for trunk in others[:changes]]
    return {
        "a new forwarding": [added for added, _ in pairs],
        "a removed forwarding": [removed for _, removed in pairs],
        "a new forwarding of one number": [added for added, _ in numbers],
        "a removed forwarding of one number": [removed for _, removed in numbers],
    }


def _limits(one: _Customer, portal: httpx.Client, trunks: list[TrunkRecord]) -> dict[str, list[float]]:
    """Measure how long it takes until the trunks can call Germany only, and then also the EU and the EEA.

    Return lists of seconds by kind of change. The trunks call a number abroad that belongs to a trunk without a phone:
    Kamailio's answer tells whether the call was allowed.
    """
    abroad = replace(trunks[0], key=str(uuid4()), sip_user=f"abroad{uuid4().hex[:8]}", numbers=(_ABROAD,))
    registrar = KamailioRegistrar(one.system.environment["REGISTRAR_URL"])
    assert registrar.put_trunks([abroad]) == [None]
    registrar.close()
    pairs = [one.limits(portal, trunk, abroad) for trunk in trunks]
    return {
        "a new limit to countries": [limited for limited, _ in pairs],
        "a wider limit to countries": [widened for _, widened in pairs],
    }


@dataclass(frozen=True, slots=True)
class _Customer:
    """The first customer of the system, who uses the API and the portal, and the phones of this customer's trunks.

    `api` is an HTTP client with the customer's token, `server` is Kamailio's host:port.
    """

    system: System
    api: httpx.Client
    server: str

    @classmethod
    @contextmanager
    def of(cls, system: System, port: int, server: str) -> Iterator[_Customer]:
        """Yield the first customer, once the web application accepts connections at `port`.

        `server` is Kamailio's host:port. The customer's API client is closed at the end.
        """
        wait_until(lambda: accepts_connections(port), what="the front")
        head = {"Authorization": f"Bearer {system.customers[0].token}", "Content-Type": "application/json"}
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", headers=head, timeout=60) as api:
            yield cls(system, api, server)

    def waits_for_dial_tone(self) -> tuple[float, TrunkRecord]:
        """Place an order, and register a phone at its new trunk as soon as Kamailio accepts that.

        Return the seconds from the order to the registration, and the trunk. Returns only after the order's mails have
        left, so that the next measurement begins on an idle system.
        """
        began, order = self._orders()
        trunk = _until(lambda: self._trunk_of(order))
        _until(lambda: self.registers(trunk) == _ACCEPTED)
        seconds = time.perf_counter() - began
        wait_until(self.system.idle, what="the end of the order")
        return seconds, trunk

    def waits_for_the_end(self) -> tuple[float, TrunkRecord]:
        """Place an order and wait until its status is completed. Return the seconds of this wait, and the new trunk.

        Returns only after the order's mails have left, so that the next measurement begins on an idle system.
        """
        began, order = self._orders()
        _until(lambda: self._is_completed(order))
        seconds = time.perf_counter() - began
        wait_until(self.system.idle, what="the mails about the order")
        return seconds, _until(lambda: self._trunk_of(order))

    def renews(self, portal: httpx.Client, trunk: TrunkRecord) -> float:
        """Renew a trunk's SIP password on the portal's page; `portal` is a client that is signed in.

        Return the seconds until Kamailio accepts a phone with the new password and refuses one with the old.
        """
        number, id = self._place(trunk)
        path = f"/standortverwaltung/{number}/sip/{id}/erneuern"
        page = portal.get(path).text
        form = {name: front.field_of(page, name) for name in ("csrf_token", "issue")} | {"password": PASSWORD}
        began = time.perf_counter()
        shown = re.search('<p class="code"[^>]*>([^<]+)<', portal.post(path, data=form).text)
        assert shown is not None
        renewed = replace(trunk, secret=shown[1])
        # After some tries too early, a wrong secret is told to wait.
        _until(lambda: self.registers(renewed) == _ACCEPTED and self.registers(trunk) != _ACCEPTED)
        return time.perf_counter() - began

    def forwards(
        self,
        portal: httpx.Client,
        trunk: TrunkRecord,
        target: TrunkRecord,
        caller: TrunkRecord,
        *,
        of_one_number: bool = False,
    ) -> tuple[float, float]:
        """Add a call forwarding of `trunk`, which has no phone, then remove it.

        Return the seconds until each change is in force. All calls are forwarded to `target`, or with `of_one_number`
        those to the trunk's first number. `caller` calls the trunk again and again: while its calls are forwarded, the
        target's phone declines them.
        """
        number, _ = self._place(trunk)
        path = f"/standortverwaltung/{number}/rufweiterleitung"
        form = {"condition": "always", "target": target.numbers[0], "when": "all", "enabled": "y"}
        if of_one_number:
            form |= {"numbers": "some", "first": trunk.numbers[0]}
        form["csrf_token"] = front.field_of(portal.get(f"{path}/neu").text, "csrf_token")
        began = time.perf_counter()
        listed = portal.post(f"{path}/neu", data=form | {"after_seconds": "20"}).text
        _until(lambda: self._calls(caller, trunk) == _DECLINED)
        added = time.perf_counter() - began
        removal = re.search(f"{path}/[0-9]+/loeschen", listed)
        assert removal is not None
        form = {"csrf_token": front.field_of(portal.get(removal[0]).text, "csrf_token")}
        began = time.perf_counter()
        portal.post(removal[0], data=form)
        _until(lambda: self._calls(caller, trunk) == _NOT_REGISTERED)
        return added, time.perf_counter() - began

    def limits(self, portal: httpx.Client, trunk: TrunkRecord, abroad: TrunkRecord) -> tuple[float, float]:
        """Limit a trunk's calls to Germany, then to EU and EEA. Return the seconds until each limit is in force.

        The trunk calls `abroad`, a trunk with a number in another EEA country: the first limit is in force when
        Kamailio refuses the call, the second when it allows the call again.
        """
        number, id = self._place(trunk)
        path = f"/standortverwaltung/{number}/sip/{id}/ziele"
        form = {"csrf_token": front.field_of(portal.get(path).text, "csrf_token")}
        felt = []
        for limit, answer in (("germany", _NOT_ALLOWED), ("eea", _NOT_REGISTERED)):
            began = time.perf_counter()
            portal.post(path, data=form | {"limit": limit})
            _until(partial(self._is_answered, trunk, abroad, answer))
            felt.append(time.perf_counter() - began)
        return felt[0], felt[1]

    def waits_for_a_planned_change(self, trunk: TrunkRecord) -> float:
        """Plan ten channels for a trunk for tomorrow, and let that moment come one to two seconds later.

        Return the seconds from the moment until the registrar has the ten channels.
        """
        number, _ = self._place(trunk)
        today = berlin_day(self.system.database.now())
        change = {"customer_number": number, "product": "trunk-10", "channels": 10}
        body = json.dumps(change | {"effective_on": (today + timedelta(days=1)).isoformat()})
        answer = self.api.post("/api/v1/changes", content=body, headers={"Idempotency-Key": uuid4().hex})
        id = UUID(answer.raise_for_status().json()["id"])
        moment = self.system.database.now() + timedelta(seconds=random.uniform(1, 2))
        with self.system.database.transaction() as session:
            comes = sa.update(Request).where(Request.id == id).values(effective_on=today, due_at=moment)
            session.execute(comes)
        with psycopg.connect(plain_url(self.system.environment["REGISTRAR_URL"]), autocommit=True) as registrar:
            _until(lambda: registrar.execute(_CHANNELS, (trunk.sip_user,)).fetchone() == ("10",))
        seconds = (self.system.database.now() - moment).total_seconds()
        wait_until(self.system.idle, what="the mails about the change")
        return seconds

    def registers(self, trunk: TrunkRecord) -> str:
        """Register a phone at the trunk. Return Kamailio's answer, such as "200 OK"."""
        with Phone(self.server, trunk) as phone:
            return _answer_to(lambda: phone.ask("REGISTER", f"sip:{trunk.domain}", expires=3600))

    def registers_again(self, trunk: TrunkRecord) -> float:
        """Register a phone at a trunk that exists already. Return the seconds until Kamailio has accepted it.

        Kamailio first answers with a challenge, so there are two REGISTER messages.
        """
        began = time.perf_counter()
        assert self.registers(trunk) == _ACCEPTED
        return time.perf_counter() - began

    def _is_answered(self, caller: TrunkRecord, called: TrunkRecord, answer: str) -> bool:
        return self._calls(caller, called) == answer

    def _calls(self, caller: TrunkRecord, called: TrunkRecord) -> str:
        """Call the first number of `called` from the trunk `caller`. Return the final answer, such as "603 Decline"."""
        number = f"sip:{called.numbers[0]}@{called.domain}"
        with Phone(self.server, caller) as phone:
            phone.challenge("INVITE", number)
            phone.send("INVITE", number)
            return _answer_to(lambda: phone.final("INVITE", number))

    def _orders(self) -> tuple[float, UUID]:
        head = {"Idempotency-Key": uuid4().hex}
        began = time.perf_counter()
        answer = self.api.post("/api/v1/orders", content=front.BODY, headers=head)
        return began, UUID(answer.raise_for_status().json()["id"])

    def _trunk_of(self, order: UUID) -> TrunkRecord | None:
        whole = sa.select(SipTrunk).options(selectinload(SipTrunk.blocks), selectinload(SipTrunk.account))
        with self.system.database.transaction() as session:
            found = session.scalars(whole.where(SipTrunk.request_id == order)).one_or_none()
            return record_of(found, Vault(self.system.environment["SECRET_KEY"])) if found else None

    def _is_completed(self, order: UUID) -> bool:
        with self.system.database.transaction() as session:
            return session.scalar(sa.select(Request.status).where(Request.id == order)) is Status.COMPLETED

    def _place(self, trunk: TrunkRecord) -> tuple[str, int]:
        """Return the customer number of the trunk's account, and the trunk's id in the portal's database.

        The paths of the trunk's pages in the portal contain both.
        """
        whole = sa.select(SipTrunk).options(selectinload(SipTrunk.account))
        with self.system.database.transaction() as session:
            found = session.scalars(whole.where(SipTrunk.sip_user == trunk.sip_user)).one()
            return found.account.customer_number, found.id


@contextmanager
def _declining(server: str, trunk: TrunkRecord) -> Iterator[None]:
    """Keep a phone registered at `server` (Kamailio's host:port) that declines all calls, during a `with` block."""
    over = threading.Event()
    with Phone(server, trunk) as phone:
        phone.ask("REGISTER", f"sip:{trunk.domain}", expires=3600)

        def decline() -> None:
            while not over.is_set():
                try:
                    phone.answer("INVITE", _DECLINED)
                    phone.receive("ACK")
                except TimeoutError:
                    continue

        thread = threading.Thread(target=decline)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _answer_to(ask: Callable[[], object]) -> str:
    try:
        ask()
    except NoDialTone as refused:
        return str(refused).partition(": ")[2]
    return _ACCEPTED


def _until(look: Callable[[], _Found | None]) -> _Found:
    """Call `look` again and again until it returns something true; return that. Fails after 30 seconds."""
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(_BETWEEN_TRIES)
    return found
