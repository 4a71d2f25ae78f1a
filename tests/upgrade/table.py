"""The table of an upgrade: for each part, what customers saw and how long statements waited for locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.hosts.record import Record, Try
from tests.hosts.table import aligned
from tests.upgrade.watch import Answer, Wait, Watch

LONGEST_WAIT = 0.5
"""The most seconds that a statement may wait for a lock."""
_HEADS = ("part", "time", "orders", "pages", "5xx", "no answer", "slowest order", "longest wait", "waits for migrate")
_FOOT = """
orders: accepted with 202. 5xx, no answer: of orders and pages. longest wait: of a statement of a front or worker for a
lock; shorter ones than {every:.0f} ms may have been missed. waits for migrate: statements that were seen waiting for
one of the migration."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upgrade, such as "old, while the new one migrates", from `began` to `ended` (seconds since 1970)."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What an upgrade is judged by: the calls of the customers, and what the watch has seen.

    `records` are those calls. `watch` has the answers of the portal's pages, and the waits for locks in PostgreSQL.
    """

    records: Sequence[Record]
    watch: Watch

    def row(self, part: Part) -> list[str]:
        """Return the row about a part of the upgrade for the table of `table`: a text for each column (`_HEADS`)."""
        tries, answers, waits = self._tries(part), self._answers(part), self._waits(part)
        statuses = [one.status for one in tries] + [one.status for one in answers]
        return [
            part.name,
            f"{part.ended - part.began:.0f} s",
            str(sum(one.status == 202 for one in tries)),
            str(len(answers)),
            str(sum(status is not None and status >= 500 for status in statuses)),
            str(statuses.count(None)),
            _milliseconds(max((one.ended - one.began for one in tries), default=0.0)),
            _milliseconds(max((one.seconds for one in waits), default=0.0)),
            str(sum(one.by_owner for one in waits)),
        ]

    def wrong(self, parts: Sequence[Part]) -> list[str]:
        """Return a sentence for each thing in these parts that is not acceptable or missing; empty if all is well."""
        found = []
        for part in parts:
            tries = self._tries(part)
            if not any(one.status == 202 for one in tries):
                found.append(f"{part.name}: no order was accepted")
            found += [f"{part.name}: an order got {one.status or one.error}" for one in tries if one.is_failed]
            answers = [one for one in self._answers(part) if one.status is None or one.status >= 500]
            found += [f"{part.name}: {one.url} got {one.status or 'no answer'}" for one in answers]
            found += [
                f"{part.name}: {_milliseconds(one.seconds)} waited {one.statement!r} for {one.blocked_by!r}"
                for one in self._waits(part)
                if one.seconds > LONGEST_WAIT
            ]
        for record in self.records:
            found += [f"an order was answered with {answer}" for answer in record.failed]
            found += [f"{record.unanswered} orders were given up"] if record.unanswered else []
        return found

    def _tries(self, part: Part) -> list[Try]:
        return [one for record in self.records for one in record.tries if part.began <= one.ended < part.ended]

    def _answers(self, part: Part) -> list[Answer]:
        return [one for one in self.watch.answers if part.began <= one.at < part.ended]

    def _waits(self, part: Part) -> list[Wait]:
        return [one for one in self.watch.waits.values() if part.began <= one.at < part.ended]


def table(parts: Sequence[Part], seen: Seen) -> str:
    """Return a text table with a row for each part of the upgrade, and below it an explanation of the columns.

    The columns count accepted orders, answered and failed calls, and waits for locks.
    """
    foot = _FOOT.format(every=1000 * max(seen.watch.longest_look, 0.001))
    return "\n".join([*aligned([list(_HEADS), *(seen.row(part) for part in parts)]), foot])


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
