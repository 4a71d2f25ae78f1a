"""The auditor's checks of mails and letters: each has arrived, and arrived twice only if a fault explains it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.chaos.evidence import Evidence, Rows, check

MAY_DOUBLE = (
    "worker: ",
    "database: restarted",
    "database: connections cut",
    "database: its host silent",
    "mail server: silent",
    "mail server: hangs up after DATA",
)
"""Beginnings of the names of faults after which a mail may arrive twice, because its sending could not be recorded.

The worker that sent it was killed, the database did not answer, or the mail server's answer did not come.
"""
UNRECORDED = 5.0
"""The most seconds before a fault in which a mail may have been sent without being recorded when the fault began."""


@check("mails owed and not sent, or sent and not owed")
def owed(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each message that was not sent, and for each recipient with too few or too many mails.

    A second copy of a mail is not counted. A mail that the server refused for good may have arrived or not: an earlier
    try may have succeeded without an answer. Yield another finding if the number of printed letters differs from the
    number of letters sent.
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


@dataclass(frozen=True, slots=True)
class SecondCopy:
    """A mail that arrived a second time.

    `id` is its Message-ID, `to` the recipient, `earlier` and `later` are when the two copies came (seconds since 1970),
    `fault` is the name of the fault that explains the second copy, None if none does.
    """

    id: str
    to: str
    earlier: float
    later: float
    fault: str | None


def second_copies(record: dict[str, Any]) -> list[SecondCopy]:
    """Return the second copies of mails, each with the fault that explains it, in the order of arrival.

    `record` is the record of a chaos run (`tests/chaos/auditor.py` lists its keys).
    A fault explains a second copy if it may have prevented the portal from recording that the first copy was sent. The
    time of the second copy does not matter, because it may have waited behind all other mails.
    """
    copies: dict[tuple[str, str], list[float]] = defaultdict(list)
    for mail in record["mails"]:
        copies[mail["id"], mail["to"]].append(mail["at"])
    found = [
        SecondCopy(id, to, earlier, later, _cause(record["faults"], earlier))
        for (id, to), times in copies.items()
        for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False)
    ]
    return sorted(found, key=lambda copy: copy.later)


def _cause(faults: Rows, first: float) -> str | None:
    for fault in faults:
        if fault["name"].startswith(MAY_DOUBLE) and fault["began"] - UNRECORDED <= first <= fault["ended"] + 1:
            return str(fault["name"])
    return None


@check("mails that came twice without a fault that explains it")
def doubled_mails(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each second copy of a mail that no fault explains."""
    for copy in second_copies(evidence.record):
        if copy.fault is None:
            yield f"{copy.id} after {copy.later - copy.earlier:.1f} s"
