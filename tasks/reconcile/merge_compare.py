"""Two sides in the same order, ours and the registrar's, compared in one pass and in bounded memory.

What differs in the pass is only suspected: it is settled by a second look, a page at a time. What the registrar alone
has is kept for the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tasks.reconcile.job_run import Run

PAGE = 500
"""Rows of ours, and suspects, that are in memory at once."""
MOST_REMOVED = 1000
"""What one run takes away of a kind. If there is more, it takes nothing: we look at the wrong registrar."""

Key = TypeVar("Key", int, tuple[str, str])
One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Comparison(Generic[Key, One, Other]):
    """How a kind of rows is compared. `key` is what both sides are ordered by.

    `takes_away` says of what is there on one side at least whether something of the registrar's has to go, None if
    nothing is wrong. `settle` mends these. `counted` and `too_many` are names for the run.
    """

    key: Callable[[One | Other], Key]
    takes_away: Callable[[One | None, Other | None], bool | None]
    settle: Callable[[Run, Sequence[Key]], None]
    counted: str
    too_many: str

    def compare(self, run: Run, ours: Iterator[One], theirs: Generator[Other]) -> list[Key] | None:
        """Settle whatever takes nothing away; returns the rest, or None if that is too much to be true."""
        strange: list[Key] = []
        suspects: list[Key] = []
        count = 0
        with closing(theirs):
            for key, one, other in side_by_side(ours, theirs, self.key):
                run.counts[self.counted] += 1
                takes_away = self.takes_away(one, other)
                if takes_away is None:
                    continue
                count += takes_away
                if not takes_away:
                    suspects.append(key)
                elif count <= MOST_REMOVED:
                    strange.append(key)
                if len(suspects) == PAGE:
                    self.settle(run, suspects)
                    suspects.clear()
            self.settle(run, suspects)
        if count <= MOST_REMOVED:
            return strange
        with run.transaction():
            run.find(self.too_many, run.job.name, repaired=False, count=count)
        return None

    def take_away(self, run: Run, strange: Sequence[Key]) -> None:
        """Settle the rest."""
        for start in range(0, len(strange), PAGE):
            self.settle(run, strange[start : start + PAGE])


def side_by_side(
    ours: Iterator[One], theirs: Iterator[Other], key: Callable[[One | Other], Key]
) -> Iterator[tuple[Key, One | None, Other | None]]:
    """Both sides, each key once. Neither is read further than it has to be."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        here: Any = key(one) if one is not None else None
        there: Any = key(other) if other is not None else None
        if other is None or (one is not None and here < there):
            yield here, one, None
            one = next(ours, None)
        elif one is None or there < here:
            yield there, None, other
            other = next(theirs, None)
        else:
            yield here, one, other
            one, other = next(ours, None), next(theirs, None)
