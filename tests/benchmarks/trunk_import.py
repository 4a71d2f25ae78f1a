"""Measures `standorte trunks import` from Kamailio's tables: `python -m tests.benchmarks.trunk_import --trunks 100000`.

Each trunk belongs to a different account and has ten numbers. Each of the two imports is a process of its own; the
second finds nothing new.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg

from models import migrations
from models.contracts import catalogue
from models.db.session import Database
from models.telephony.area_codes import load_area_codes
from tests.benchmarks.customer_import import customers
from tests.benchmarks.customer_import import measure as import_customers
from workers.gateways.registrar import ensure_schema, plain_url
from workers.stack.postgres import EmbeddedPostgres

_FIRST = 3_000_000
_HEADER = "customer_number;sip_user;channels;product;monthly_price;started_on\n"
_RUN = """
import re, sys, time, workers.cli
from contextlib import closing
from pathlib import Path
from models.db.session import Database
from models.values import utc_now
from models.vault import Vault
from workers.accounts.trunk_import import TrunkImport, open_trunks
from workers.gateways.subscribers import KamailioSubscribers

began = time.perf_counter()
there = KamailioSubscribers(sys.argv[2])
with closing(Database(sys.argv[1])) as database, open_trunks(Path(sys.argv[3])) as trunks:
    run = TrunkImport(database, there, Vault("a key"), utc_now, "sip.example", print, lambda _: None)
    summary = run.run(trunks)
assert not summary.bad
seconds = time.perf_counter() - began
# Not getrusage: its peak includes what the parent had before the exec.
[kibibytes] = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(summary.fates.total(), seconds, int(kibibytes) / 1024)
"""


def fill_registrar(url: str, trunks: int) -> None:
    """Write `trunks` subscribers to Kamailio's database at `url`, each with a password digest (HA1) and ten aliases."""
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(
            "INSERT INTO subscriber (username, domain, ha1, ha1b) SELECT 'old' || n, 'sip.example', md5(n::text), ''"
            " FROM generate_series(1, %s) AS n",
            [trunks],
        )
        connection.execute(
            "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
            " SELECT '+49521' || (1000000 + n * 10 + digit), 'sip.example', 'old' || n, 'sip.example'"
            " FROM generate_series(1, %s) AS n, generate_series(0, 9) AS digit",
            [trunks],
        )
        connection.execute("ANALYZE")


def main() -> None:
    """Import trunks into a fresh PostgreSQL twice; print the rows a second and the peak memory of each run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trunks", type=int, default=10_000)
    count = parser.parse_args().trunks
    with tempfile.TemporaryDirectory() as directory:
        postgres = EmbeddedPostgres(Path(directory) / "postgres", fsync=False)
        postgres.start(("standorte", "registrar"))
        try:
            portal, registrar = postgres.url("standorte"), postgres.url("registrar")
            with closing(Database(portal)) as database:
                migrations.upgrade(database.engine)
                with database.transaction() as session:
                    catalogue.load_price_list(session)
                    load_area_codes(session)
            ensure_schema(registrar)
            file = Path(directory) / "customers.csv"
            with file.open("w", encoding="utf-8") as out:
                out.writelines(customers(count, _FIRST))
            import_customers(portal, file)
            fill_registrar(registrar, count)
            with file.open("w", encoding="utf-8") as out:
                out.write(_HEADER)
                out.writelines(f"{_FIRST + n - 1};old{n};8;trunk-10;17,50;2019-04-01\n" for n in range(1, count + 1))
            print(f"{'trunks':>8}  {'numbers':>9}  {'':<6}  {'trunks/s':>8}  {'peak MiB':>8}")
            for words in ("new", "again"):
                command = [sys.executable, "-c", _RUN, portal, registrar, str(file)]
                said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
                rows, seconds, mebibytes = int(said[0]), float(said[1]), float(said[2])
                rate = rows / seconds
                print(f"{rows:>8,}  {rows * 10:>9,}  {words:<6}  {rate:>8,.0f}  {mebibytes:>8.0f}", flush=True)
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
