"""The auditor of a chaos run: reports what was lost, doubled, left undone or unexplained.

A program of its own, which shares no code with the product, only the names of its tables: `python -m
tests.chaos.auditor RECORD.json`. It exits with 1 if anything is wrong.

RECORD.json is a JSON object with what the run recorded. Times are seconds since 1970.

- `portal`, `registrar`: the URLs of the databases.
- `secret_key`: the key with which the auditor decrypts the SIP passwords.
- `accounts`: the customer numbers that existed before the load.
- `accepted`: the calls that were answered with 202 (`id`, `kind`).
- `unanswered`: how many calls never got an answer, so that it is unknown whether they were accepted.
- `failed`: the errors on which clients stopped.
- `cancelled`: the ids of requests that a client cancelled.
- `answers`: what the API said of each request at the end (`id`, `main`: the customer number of the token's account,
  `kind`, `status`, `step`, `reason`, `customer_number`).
- `bulks`: the ids of bulk files that were sent.
- `pages`: the tries on the portal's pages (`what`, `began`, `ended`, `error`: None if it succeeded).
- `mails`: the mails that arrived (`id`, `to`, `at`).
- `letters`: the letters that were printed.
- `faults`: the faults (`name`, `began`, `ended`, `healed`: seconds until an order went through, None if never).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

# In the order of the report.
from tests.chaos import mail_checks, request_checks, run_checks, site_checks  # noqa: F401
from tests.chaos.evidence import CHECKS, Evidence, Rows
from tests.chaos.mail_checks import second_copies


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    `found` has the findings of each check, as sentences, by the check's name; an empty list if the check found nothing.
    `ends` are rows with `kind`, `status` and `count`: how many requests of each kind have each status.
    """

    found: dict[str, list[str]]
    ends: Rows


def audit(record: dict[str, Any], *, without: Collection[str] = ()) -> Audit:
    """Run all checks on the databases and the record of a run, except the checks named in `without`.

    `record` has the keys that this module's docstring lists; two of them are the URLs of the databases.
    """
    with (
        psycopg.connect(record["portal"], row_factory=dict_row) as portal,
        psycopg.connect(record["registrar"], row_factory=dict_row) as registrar,
    ):
        evidence = Evidence(record, portal, registrar)
        ends = evidence.ask("SELECT kind, status, count(*) FROM requests GROUP BY 1, 2 ORDER BY 1, 2")
        return Audit({name: list(check(evidence)) for name, check in CHECKS.items() if name not in without}, ends)


def report(record: dict[str, Any], result: Audit) -> str:
    """Return the result of an audit as text: requests, mails, pages, faults with times to heal, and findings.

    `record` is the record of the run, with the keys that this module's docstring lists. All findings of a check are
    counted, and the first ten are listed. At the end stand the mails that arrived twice.
    """
    copies = second_copies(record)
    lines = [
        f"accepted: {len(record['accepted'])} ({_counts(call['kind'] for call in record['accepted'])}),"
        f" and {len(record['bulks'])} files",
        f"ended: {'; '.join(_ends(result.ends))}",
        f"told by the API: {len(record['answers'])} requests",
        f"mails that arrived: {len(record['mails'])}, of these second copies: {len(copies)}",
        f"pages: {_counts(one['what'] for one in record['pages'] if one['error'] is None)};"
        f" failed: {_counts(one['what'] for one in record['pages'] if one['error'] is not None) or 'none'}",
        "",
        f"{'fault':<48} {'lasted':>8} {'healed after':>13}",
    ]
    for fault in record["faults"]:
        healed = "never" if fault["healed"] is None else f"{fault['healed']:.1f} s"
        lines.append(f"{fault['name']:<48} {fault['ended'] - fault['began']:>6.1f} s {healed:>13}")
    lines.append("")
    for name, wrong in result.found.items():
        lines.append(f"{'WRONG' if wrong else 'ok':<6} {len(wrong):>4}  {name}")
        lines += [f"             {one}" for one in wrong[:10]]
    if copies:
        lines += ["", f"{'second copy of':<60} {'after':>8}  explained by"]
        lines += [f"{copy.id:<60} {copy.later - copy.earlier:>6.1f} s  {copy.fault or 'NOTHING'}" for copy in copies]
    return "\n".join(lines)


def _counts(words: Iterator[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))


def _ends(ends: Rows) -> Iterator[str]:
    for kind in sorted({row["kind"] for row in ends}):
        yield f"{kind} " + ", ".join(f"{row['count']} {row['status']}" for row in ends if row["kind"] == kind)


def main() -> None:
    """Audit the run whose record the command line names, print the report, and exit with 1 if anything is wrong."""
    record = json.loads(Path(sys.argv[1]).read_text())
    result = audit(record)
    print(report(record, result))
    sys.exit(any(result.found.values()))


if __name__ == "__main__":
    main()
