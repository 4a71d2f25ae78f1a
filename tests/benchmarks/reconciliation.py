"""Measures the scheduled job `registrar`, which compares the trunks of the portal's and the registrar's databases.

The baseline is a bare COPY of the compared tables. A few rows are damaged first, and the job has to find exactly these.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from models.telephony.trunks import provision_key
from models.telephony.weekly_hours import ALL_WEEK
from models.values import block_numbers
from models.vault import Vault, new_sip_secret
from tasks.ports import Forwarding, TrunkRecord
from tests.benchmarks import job
from tests.benchmarks.system import System, vacuum
from tests.factories import prepare
from workers.gateways.registrar import ensure_schema, plain_url

DOMAIN = "sip.example"
OF_EACH = 5
"""How many rows get each kind of damage."""
_AT_ONCE = 10_000
_SEALED = 500
"""How many different SIP passwords the trunks share: encrypting one takes as long as the rest of a trunk.

Decrypting a shared password costs the job as much as decrypting one that no other trunk has.
"""
_FIRST_NUMBER = 49_30_20_000_000
_AT = "2026-01-01 00:00:00+00"

_OURS = {
    "customer_numbers": "number",
    "accounts": "id, customer_number, role, state, name, street, postal_code, city, contact_name, contact_email,"
    " created_at",
    "requests": "id, kind, status, step, main_id, account_id, customer_number, locale, product_key, channels,"
    " area_code, block_size, option_keys, attempts, created_at, updated_at, ended_at",
    "contracts": "id, account_id, request_id, started_at",
    "sip_trunks": "id, account_id, contract_id, request_id, sip_user, domain, secret, channels, state, created_at,"
    " attempts",
    "number_blocks": "area_code, first_number, size, account_id, trunk_id, available_from",
    "call_forwardings": "account_id, condition, target, after_seconds, enabled",
}
_THEIRS = {
    "subscriber": "username, domain, ha1, ha1b",
    "dbaliases": "alias_username, alias_domain, username, domain",
    "usr_preferences": "uuid, username, domain, attribute, value",
    "location": "ruid, username, domain, contact",
    "own_numbers": "first_number, size",
}
_COMPARED = ("sip_trunks", "number_blocks", "call_forwardings"), tuple(_THEIRS)
_FORWARDINGS = (Forwarding("busy", "+493023125900", None, ALL_WEEK), Forwarding("no_answer", "+4989123", 20, ALL_WEEK))

Line = tuple[str, tuple[object, ...]]
"""The name of a table, and the values of one row of it."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The cost of one run of the job `registrar` for `trunks` trunks: seconds, and peak memory in MiB.

    `copy` is the baseline: the seconds of a bare COPY of the compared tables, the mean of one just before the job and
    one just after it.
    """

    trunks: int
    seconds: float
    peak: float
    """Peak memory in MiB."""
    copy: float
    """Seconds of the bare COPY, the baseline."""


def measure(system: System, trunks: int) -> Reconciled:
    """Fill both databases, damage a few rows and run the job `registrar`. Fails unless it finds exactly the damage."""
    with system.fresh("ours", prepare) as ours, system.fresh("theirs", ensure_schema) as theirs:
        urls = ours, theirs
        environment = system.environment | {"DATABASE_URL": ours, "REGISTRAR_URL": theirs}
        fill(ours, theirs, trunks, Vault(environment["SECRET_KEY"]))
        expected = _spoil(ours, theirs, trunks)
        for url in urls:
            vacuum(url)
        copies = [_copy_all(urls)]
        run = job.measure("registrar", environment)
        copies.append(_copy_all(urls))
    assert (run.outcome, run.found) == ("done", expected), run
    counts = {"compared": trunks + 2 * OF_EACH, "blocks": trunks + OF_EACH, "removed": OF_EACH}
    assert run.counts == counts, run
    return Reconciled(trunks, run.seconds, run.peak, statistics.mean(copies))


def fill(ours: str, theirs: str, trunks: int, vault: Vault) -> None:
    """Write `trunks` trunks, with their accounts, numbers and forwardings, to both databases.

    `ours` is the URL of the portal's database, `theirs` of the registrar's; `vault` encrypts the SIP passwords. Drops
    the constraint that number blocks must not overlap, because checking it takes long.
    """
    secrets = [(secret, vault.seal(secret).decode()) for secret in (new_sip_secret() for _ in range(_SEALED))]
    with psycopg.connect(plain_url(ours)) as our_side, psycopg.connect(plain_url(theirs)) as their_side:
        # These rows keep the rules by themselves; to be told so a million times takes long.
        our_side.execute("SET session_replication_role = replica")
        our_side.execute("ALTER TABLE number_blocks DROP CONSTRAINT ex_number_blocks_overlap")
        for start in range(0, trunks, _AT_ONCE):
            lines: dict[str, list[str]] = {table: [] for table in (*_OURS, *_THEIRS)}
            for place in range(start, min(start + _AT_ONCE, trunks)):
                for table, row in _rows(place, *secrets[place % _SEALED]):
                    lines[table].append("\t".join(map(str, row)))
            for side, tables in ((our_side, _OURS), (their_side, _THEIRS)):
                for table, columns in tables.items():
                    _copy_in(side, f"COPY {table} ({columns}) FROM STDIN", lines[table])


def _copy_in(connection: psycopg.Connection, statement: str, lines: list[str]) -> None:
    with connection.cursor().copy(statement.encode()) as copy:
        copy.write("".join(line + "\n" for line in lines))


def _rows(place: int, secret: str, sealed: str) -> Iterator[Line]:
    """Yield the rows of one account, of its trunk with one number, and of the trunk at the registrar.

    Each is the name of a table and its values. `place` is the number of the account, from 0 on; `secret` is the trunk's
    SIP password, `sealed` the same encrypted. Every second account was ordered at the portal, the others were imported.
    Every third has two call forwardings.
    """
    id, number, first = place + 1, 1_000_000 + place, _FIRST_NUMBER + place
    # All over the order of SIP users, as random ones are, and never the same twice.
    user = f"t{place * 618_033_988_749 % 10**12:012d}"
    request = uuid.UUID(int=id) if place % 2 else None
    asked = request or r"\N"
    yield "customer_numbers", (number,)
    address = ("Alter Markt 1", "10115", "Berlin", "Kim Beispiel", "kim@example.com")
    yield "accounts", (id, number, "standalone", "active", f"Standort {number}", *address, _AT)
    if request:
        order = ("order", "completed", "confirm", id, id, number, "de", "trunk-10", 4, "030", 1, "{}", 0, _AT, _AT, _AT)
        yield "requests", (request, *order)
    yield "contracts", (id, id, asked, _AT)
    yield "sip_trunks", (id, id, id, asked, user, DOMAIN, sealed, 4, "active", _AT, 0)
    yield "number_blocks", ("030", first, 1, id, id, _AT)
    forwardings = _FORWARDINGS if place % 3 == 0 else ()
    for one in forwardings:
        yield "call_forwardings", (id, one.condition, one.target, one.after_seconds or r"\N", "true")
    key, numbers = provision_key(request, user), block_numbers(first, 1)
    record = TrunkRecord(key, user, DOMAIN, secret, 4, numbers, "10115", forwardings)
    yield "own_numbers", (first, 1)
    yield "location", (user, user, DOMAIN, f"sip:{user}@192.0.2.7")
    yield "subscriber", (user, DOMAIN, record.ha1, record.ha1b)
    for alias in record.numbers:
        yield "dbaliases", (alias, DOMAIN, user, DOMAIN)
    for name, value in record.preferences.items():
        yield "usr_preferences", (record.key, user, DOMAIN, name, value)


def _spoil(ours: str, theirs: str, trunks: int) -> dict[str, int]:
    """Damage the databases in ten ways, each time `OF_EACH` rows.

    Return how many findings of each kind the measured job, `registrar`, must then make. `ours` is the URL of the
    portal's database, `theirs` of the registrar's. Each has `trunks` trunks.
    """
    with psycopg.connect(plain_url(ours)) as our_side, psycopg.connect(plain_url(theirs)) as their_side:
        step = trunks // (5 * OF_EACH)
        ids = [place * step + 1 for place in range(5 * OF_EACH)]
        rows = our_side.execute("SELECT sip_user FROM sip_trunks WHERE id = ANY(%s) ORDER BY id", [ids]).fetchall()
        missing, secret, numbers, doubled, closed = ([user for [user] in rows[kind::5]] for kind in range(5))
        for table in ("subscriber", "dbaliases", "usr_preferences"):
            their_side.execute(f"DELETE FROM {table} WHERE username = ANY(%s)".encode(), [missing])
        their_side.execute("UPDATE subscriber SET ha1 = 'x' WHERE username = ANY(%s)", [secret])
        their_side.execute("DELETE FROM dbaliases WHERE username = ANY(%s)", [numbers])
        their_side.execute(
            "INSERT INTO usr_preferences (username, domain, attribute, value)"
            " SELECT username, domain, attribute, value FROM usr_preferences"
            " WHERE username = ANY(%s) AND attribute = 'channels'",
            [doubled],
        )
        their_side.execute(
            "INSERT INTO subscriber (username, domain) SELECT 's' || n, %s FROM generate_series(1, %s) AS n",
            [DOMAIN, OF_EACH],
        )
        their_side.execute(
            "INSERT INTO location (ruid, username, domain) SELECT 'r' || n, 'r' || n, %s"
            " FROM generate_series(1, %s) AS n",
            [DOMAIN, OF_EACH],
        )
        forgotten = [_FIRST_NUMBER + id - 1 for id in ids[:OF_EACH]]
        their_side.execute("DELETE FROM own_numbers WHERE first_number = ANY(%s)", [forgotten])
        their_side.execute("INSERT INTO own_numbers SELECT n, 1 FROM generate_series(1, %s) AS n", [OF_EACH])
        their_side.execute(
            "UPDATE usr_preferences SET value = '+49891 0 10080' WHERE attribute = 'forward.busy.0' AND username ="
            " ANY(%s)",
            [numbers],
        )
        our_side.execute("UPDATE sip_trunks SET state = 'closed' WHERE sip_user = ANY(%s)", [closed])
    return {
        "missing_there": OF_EACH,
        "differs_there": 2 * OF_EACH,
        "doubled_there": OF_EACH,
        "unknown_there": 2 * OF_EACH,
        "still_there": OF_EACH,
        "block_missing_there": OF_EACH,
        "block_unknown_there": OF_EACH,
    }


def _copy_all(urls: tuple[str, str]) -> float:
    """Read from both databases, by COPY, the tables that the job `registrar` compares; return the seconds."""
    began = time.perf_counter()
    for url, tables in zip(urls, _COMPARED, strict=True):
        with psycopg.connect(plain_url(url)) as connection:
            for table in tables:
                with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                    for _ in copy:
                        pass
    return time.perf_counter() - began
