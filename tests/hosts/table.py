"""The table of a run of `make hosts`: for each lost host, what customers noticed, and what of it is not acceptable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.hosts.network import Cut
from tests.hosts.record import Record, Try

LONGEST = 30.0
"""The most seconds after a cut, or after the return of a host, in which customers may get a 5xx."""
_HEADS = (
    "host",
    "what it does",
    "how it was cut, and what was done",
    "orders",
    "s with 5xx",
    "last 5xx",
    "s unanswered",
    "longest gap",
    "healed",
    "back",
)
_FOOT = """
orders: accepted from the cut to the next one. s with 5xx, s unanswered: seconds in which a call ended so. last 5xx:
after the cut, or after the return. longest gap: without an accepted order. healed: from the cut until no call failed
and a new order was completed, the host still away. back: from the return until the host took part again."""


@dataclass(frozen=True, slots=True)
class Span:
    """The loss of one host, and the time until the next loss. `began`, `returned` and `ended` are seconds since 1970.

    `what` is what the host does, `done` what an operator did. `began` is when the host was cut off, `returned` when it
    was connected again. `healed`, `back` and `calm` are durations in seconds.
    """

    host: str
    what: str
    how: Cut
    done: str
    began: float
    returned: float
    ended: float
    healed: float | None
    """Seconds from the cut until orders went through again; None: never."""
    back: float | None
    """Seconds from the return until the host did its work again; None: never."""
    calm: float | None
    """Seconds from the return until orders went through and no call failed; None: never."""

    def line(self) -> str:
        """Return a line of text about the loss and the recovery, to be printed during the run."""
        times = f"healed {_seconds(self.healed)}, back {_seconds(self.back)}, calm {_seconds(self.calm)}"
        return f"{self.host} ({self.what}): {self._doings}; {times}"

    def as_fault(self) -> dict[str, Any]:
        """Return the loss in the form of the auditor's list of faults (see `tests/chaos/auditor.py`).

        By the name, the auditor decides whether the fault may have caused mails to be sent twice.
        """
        kind = {"worker": "worker: ", "database": "database: its host silent, "}.get(self.host.rstrip("0123456789"), "")
        return {
            "name": f"{kind}{self.host}: {self.how}",
            "began": self.began,
            "ended": self.returned,
            "healed": self.calm,
        }

    def row(self, record: Record) -> list[str]:
        """Return the row about this loss for the table of `table`: a text for each of its columns (`_HEADS`).

        `record` has the calls of the customers, from which orders and failed calls are counted.
        """
        tries = self._tries(record)
        accepted = sorted(one.ended for one in record.accepted if self.began <= one.ended < self.ended)
        gap = max(later - earlier for earlier, later in pairwise([self.began, *accepted, self.ended]))
        return [
            self.host,
            self.what,
            self._doings,
            str(len(accepted)),
            str(_seconds_of([one for one in tries if one.is_server_error])),
            _seconds(self.last_error(record)),
            str(_seconds_of([one for one in tries if one.status is None])),
            _seconds(gap),
            _seconds(self.healed),
            _seconds(self.back),
        ]

    def last_error(self, record: Record) -> float:
        """Return for how many seconds customers got 5xx answers after the cut, or after the return; the longer of both.

        A 5xx answer before the return counts from the cut, a later one from the return. 0 if there was none.
        """
        ends = [one.ended for one in self._tries(record) if one.is_server_error]
        return max((end - (self.began if end < self.returned else self.returned) for end in ends), default=0.0)

    def wrong(self, record: Record) -> list[str]:
        """Return a sentence for each thing that is not acceptable; an empty list if there is none."""
        missed = {"did not heal": self.healed, "did not come back": self.back, "went on with errors": self.calm}
        found = [f"{self.host}: {what}" for what, seconds in missed.items() if seconds is None]
        if (last := self.last_error(record)) > LONGEST:
            found.append(f"{self.host}: a 5xx after {last:.1f} s")
        return found

    @property
    def _doings(self) -> str:
        return f"{self.how}; {self.done}" if self.done else str(self.how)

    def _tries(self, record: Record) -> list[Try]:
        return [one for one in record.tries if self.began <= one.ended < self.ended]


def table(spans: Sequence[Span], record: Record) -> str:
    """Return a text table with a row for each loss of a host, and below it an explanation of the columns.

    The columns say what was done, how many orders were accepted, which calls failed, and how soon all worked again.
    """
    return "\n".join([*aligned([list(_HEADS), *(span.row(record) for span in spans)]), _FOOT])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines of text, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _seconds_of(tries: Sequence[Try]) -> int:
    """Return the number of different clock seconds in which one of these calls ended."""
    return len({int(one.ended) for one in tries})


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
