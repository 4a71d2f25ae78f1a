"""The auditor of a chaos run: reads what is left and reports what was lost, doubled, left undone or unexplained.

A program of its own, which shares no code with the product, only the names of its tables:
`python -m tests.chaos.auditor RECORD.json`. It ends with 1 if anything is wrong.

RECORD.json is what the run recorded: `portal` and `registrar`, the URLs of the databases; `secret_key`, with which it
decrypts the SIP passwords; `accepted`, the calls that were answered with 202 (`id`, `kind`); `unanswered`, how many
calls never got an answer, so that nobody knows whether they were accepted; `failed`, errors on which clients stopped;
`cancelled`, the ids of requests that a client cancelled; `mails` that arrived (`id`, `to`, `at`); `letters` that were
printed; `faults` (`name`, `began`, `ended`, `healed`: seconds, None if never). Times are seconds since 1970.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from tests.named_functions import named

ENDED = {"completed", "rejected", "cancelled"}
LAST_CODES = {"completed", "rejected", "cancelled"}
AFTER_THE_END = {"confirmed", "mail_refused"}
"""What is told after the end of a request: how the mails about the end went."""
MAY_DOUBLE = ("mail", "kill", "database", "worker", "stopped", "clock")
"""Words of the names of faults after which a mail may arrive twice: what was sent could not be recorded."""
EXPLAINED_FOR = 60.0
"""Seconds after a fault for which it explains a second copy of a mail: the longest time until one is sent again."""
STANDS_STILL = "30 seconds"
HEALS_WITHIN = 60.0
"""Seconds after a fault in which an order has to go through again."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the auditor reads: the record of the chaos run, the portal's database and the registrar's database."""

    record: dict[str, Any]
    portal: psycopg.Connection[dict[str, Any]]
    registrar: psycopg.Connection[dict[str, Any]]

    def ask(self, question: str) -> Rows:
        """Return the rows of an SQL query on the portal's database."""
        return self.portal.execute(question.encode()).fetchall()

    def password_digest(self, trunk: dict[str, Any]) -> str:
        """Return the digest (HA1) that the registrar should have for a trunk, from its encrypted password."""
        key = hashlib.sha256(f"standorte/vault/1:{self.record['secret_key']}".encode()).digest()
        password = Fernet(base64.urlsafe_b64encode(key)).decrypt(trunk["secret"]).decode()
        return hashlib.md5(f"{trunk['sip_user']}:{trunk['domain']}:{password}".encode()).hexdigest()

    def ask_registrar(self, question: str) -> Rows:
        """Return the rows of an SQL query on the registrar's database."""
        return self.registrar.execute(question.encode()).fetchall()


Check = Callable[[Evidence], Iterator[str]]
CHECKS: dict[str, Check] = {}


_check = partial(named, CHECKS)


@_check("lost: accepted, and not there")
def lost(evidence: Evidence) -> Iterator[str]:
    """Find calls of the API that were answered with 202 but whose request is not in the database."""
    known = {str(row["id"]) for row in evidence.ask("SELECT id FROM requests")}
    for call in evidence.record["accepted"]:
        if call["id"] not in known:
            yield f"{call['kind']} {call['id']}"


@_check("answers that no client expected")
def unexpected(evidence: Evidence) -> Iterator[str]:
    """Find errors on which a client of the load stopped."""
    yield from evidence.record["failed"]


@_check("doubled: there, and never accepted")
def invented(evidence: Evidence) -> Iterator[str]:
    """Find requests that no call explains, and bulk files with more or fewer requests than rows."""
    asked = {call["id"] for call in evidence.record["accepted"]}
    there = {str(row["id"]) for row in evidence.ask("SELECT id FROM requests WHERE bulk_id IS NULL")}
    unknown = sorted(there - asked)
    if len(unknown) > evidence.record["unanswered"]:
        yield f"{len(unknown)} requests, {evidence.record['unanswered']} calls without an answer: {unknown[:5]}"
    for row in evidence.ask(
        "SELECT bulk_id, count(*) FROM requests WHERE bulk_id IS NOT NULL GROUP BY bulk_id"
        " HAVING count(*) <> (SELECT count(*) FROM bulk_rows WHERE bulk_rows.bulk_id = requests.bulk_id)"
    ):
        yield f"bulk {row['bulk_id']} has {row['count']} requests"


@_check("not ended")
def unended(evidence: Evidence) -> Iterator[str]:
    """Find requests that are not completed; those that a customer cancelled may have any final status."""
    cancelled = set(evidence.record["cancelled"])
    for row in evidence.ask("SELECT id, kind, status, step, reason FROM requests ORDER BY id"):
        wanted = ENDED if str(row["id"]) in cancelled else {"completed"}
        if row["status"] not in wanted:
            yield f"{row['kind']} {row['id']} is {row['status']} ({row['reason']}) at {row['step']}"


@_check("doubled or missing at the end: account, contract, charge, trunk, numbers")
def provisioned_once(evidence: Evidence) -> Iterator[str]:
    """Find completed orders that do not have exactly one contract, charge, trunk and number block.

    Also find orders that ended otherwise and have one of these.
    """
    for row in evidence.ask(
        """
        SELECT r.id, r.status,
            (SELECT count(*) FROM contracts c WHERE c.request_id = r.id AND c.ended_at IS NULL) AS contracts,
            (SELECT count(*) FROM contracts c JOIN contract_items i ON i.contract_id = c.id
                WHERE c.request_id = r.id AND i.product_key = r.product_key) AS charges,
            (SELECT count(*) FROM sip_trunks t WHERE t.request_id = r.id AND t.state <> 'closed') AS trunks,
            (SELECT count(*) FROM number_blocks b JOIN sip_trunks t ON t.id = b.trunk_id
                WHERE t.request_id = r.id) AS blocks
        FROM requests r WHERE r.kind = 'order'
        """
    ):
        found = [row[name] for name in ("contracts", "charges", "trunks", "blocks")]
        if found != [int(row["status"] == "completed")] * 4 and row["status"] in ENDED:
            yield f"order {row['id']} ({row['status']}): contracts, charges, trunks, blocks are {found}"


@_check("numbers with two owners")
def shared_numbers(evidence: Evidence) -> Iterator[str]:
    """Find numbers that belong to two trunks, in the portal's or the registrar's database."""
    for row in evidence.ask(
        "SELECT a.first_number FROM number_blocks a JOIN number_blocks b ON a.id < b.id"
        " AND a.first_number < b.first_number + b.size AND b.first_number < a.first_number + a.size"
        " WHERE a.trunk_id IS NOT NULL AND b.trunk_id IS NOT NULL"
    ):
        yield f"+{row['first_number']} here"
    for row in evidence.ask_registrar(
        "SELECT alias_username, count(*) FROM dbaliases GROUP BY alias_username HAVING count(*) > 1"
    ):
        yield f"{row['alias_username']} at the registrar: {row['count']} rows"


@_check("registrar differences")
def differences(evidence: Evidence) -> Iterator[str]:
    """Find rows of the registrar that do not agree with the portal's.

    Compared are subscribers, passwords, suspensions, numbers, channels, and the forwardings with their targets.
    """
    trunks = {
        row["sip_user"]: row
        for row in evidence.ask(
            """
            SELECT t.sip_user, t.domain, t.secret, t.channels, t.state,
                coalesce((SELECT array_agg(f.target ORDER BY f.target) FROM call_forwardings f
                    WHERE f.account_id = t.account_id AND f.enabled), '{}') AS targets,
                coalesce((SELECT array_agg('+' || n ORDER BY n) FROM number_blocks b,
                    generate_series(b.first_number, b.first_number + b.size - 1) AS n WHERE b.trunk_id = t.id), '{}')
                    AS numbers
            FROM sip_trunks t WHERE t.state <> 'closed'
            """
        )
    }
    passwords = {row["username"]: row["ha1"] for row in evidence.ask_registrar("SELECT username, ha1 FROM subscriber")}
    for user in sorted(trunks.keys() ^ passwords.keys()):
        yield f"{user} is {'missing' if user in trunks else 'unknown'} there"
    numbers: dict[str, list[str]] = defaultdict(list)
    for row in evidence.ask_registrar("SELECT username, alias_username FROM dbaliases ORDER BY alias_username"):
        numbers[row["username"]].append(row["alias_username"])
    preferences: dict[str, dict[str, str]] = defaultdict(dict)
    for row in evidence.ask_registrar("SELECT username, attribute, value FROM usr_preferences"):
        preferences[row["username"]][row["attribute"]] = row["value"]
    for user, trunk in trunks.items():
        said = preferences[user]
        compared = {
            "password": (passwords.get(user), evidence.password_digest(trunk)),
            "suspended": ("suspended" in said, trunk["state"] == "suspended"),
            "numbers": (numbers[user], trunk["numbers"]),
            "channels": (said.get("channels"), str(trunk["channels"])),
            "forwardings": (
                sorted(value.split()[0] for name, value in said.items() if name.startswith("forward.")),
                trunk["targets"],
            ),
        }
        for what, (there, here) in compared.items():
            if there != here and user in passwords:
                yield f"{what} of {user}: {there} there and {here} here"


@_check("mails owed and not sent, or sent and not owed")
def owed(evidence: Evidence) -> Iterator[str]:
    """Find messages that were not sent, and recipients who did not get as many different mails as were sent to them.

    Also finds whether as many letters were printed as were sent. Mails that were refused for good may have arrived or
    not: a try may have succeeded without an answer.
    """
    for row in evidence.ask("SELECT id, template, channel, attempts FROM messages WHERE state = 'queued'"):
        yield f"message {row['id']} ({row['template']}, {row['channel']}) waits after {row['attempts']} attempts"
    sent = {
        row["recipient_address"]: (row["sent"], row["refused"])
        for row in evidence.ask(
            "SELECT recipient_address, count(*) FILTER (WHERE state = 'sent') AS sent,"
            " count(*) FILTER (WHERE state = 'refused') AS refused FROM messages WHERE channel = 'mail' GROUP BY 1"
        )
    }
    [printed] = evidence.ask("SELECT count(*) FROM messages WHERE state = 'sent' AND channel = 'letter'")
    if printed["count"] != len(evidence.record["letters"]):
        yield f"letters: {printed['count']} sent, {len(evidence.record['letters'])} printed"
    arrived = Counter(to for _, to in {(mail["id"], mail["to"]) for mail in evidence.record["mails"]})
    for address in sorted(sent.keys() | arrived.keys()):
        left, refused = sent.get(address, (0, 0))
        if not left <= arrived[address] <= left + refused:
            yield f"{address}: {left} sent, {refused} refused, {arrived[address]} arrived"


@_check("mails that came twice without a fault that explains it")
def doubled_mails(evidence: Evidence) -> Iterator[str]:
    """Find second copies of mails that no fault explains.

    A fault explains a copy if it may have kept the first sending from being recorded.
    """
    copies: dict[tuple[str, str], list[float]] = defaultdict(list)
    for mail in evidence.record["mails"]:
        copies[mail["id"], mail["to"]].append(mail["at"])
    for (id, _), times in copies.items():
        for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False):
            if not any(
                any(word in fault["name"] for word in MAY_DOUBLE)
                and fault["began"] - 1 <= later <= fault["ended"] + EXPLAINED_FOR
                and earlier <= fault["ended"] + 1
                for fault in evidence.record["faults"]
            ):
                yield f"{id} after {later - earlier:.1f} s"


@_check("timelines out of order")
def timelines(evidence: Evidence) -> Iterator[str]:
    """Find timelines of requests whose times go backwards, or in which anything but mails follows the end."""
    entries: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row in evidence.ask("SELECT request_id, code, at FROM timeline_entries ORDER BY id"):
        entries[str(row["request_id"])].append((row["code"], row["at"]))
    for id, told in entries.items():
        times = [at for _, at in told]
        if times != sorted(times):
            yield f"{id} goes back in time: {[code for code, _ in told]}"
        ends = [place for place, (code, _) in enumerate(told) if code in LAST_CODES]
        # Mails about the end are told after it.
        if len(ends) > 1 or (ends and any(code not in AFTER_THE_END for code, _ in told[ends[0] + 1 :])):
            yield f"{id} goes on after its end: {[code for code, _ in told]}"


@_check("rows that stand still")
def still(evidence: Evidence) -> Iterator[str]:
    """Find tables with rows that have been due, or claimed beyond the end of their leases, for 30 seconds."""
    for table in ("requests", "messages", "sip_trunks", "block_announcements", "bulks", "jobs"):
        for row in evidence.ask(
            f"SELECT count(*), min(due_at) FROM {table}"
            f" WHERE due_at < now() - interval '{STANDS_STILL}' HAVING count(*) > 0"
        ):
            yield f"{row['count']} of {table} since {row['min']:%H:%M:%S}"


@_check("faults that did not heal")
def unhealed(evidence: Evidence) -> Iterator[str]:
    """Find faults after which no order was completed within 60 seconds (`HEALS_WITHIN`)."""
    for fault in evidence.record["faults"]:
        if fault["healed"] is None or fault["healed"] > HEALS_WITHIN:
            yield f"{fault['name']}: {fault['healed']}"


def audit(record: dict[str, Any]) -> dict[str, list[str]]:
    """Return the findings of each check, as sentences, by the check's name; an empty list where nothing is wrong."""
    with (
        psycopg.connect(record["portal"], row_factory=dict_row) as portal,
        psycopg.connect(record["registrar"], row_factory=dict_row) as registrar,
    ):
        evidence = Evidence(record, portal, registrar)
        return {name: list(check(evidence)) for name, check in CHECKS.items()}


def report(record: dict[str, Any], found: dict[str, list[str]]) -> str:
    """Return the result of an audit as text: accepted requests, mails, faults with times to heal, and findings.

    Of each check's findings all are counted, and the first ten are listed.
    """
    kinds = Counter(call["kind"] for call in record["accepted"])
    lines = [f"accepted: {len(record['accepted'])} ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))})"]
    copies = len(record["mails"]) - len({(mail["id"], mail["to"]) for mail in record["mails"]})
    lines.append(f"mails that arrived: {len(record['mails'])}, of these second copies: {copies}")
    lines += ["", f"{'fault':<48} {'lasted':>8} {'healed after':>13}"]
    for fault in record["faults"]:
        healed = "never" if fault["healed"] is None else f"{fault['healed']:.1f} s"
        lines.append(f"{fault['name']:<48} {fault['ended'] - fault['began']:>6.1f} s {healed:>13}")
    lines.append("")
    for name, wrong in found.items():
        lines.append(f"{'WRONG' if wrong else 'ok':<6} {len(wrong):>4}  {name}")
        lines += [f"             {one}" for one in wrong[:10]]
    return "\n".join(lines)


def main() -> None:
    """Audit the run whose record the command line names, print the report, and exit with 1 if anything is wrong."""
    record = json.loads(Path(sys.argv[1]).read_text())
    found = audit(record)
    print(report(record, found))
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
