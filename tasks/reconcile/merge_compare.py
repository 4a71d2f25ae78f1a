"""Compare the portal's rows with the registrar's, as two sorted streams, in one pass and bounded memory.

A difference found in the pass is only a suspect, because the row may have changed after it was read: suspects are read
again, a page at a time, before they are repaired. Rows to be deleted from the registrar are returned to the caller,
which decides whether they may be deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tasks.reconcile.job_run import Run

PAGE = 500
"""The most rows of the portal, and the most suspects, that are held in memory at one time."""
MOST_REMOVED = 1000
"""The most deletions of one kind of row in a run. If there would be more, none is made unless staff allow removals."""
FEW_REMOVED, SHARE_REMOVED = 20, 0.01
"""A number and a share of the compared rows. Deletions that exceed both are too many as well."""

Key = TypeVar("Key", int, tuple[str, str])
One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Comparison(Generic[Key, One, Other]):
    """How rows of one kind (trunks or number blocks) are compared between the portal and the registrar.

    `key` returns the sort key of a row of either. `takes_away` gets the portal's and the registrar's row for a key
    (None if there is none); it returns None if they agree, True if the registrar's row must be deleted, and False for
    another difference. `settle` reads the rows with the given keys again and repairs those that still differ. `counted`
    is the name of the run's count of compared rows, `too_many` the kind of finding for too many deletions.
    """

    key: Callable[[One | Other], Key]
    takes_away: Callable[[One | None, Other | None], bool | None]
    settle: Callable[[Run, Sequence[Key]], None]
    counted: str
    too_many: str

    def compare(self, run: Run, ours: Iterator[One], theirs: Generator[Other]) -> list[Key] | None:
        """Compare all rows of the portal and the registrar, and repair the differences that need no deletion.

        `ours` yields the portal's rows, `theirs` the registrar's, both sorted by `key`; `theirs` is closed at the end.
        Return the keys of rows to be deleted from the registrar, at most 1,000 (`MOST_REMOVED`). Return None and report
        a finding if there are so many that staff have to allow it (`run.allow_removals`).
        """
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
        if run.allow_removals or count <= min(MOST_REMOVED, max(FEW_REMOVED, run.counts[self.counted] * SHARE_REMOVED)):
            return strange
        with run.transaction():
            run.find(self.too_many, run.job.name, repaired=False, count=count)
        return None

    def take_away(self, run: Run, strange: Sequence[Key]) -> None:
        """Delete the rows with the keys `strange`, which `compare` returned, from the registrar.

        Each row is first read again on both sides. A row that has changed since is repaired in another way, or left as
        it is.
        """
        for start in range(0, len(strange), PAGE):
            self.settle(run, strange[start : start + PAGE])


def side_by_side(
    ours: Iterator[One], theirs: Iterator[Other], key: Callable[[One | Other], Key]
) -> Iterator[tuple[Key, One | None, Other | None]]:
    """Merge two streams of rows, each sorted by `key`: yield each key once with the row of either stream.

    `ours` are the portal's rows, `theirs` the registrar's; a row is None if its stream has none with that key. Each
    stream is read at most one row ahead.
    """
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
