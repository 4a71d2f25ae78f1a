"""Tests of the section "Setting up" in docs/operations.md, from an empty PostgreSQL to a customer's completed order.

The commands are read from the document. Connections need passwords, no SQL is typed, and there is no demo data.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis
from typer.testing import CliRunner

from models.db.roles import DatabaseRole
from tests.fakes import MailSink, wait_until
from tests.web.conftest import CODE
from tests.workers.conftest import Children
from workers import programs
from workers.cli import cli
from workers.stack.ports import accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres, program
from workers.stack.redis import EmbeddedRedis

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
PASSWORD = "vier Wörter die bleiben"
REDIS_PASSWORD = "p@ss/w:rd % of redis"
PROGRAMS = {"web", "worker", "beat"}
STAFF, CUSTOMER, CONTACT = "bo@carrier.example.com", "maxi@muster.example.com", "hanna.palmer@example.com"
ORDER = {
    "product": "trunk-10",
    "channels": 4,
    "location": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "contact": {"name": "Hanna Palmer", "email": CONTACT, "phone": "+4930901820"},
    "numbers": {"area_code": "030", "block_size": 10},
    "locale": "de",
}


def documented() -> list[str]:
    """Return the command lines of the section "Setting up", in their order."""
    section = DOCUMENT.read_text().partition("\n## Setting up\n")[2].partition("\n## ")[0]
    return re.findall(r"^ {7}(\S.*)$", section, re.M)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Provide a running, empty PostgreSQL server on which every role except the superuser needs a password."""
    found = EmbeddedPostgres(tmp_path / "postgres" / "data", fsync=False)
    found.start()
    (found.data_dir / "pg_hba.conf").write_text("local all standorte trust\nlocal all all scram-sha-256\n")
    with psycopg.connect(found.url("postgres", driver=""), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
    yield found
    found.stop()


def password(role: DatabaseRole) -> str:
    return f"p@ss/w:rd % of {role}"


def url(server: EmbeddedPostgres, database: str, role: DatabaseRole) -> str:
    """Return the URL of a database on the server, with this role's name and password."""
    return server.url(database, f"{role}:{quote(password(role), safe='')}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Provide a running Redis that needs a password."""
    found = EmbeddedRedis(tmp_path / "redis")
    found.start()
    with redis.from_url(found.url()) as client:
        client.config_set("requirepass", REDIS_PASSWORD)
    yield found
    found.stop()


@pytest.fixture
def portal(
    server: EmbeddedPostgres,
    broker: EmbeddedRedis,
    children: Children,
    smtp_sink: MailSink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Set the environment variables of all programs, as an operator does; return the portal's URL."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    settings = {
        "ADMIN_URL": server.url("postgres"),
        "DATABASE_URL": url(server, "standorte", DatabaseRole.WORKER),
        "REGISTRAR_URL": url(server, "registrar", DatabaseRole.WORKER),
        "OWNER_DATABASE_URL": url(server, "standorte", DatabaseRole.OWNER),
        "OWNER_REGISTRAR_URL": url(server, "registrar", DatabaseRole.OWNER),
        "REDIS_URL": f"redis://127.0.0.1:{broker.port}/0",
        "REDIS_PASSWORD": REDIS_PASSWORD,
        "SMTP_URL": smtp_sink.url,
        "SECRET_KEY": "for-development-only: the key of the tests",
        "BASE_URL": base,
        "PORT": str(port),
        "WEB_PROCESSES": "1",
        "WORKER_PROCESSES": "1",
        "LETTERS_DIR": str(tmp_path / "letters"),
        "STANDORTE_DIR": str(tmp_path / "standorte"),
        **{f"{role.name}_PASSWORD": password(role) for role in DatabaseRole},
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return base


def standorte(line: str) -> str:
    """Run a command line of `standorte` in this process, and return its output. Fails unless it succeeds.

    If the line ends with `> FILE`, the output is also written to this file.
    """
    command, _, file = line.partition(" > ")
    said = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert said.exit_code == 0, f"{line}\n{said.output}"
    if file:
        Path(file.strip()).write_text(said.stdout)
    return said.stdout


def run(line: str, server: EmbeddedPostgres, children: Children) -> str:
    """Run a command line of the document with the database role that its program needs; return its output.

    A program that keeps running is only started, and "" is returned.
    """
    name, first, *_ = words = shlex.split(line)
    if name == "psql":
        connected = {"PGHOST": str(server.socket_dir), "PGUSER": "standorte", "PATH": "/usr/bin:/bin"}
        command = [program("psql"), *words[1:]]
        return subprocess.run(command, env=connected, check=True, capture_output=True, text=True).stdout
    if first not in PROGRAMS:
        return standorte(line)
    front = {
        "DATABASE_URL": url(server, "standorte", DatabaseRole.FRONT),
        "REGISTRAR_URL": url(server, "registrar", DatabaseRole.FRONT),
    }
    children.start_as_operators(programs.console(*words[1:]), **(front if first == "web" else {}))
    return ""


def is_well() -> bool:
    return CliRunner().invoke(cli, ["doctor"]).exit_code == 0


def mailed(sink: MailSink, address: str, pattern: str) -> str:
    """Wait until a mail to this address matches the pattern; return the match's first group.

    If several mails match, the newest counts.
    """

    def found() -> list[str]:
        bodies = [mail.get_body(("plain",)) for recipient, mail in sink.received if recipient == address]
        said = [re.search(pattern, body.get_content()) for body in bodies if body is not None]
        return [words[1] for words in said if words is not None]

    wait_until(found, seconds=120, what=f"a mail to {address}")
    return found()[-1]


def post(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Open the page at `path`, submit its form with these fields, and return the page that follows."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get(path).raise_for_status().text)
    assert token is not None
    return browser.post(path, data={"csrf_token": token[1], **fields}).raise_for_status()


@contextmanager
def signed_in(base: str, sink: MailSink, address: str) -> Iterator[httpx.Client]:
    """Set a user's first password by the link in the mail to `address`, sign in, and yield the browser.

    `base` is the portal's URL. The browser is an HTTP client; it is closed at the end of the `with` block.
    """
    with httpx.Client(base_url=base, follow_redirects=True, timeout=60) as browser:
        post(browser, mailed(sink, address, rf"{base}(/passwort/\S+)"), password=PASSWORD)
        post(browser, "/anmelden", email=address, password=PASSWORD)
        yield browser


def test_the_documented_sequence_leads_from_nothing_to_a_completed_order(
    portal: str, server: EmbeddedPostgres, children: Children, smtp_sink: MailSink
) -> None:
    lines = documented()
    needed = PROGRAMS | {"roles", "migrate", "prices", "numbers", "users", "accounts"}
    assert needed <= {line.split()[1] for line in lines}
    port = int(portal.rpartition(":")[2])
    said = {}
    for line in lines:
        if line == "standorte doctor":
            wait_until(lambda: accepts_connections(port), seconds=120, what="the front")
            wait_until(is_well, seconds=120, what="a doctor with no complaint")
        said[line] = run(line, server, children)
    number = next(words.split()[0] for line, words in said.items() if "accounts create" in line)
    assert STAFF in said["standorte users list --staff"]

    with signed_in(portal, smtp_sink, STAFF) as staff:
        # The back office opens with a second factor.
        assert "zweiten Faktor" in staff.get("/backoffice").text
    with signed_in(portal, smtp_sink, CUSTOMER) as customer:
        assert number in customer.get("/standortverwaltung").raise_for_status().text
        ordered = order_and_prove(portal, number, smtp_sink)
        assert ordered in customer.get("/standortverwaltung").raise_for_status().text
        mailed(smtp_sink, CUSTOMER, rf"({ordered})")
        standorte(f"standorte users disable {CUSTOMER}")
        assert "/anmelden" in str(customer.get("/standortverwaltung").url)
    listed = standorte("standorte numbers show --area-code 030").split()
    assert listed[-6:] == ["10", "9", "0", "1", "0", "0"]


def order_and_prove(portal: str, number: str, smtp_sink: MailSink) -> str:
    """Order a location through the API, give its proofs, and wait until the order is completed.

    `number` is the main account's customer number. Return the customer number of the new account.
    """
    token = standorte(f"standorte tokens create --account {number} --name shop").strip()
    with httpx.Client(base_url=f"{portal}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
        [trunk] = [one for one in api.get("/products").json()["items"] if one["key"] == "trunk-10"]
        assert (trunk["monthly_cents"], trunk["one_off_cents"]) == (2490, 2900)
        ordered = api.post("/orders", json=ORDER, headers={"Idempotency-Key": "order-1"}).raise_for_status().json()
        request = f"/requests/{ordered['id']}"
        code = mailed(smtp_sink, CONTACT, CODE)
        proof = {"kind": "email_code", "code": code}
        api.post(f"{request}/proofs", json=proof, headers={"Idempotency-Key": "proof-1"}).raise_for_status()
        document = {"file": ("proof.pdf", b"%PDF-1.7", "application/pdf")}
        headers = {"Idempotency-Key": "document-1"}
        api.post(f"{request}/address-document", files=document, headers=headers).raise_for_status()
        standorte(f"standorte requests release-address {ordered['id']} --by {STAFF}")
        wait_until(lambda: api.get(request).json()["status"] == "completed", seconds=120, what="the end of the order")
        return str(ordered["customer_number"])
