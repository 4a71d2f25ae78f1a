"""Measures how many orders a second the web application accepts, against a Flask endpoint that inserts one row.

Both are served by gunicorn.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

import httpx
import sqlalchemy as sa

from models.db.roles import DatabaseRole
from models.people.rights import Principal
from tests.benchmarks.system import System
from tests.factories import PASSWORD
from tests.fakes import wait_until
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

CLIENTS = 8

BODY = json.dumps(
    {
        "product": "trunk-10",
        "channels": 4,
        "location": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
        "contact": {"name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "+4930901820"},
        "numbers": {"area_code": "030", "block_size": 10},
        "locale": "de",
    }
).encode()

Headers = Callable[[], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Load:
    """How fast a server answered POST requests from 8 clients (`CLIENTS`) at once.

    `per_second` is the number of answers a second. `p50` and `p99` are the median and the 99th percentile of the
    response time, `cpu` is the processor time of one request; all three in milliseconds.
    """

    per_second: float
    p50: float
    """The median response time in milliseconds."""
    p99: float
    """The 99th percentile of the response time in milliseconds."""
    cpu: float
    """Milliseconds of processor time for one request, of the web application, PostgreSQL and all other servers."""


def ours(system: System, count: int) -> Load:
    """Start the web application and measure its answers to `count` POST requests to /api/v1/orders.

    Each request has its own idempotency key, so each makes an order.
    """
    port = free_port()
    with system.running(programs.web(LOOPBACK, port)):
        return _load(system, port, "/api/v1/orders", _headers(system), count)


def send_orders(system: System, port: int, count: int) -> None:
    """Send `count` single orders to the API at `port`. Raises if one is not accepted."""
    send(port, "/api/v1/orders", _headers(system), count)


@contextmanager
def signed_in(port: int, person: Principal) -> Iterator[httpx.Client]:
    """Yield an HTTP client that has signed in as the person at the web application on `port`.

    Raises `httpx.HTTPStatusError` if the sign-in is refused.
    """
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=300, follow_redirects=True) as browser:
        form = {"csrf_token": field_of(browser.get("/anmelden").text, "csrf_token")}
        browser.post("/anmelden", data=form | {"email": person.email, "password": PASSWORD}).raise_for_status()
        yield browser


def field_of(page: str, name: str) -> str:
    """Return the value of the first form field of this name on the page. Fails if there is none."""
    found = re.search(f'name="{name}"[^>]*value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def _headers(system: System) -> Headers:
    tokens = [customer.token for customer in system.customers]

    def headers() -> dict[str, str]:
        key = uuid.uuid4()
        token = tokens[key.int % len(tokens)]
        return {"Idempotency-Key": str(key), "Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    return headers


def minimal(system: System, count: int) -> Load:
    """Start a Flask endpoint that inserts a request's body as one row; measure its answers to `count` POST requests."""
    with system.database.engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE IF NOT EXISTS bare_rows (id bigint GENERATED ALWAYS AS IDENTITY, body text)")
        )
        connection.execute(sa.text(f"GRANT INSERT ON bare_rows TO {DatabaseRole.WORKER}"))
    port = free_port()
    command = [*programs.web(LOOPBACK, port)[:-1], "tests.benchmarks.baselines:create_app()"]
    with system.running(command):
        return _load(system, port, "/rows", lambda: {"Content-Type": "application/json"}, count)


def _load(system: System, port: int, path: str, headers: Headers, count: int) -> Load:
    wait_until(lambda: accepts_connections(port), what="the front")
    send(port, path, headers, count // 10)  # warm
    began, used = time.perf_counter(), system.cpu_seconds()
    took = sorted(send(port, path, headers, count))
    seconds, cpu = time.perf_counter() - began, system.cpu_seconds() - used
    cuts = statistics.quantiles(took, n=100)
    return Load(count / seconds, cuts[49] * 1000, cuts[98] * 1000, cpu / count * 1000)


def send(port: int, path: str, headers: Headers, count: int) -> list[float]:
    """Send `count` POST requests to `path` from 8 clients (`CLIENTS`) at once; return the seconds that each took.

    `headers` is called without arguments for the headers of each request. Raises if a request is not accepted.
    """
    results: SimpleQueue[list[float] | Exception] = SimpleQueue()

    def client(turns: int) -> None:
        try:
            results.put(_talk(port, path, headers, turns))
        except Exception as error:
            results.put(error)

    threads = [threading.Thread(target=client, args=(count // CLIENTS,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    took: list[float] = []
    for thread in threads:
        thread.join()
        result = results.get()
        if isinstance(result, Exception):
            raise result
        took += result
    return took


def _talk(port: int, path: str, headers: Headers, turns: int) -> list[float]:
    took = []
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    for _ in range(turns):
        began = time.perf_counter()
        connection.request("POST", path, BODY, headers())
        answer = connection.getresponse()
        body = answer.read()
        took.append(time.perf_counter() - began)
        if answer.status != 202:
            raise RuntimeError(f"{answer.status} {body[:300]!r}")
    connection.close()
    return took
