"""Measures speed and memory of `standorte accounts import`: `python -m tests.benchmarks.customer_import`.

Each run is a process of its own. Files of 1,000 and of 100,000 customers are imported into one fresh PostgreSQL, each
twice: the second time nothing is new.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from models import migrations
from models.db.session import Database
from workers.stack.postgres import EmbeddedPostgres

TOWNS = (("33602", "Bielefeld", "0521"), ("20095", "Hamburg", "040"), ("50667", "Köln", "0221"))
HEADER = "customer_number;name;street;postal_code;city;contact_name;contact_email;contact_phone\n"

_RUN = """
import re, sys, time
from contextlib import closing
from pathlib import Path
from models.db.session import Database
from models.values import utc_now
from workers.accounts.customer_import import AccountImport
from workers.accounts.customer_file import open_customers

began = time.perf_counter()
with closing(Database(sys.argv[1])) as database, open_customers(Path(sys.argv[2])) as customers:
    summary = AccountImport(database, utc_now, print, lambda _: None).run(customers)
assert not summary.bad
seconds = time.perf_counter() - began
# Not getrusage: its peak includes what the parent had before the exec.
[kibibytes] = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(seconds, int(kibibytes) / 1024)
"""


def customers(rows: int, first: int) -> Iterator[str]:
    """Yield the lines of a CSV file: a header and `rows` customers with successive customer numbers from `first` on.

    They have umlauts and phone numbers as people write them, so that the import has to convert and normalise them.
    """
    yield HEADER
    for place in range(rows):
        postal_code, town, area_code = TOWNS[place % len(TOWNS)]
        yield (
            f"{first + place};Müller {place} GmbH;Große Str. {place % 90 + 1};{postal_code};{town};Erika Müller;"
            f"kontakt{place}@example.de;{area_code} 99998-{place % 1000:03d}\n"
        )


def measure(url: str, file: Path) -> tuple[float, float]:
    """Import the file into the database in a process of its own. Return its seconds and its peak memory in MiB."""
    command = [sys.executable, "-c", _RUN, url, str(file)]
    seconds, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(mebibytes)


def main() -> None:
    """Import two files, each twice, into a fresh PostgreSQL; print a table of rows a second and peak memory."""
    with tempfile.TemporaryDirectory() as directory:
        postgres = EmbeddedPostgres(Path(directory) / "postgres", fsync=False)
        postgres.start(("standorte",))
        try:
            url = postgres.url("standorte")
            with closing(Database(url)) as database:
                migrations.upgrade(database.engine)
            file = Path(directory) / "customers.csv"
            print(f"{'rows':>8}  {'':<6}  {'rows/s':>7}  {'peak MiB':>8}")
            for rows, first in ((1_000, 2_000_000), (100_000, 3_000_000)):
                with file.open("w", encoding="utf-8") as out:
                    out.writelines(customers(rows, first))
                for words in ("new", "again"):
                    seconds, mebibytes = measure(url, file)
                    print(f"{rows:>8,}  {words:<6}  {rows / seconds:>7,.0f}  {mebibytes:>8.0f}")
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
