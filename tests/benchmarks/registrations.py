"""Measures the registrations a second that Kamailio takes, by the number of subscribers in its database.

sipp plays the phones. Each one renews a registration that is still valid, as phones do before it expires.
"""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import psycopg

from tests.benchmarks.system import System, vacuum
from tests.sip.sipp import write_scenario
from tests.sip.steps import registering
from workers.gateways.registrar import ensure_schema, plain_url
from workers.settings import SIP_DOMAIN

CLIENTS = 8
"""How many phones register at the same time."""
FEW = 100
_SECRET = "one-for-all"
_PHONE = "127.0.0.9:5999"
_FILL = """
WITH users AS (
    INSERT INTO subscriber (username, domain, ha1)
    SELECT username, %(domain)s::text, md5(username || ':' || %(domain)s::text || ':' || %(secret)s::text)
    FROM generate_series(1, %(count)s::bigint) AS n,
        LATERAL (SELECT 't' || lpad((n * 618033988749 %% 1000000000000)::text, 12, '0') AS username) AS named
    RETURNING username
), preferences AS (
    INSERT INTO usr_preferences (username, domain, attribute, value)
    SELECT username, %(domain)s::text, attribute, value
    FROM users, (VALUES ('provision_key', '1'), ('channels', '4'), ('postal_code', '10179')) AS known (attribute, value)
)
INSERT INTO location (ruid, username, domain, contact, expires, last_modified)
SELECT 'bench-' || username, username, %(domain)s::text, 'sip:' || username || '@' || %(phone)s::text,
    (now() + interval '1 hour') AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM users
"""


@dataclass(frozen=True, slots=True)
class Rates:
    """Registrations a second, one figure a round: with many subscribers in Kamailio's database, and with few (100)."""

    many: list[float]
    few: list[float]


def measure(system: System, subscribers: int, registrations: int, rounds: int) -> Rates:
    """Measure how fast Kamailio takes registrations, in turns with many subscribers and with `FEW` (100).

    Each of the `rounds` rounds makes `registrations` registrations and gives one figure; a round before them is not
    counted. Raises if a registration fails.
    """
    rates = Rates([], [])
    sides = ((subscribers, rates.many), (FEW, rates.few))
    with ExitStack() as stack:
        loads = []
        for count, found in sides:
            url = stack.enter_context(system.fresh(f"subscribers_{count}", partial(_fill, count)))
            server = stack.enter_context(system.kamailio(url))
            loads.append((partial(_per_second, system.directory, server, _users(url, registrations)), found))
        for round_ in range(rounds + 1):
            for load, found in loads:
                rate = load()
                # The first one connects, and fills the caches.
                if round_:
                    found.append(rate)
    return rates


def _fill(count: int, url: str) -> None:
    ensure_schema(url)
    with psycopg.connect(plain_url(url)) as connection:
        facts = {"count": count, "domain": SIP_DOMAIN, "secret": _SECRET, "phone": _PHONE}
        connection.execute(_FILL, facts)
    vacuum(url)


def _users(url: str, registrations: int) -> list[str]:
    """Return the SIP user of each registration, in random order; all subscribers come before one is repeated."""
    with psycopg.connect(plain_url(url)) as connection:
        users = [user for (user,) in connection.execute("SELECT username FROM subscriber")]
    random.Random(5).shuffle(users)
    return list(islice(cycle(users), registrations))


def _per_second(directory: Path, server: str, users: list[str]) -> float:
    scenario, who = directory / "register.xml", directory / "register.csv"
    contact = f"<sip:[field0]@{_PHONE}>"
    write_scenario(scenario, registering(f"[field0]@{SIP_DOMAIN}", contact, "\n[field1]", expires=3600))
    lines = [f"{user};[authentication username={user} password={_SECRET}]" for user in users]
    who.write_text("\n".join(["SEQUENTIAL", *lines, ""]))
    # As many as there are clients, and the next as soon as one is done.
    load = ["-m", str(len(users)), "-l", str(CLIENTS), "-r", "100000"]
    where = [server, "-i", "127.0.0.1", "-nostdin", "-timeout", "300s", "-timeout_error"]
    began = time.perf_counter()
    done = subprocess.run(
        ["sipp", "-sf", str(scenario), "-inf", str(who), *load, *where], cwd=directory, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return len(users) / seconds
