"""Measures a bulk file of orders from upload to the last confirmation, and how long single orders take meanwhile."""

from __future__ import annotations

import csv
import io
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa

from models.bulk.bulk import Bulk
from models.requests.requests import Request
from models.states import Kind, Status
from tests.benchmarks import front
from tests.benchmarks.system import System
from tests.factories import ORDER
from tests.fakes import wait_until
from web.portal.bulk.columns import COLUMNS
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

START = "/standortverwaltung/sammelauftrag"
PROCESSES = 2
PAUSE = 1.0
"""Seconds between two single orders of another customer, who orders while the bulk file is worked on."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast orders were processed: orders per second, and the processor time of one order."""

    per_second: float
    """The number of orders, divided by the seconds from sending the first until the last mail about them is sent."""
    cpu: float
    """Milliseconds of processor time for one order, of all processes together."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the benchmark of a bulk file has measured, in orders per second and in seconds.

    `single` and `bulk` are the rates at which the system completes orders that are sent one by one, and those of a
    bulk file. `answered` and `waits` say how long people wait while the system processes the bulk file.
    """

    single: Rate
    bulk: Rate
    answered: float
    """Seconds from sending the form of the bulk file until the browser has the answer."""
    waits: list[float]
    """Seconds of each single order that another customer placed during the bulk file, from sending it to completed."""


def measure(system: System, rows: int, singles: int) -> Result:
    """Measure `singles` single orders from 8 clients (`front.CLIENTS`), and a bulk file of `rows` orders.

    Half of the single orders come before the file and half after it: other work on the machine then slows both alike.
    During the file another customer orders one location after the other. All use the same web application and workers.
    """
    port = free_port()
    web, beat = programs.web(LOOPBACK, port), programs.beat(system.directory / "schedule")
    with system.running(web), system.running(beat), system.worker(PROCESSES):
        wait_until(lambda: accepts_connections(port), what="the front")
        _singles(system, port, 200)
        before = _singles(system, port, singles // 2)
        with _somebody_else(system, port) as waits:
            bulk, answered = _bulk(system, port, rows)
        after = _singles(system, port, singles // 2)
    rate = statistics.harmonic_mean([before.per_second, after.per_second])
    return Result(Rate(rate, (before.cpu + after.cpu) / 2), bulk, answered, waits)


def _singles(system: System, port: int, count: int) -> Rate:
    began, used = time.perf_counter(), system.cpu_seconds()
    front.send_orders(system, port, count)
    wait_until(system.idle, seconds=900, what="the last single order")
    return _rate(system, count, began, used)


def _rate(system: System, count: int, began: float, used: float) -> Rate:
    return Rate(count / (time.perf_counter() - began), (system.cpu_seconds() - used) / count * 1000)


def upload(client: httpx.Client, customer_number: str, content: bytes) -> httpx.Response:
    """Upload a bulk file of orders for the customer number. Return the file's page, to which the portal redirects.

    If a file with the same content was uploaded before, the portal shows that file's page.
    """
    token = front.field_of(client.get(START).text, "csrf_token")
    data = {"csrf_token": token, "kind": "order", "account": customer_number}
    return client.post(START, data=data, files={"file": ("bench.csv", content)}).raise_for_status()


def send(client: httpx.Client, page: httpx.Response) -> httpx.Response:
    """Send the form on a bulk file's `page` that orders all its rows. Return the page that follows."""
    form = {name: front.field_of(page.text, name) for name in ("csrf_token", "shown")}
    return client.post(f"{page.url}/senden", data=form).raise_for_status()


def _bulk(system: System, port: int, rows: int) -> tuple[Rate, float]:
    content = file_of(rows)
    customer = system.customers[0]
    with front.signed_in(port, customer.manager) as client:
        began, used = time.perf_counter(), system.cpu_seconds()
        page = upload(client, customer.main.customer_number, content)
        pressed = time.perf_counter()
        send(client, page)
        answered = time.perf_counter() - pressed
    wait_until(lambda: _confirmed(system, rows), seconds=3600, what="the last order of the bulk")
    return _rate(system, rows, began, used), answered


def _confirmed(system: System, rows: int) -> bool:
    time.sleep(0.2)
    with system.database.transaction() as session:
        if session.scalar(sa.select(Bulk.placed_at).order_by(Bulk.id.desc()).limit(1)) is None:
            return False
    if not system.idle_but_alone():
        return False
    with system.database.transaction() as session:
        done = sa.select(sa.func.count()).where(Request.bulk_id.is_not(None), Request.status == Status.COMPLETED)
        return session.scalar(done) == rows


@dataclass
class _Visitor:
    """A customer who places one order after the other by the API until `over` is set.

    `waits` collects the seconds from sending each order until it is completed.
    """

    system: System
    port: int
    waits: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        head = {"Authorization": f"Bearer {self.system.customers[1].token}", "Content-Type": "application/json"}
        with httpx.Client(base_url=f"http://{LOOPBACK}:{self.port}", headers=head, timeout=60) as client:
            while not self.over.wait(PAUSE):
                began = time.perf_counter()
                answer = client.post("/api/v1/orders", content=front.BODY, headers={"Idempotency-Key": uuid4().hex})
                id = UUID(answer.raise_for_status().json()["id"])
                while not self._is_completed(id):
                    time.sleep(0.01)
                self.waits.append(time.perf_counter() - began)

    def _is_completed(self, id: UUID) -> bool:
        with self.system.database.transaction() as session:
            return session.scalar(sa.select(Request.status).where(Request.id == id)) is Status.COMPLETED


@contextmanager
def _somebody_else(system: System, port: int) -> Iterator[list[float]]:
    visitor = _Visitor(system, port)
    thread = threading.Thread(target=visitor.run)
    thread.start()
    try:
        yield visitor.waits
    finally:
        visitor.over.set()
        thread.join()


def file_of(rows: int, name: str = "Filiale") -> bytes:
    """Return a CSV file for the portal's upload form, with `rows` orders of locations whose names begin with `name`."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow([column.de for column in COLUMNS[Kind.ORDER]])
    place, contact = ORDER.location, ORDER.contact
    for number in range(rows):
        writer.writerow(
            [f"{name} {number}", place.street, place.postal_code, place.city, contact.name, contact.email,
             contact.phone, ORDER.product_key, ORDER.channels, ORDER.area_code, ORDER.block_size, ""]
        )  # fmt: skip
    return out.getvalue().encode("utf-8-sig")
