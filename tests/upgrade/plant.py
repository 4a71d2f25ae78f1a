"""The servers, programs and customers of an upgrade test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
from psycopg import sql

from models.db.roles import DatabaseRole
from tests.benchmarks.front import BODY
from tests.benchmarks.system import open_servers, vacuum
from tests.chaos.mail_server import MoodyMailServer
from tests.chaos.plant import LEASE, SECRET, Program
from tests.factories import UNLIMITED
from tests.fakes import wait_until
from tests.hosts.record import Record
from tests.plain_http import call
from tests.upgrade.filling import Filling
from tests.upgrade.versions import ROOT, Version
from workers.stack.ports import LOOPBACK, free_port
from workers.stack.postgres import EmbeddedPostgres

PATIENCE = 300.0
"""The most seconds to wait for programs and orders; they are many, because the machine may be busy."""
_FIRST_ORDERS = 40
"""How many orders are placed whose rows are then copied."""
_REPORTED = ("requests", "users", "messages", "accounts", "audit_entries", "timeline_entries")
_REPORT = 2.0
"""Seconds for which each transaction of a report stays open."""
_DONE = """
SELECT NOT EXISTS (SELECT FROM requests WHERE due_at IS NOT NULL OR status <> 'completed')
    AND NOT EXISTS (SELECT FROM messages WHERE due_at IS NOT NULL)
"""


@dataclass
class Plant:
    """The servers of an upgrade test, and the programs that run with them. `tokens` are the customers' API tokens.

    `records` are what customers saw: one record for each web front end under load.
    """

    directory: Path
    postgres: EmbeddedPostgres
    environment: dict[str, str]
    tokens: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    _programs: dict[str, list[Program]] = field(default_factory=dict)

    @property
    def superuser(self) -> str:
        """Return the URL, in libpq's form, by which the superuser connects to the portal's database."""
        return self.postgres.url("standorte", driver="")

    def migrate(self, version: Version) -> str:
        """Run the version's `standorte migrate`; return what it printed. Raises `AssertionError` if it fails."""
        return version.run(version.console("migrate", "--registrar"), self.environment)

    def make_customers(self, version: Version) -> None:
        """Create customers and number blocks with the code of this version, and store the API tokens in `tokens`."""
        script = [sys.executable, str(ROOT / "tests/upgrade/customers.py"), self.postgres.url("standorte")]
        self.tokens = json.loads(version.run(script, self.environment))

    def start(self, version: Version) -> str:
        """Start a web front end, a worker and a beat of the version; return the front end's URL when it is ready."""
        port = free_port()
        url = f"http://{LOOPBACK}:{port}"
        environment = version.environment() | self.environment | {"PORT": str(port), "BASE_URL": url}
        schedule = str(self.directory / f"{version.revision}.schedule")
        commands = {"web": ["web"], "worker": ["worker"], "beat": ["beat", "--schedule", schedule]}
        self._programs[version.name] = [
            Program(f"{version.revision}-{name}", version.console(*command), environment, self.directory, version.root)
            for name, command in commands.items()
        ]
        wait_until(partial(_is_ready, url), seconds=PATIENCE, what=f"the front of {version.name}")
        return url

    def end(self, version: Version) -> None:
        """Send SIGTERM to the version's web front end, worker and beat, one after the other; wait until each has ended.

        They finish what they have begun, as in an upgrade; they are killed if that takes more than 20 seconds.
        """
        for program in self._programs.pop(version.name, []):
            program.end()

    def end_all(self) -> None:
        """End all programs of all versions, one after the other: by SIGTERM, or by SIGKILL after 20 seconds."""
        for programs in self._programs.values():
            for program in programs:
                program.end()

    def fill(self, url: str, rows: int) -> int:
        """Place some orders at the web front end `url`, and copy their rows until there are about `rows` more rows.

        Return how many rows were added.
        """
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            filling = Filling(connection)
            with filling:
                for number in range(_FIRST_ORDERS):
                    token = self.tokens[number % len(self.tokens)]
                    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
                    headers["Content-Type"] = "application/json"
                    call("POST", f"{url}/api/v1/orders", content=BODY, headers=headers, timeout=60).raise_for_status()
                wait_until(
                    lambda: bool(connection.execute(_DONE).fetchall()[0][0]), seconds=PATIENCE, what="the first orders"
                )
            added = filling.copy(rows)
        vacuum(self.superuser)
        return added

    @contextmanager
    def load(self, name: str, url: str, rate: float) -> Iterator[None]:
        """Run customers who place `rate` orders a second at the web front end `url`, for the time of a `with` block.

        The block begins when the first order has been accepted. `name` names the files of the customers' record and
        log. Raises `AssertionError` if the load has ended with an error.
        """
        task, file = self.directory / f"{name}.json", self.directory / f"{name}.jsonl"
        # No connection is kept: no proxy stands before this front that would send a call again on another one.
        task.write_text(json.dumps({"url": url, "ca": None, "tokens": self.tokens, "rate": rate, "kept": 0}))
        file.touch()
        self.records.append(Record(file))
        command = [sys.executable, "-m", "tests.hosts.load", str(task), str(file)]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=log, stderr=log)
        try:
            wait_until(lambda: b'"accepted"' in file.read_bytes(), seconds=PATIENCE, what="the first order of the load")
            yield
        finally:
            process.terminate()
            if process.wait(150) != 0:
                raise AssertionError(f"the load ended: {(self.directory / f'{name}.log').read_text()[-2000:]}")

    @contextmanager
    def reports(self) -> Iterator[None]:
        """Read large tables in turn during the `with` block, each in a transaction that stays open for two seconds.

        Jobs, backups and people with psql do the same. While a migration waits for such a transaction, it must not
        block others.
        """
        over = threading.Event()

        def read() -> None:
            with psycopg.connect(self.superuser, autocommit=True) as connection:
                for table in cycle(_REPORTED):
                    with connection.transaction():
                        connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
                        if over.wait(_REPORT):
                            return

        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(read)
            try:
                yield
            finally:
                over.set()
            reading.result()

    def not_completed(self) -> list[str]:
        """Return texts about up to 100 accepted orders that are not completed: "ID: STATUS", or "ID: lost".

        An order is lost if it is not stored.
        """
        accepted = [one.id for record in self.records for one in record.accepted]
        with psycopg.connect(self.superuser) as connection:
            found = connection.execute(
                "SELECT coalesce(asked.id || ': ' || requests.status, asked.id || ': lost')"
                " FROM unnest(%s::text[]) AS asked (id) LEFT JOIN requests ON requests.id = asked.id::uuid"
                " WHERE requests.status IS DISTINCT FROM 'completed' LIMIT 100",
                [accepted],
            )
            return [one for (one,) in found.fetchall()]


@contextmanager
def open_plant() -> Iterator[Plant]:
    """Start servers with empty databases for the time of a `with` block, and yield them as a `Plant`.

    No program of the portal runs yet; those that are started are ended after the block.
    """
    with ExitStack() as stack:
        directory, postgres, broker = stack.enter_context(open_servers(fsync=False, migrated=False))
        mail = MoodyMailServer()
        stack.callback(mail.stop)
        environment = {
            "DATABASE_URL": postgres.url("standorte", DatabaseRole.WORKER),
            "FRONT_DATABASE_URL": postgres.url("standorte", DatabaseRole.FRONT),
            "OWNER_DATABASE_URL": postgres.url("standorte", DatabaseRole.OWNER),
            "REGISTRAR_URL": postgres.url("registrar", DatabaseRole.WORKER),
            "FRONT_REGISTRAR_URL": postgres.url("registrar", DatabaseRole.FRONT),
            "OWNER_REGISTRAR_URL": postgres.url("registrar", DatabaseRole.OWNER),
            "REDIS_URL": broker.url(0),
            "SMTP_URL": f"smtp://{LOOPBACK}:{mail.port}",
            "LETTERS_DIR": str(directory / "letters"),
            "LOG_FORMAT": "json",
            "SECRET_KEY": SECRET,
            "LEASE_SECONDS": str(LEASE),
            "STOP_SECONDS": "10",
            "WORKER_PROCESSES": "1",
            **UNLIMITED,
        }
        plant = Plant(directory, postgres, environment)
        stack.callback(plant.end_all)
        yield plant


def _is_ready(url: str) -> bool:
    try:
        return call("GET", f"{url}/readyz", timeout=20).status_code == 200
    except httpx.HTTPError:
        return False
