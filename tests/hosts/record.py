"""What the customers saw during `make hosts`, read from the file that the load writes (`tests.hosts.load`)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Try:
    """A call of the API: the number of the order, begin and end of the call (seconds since 1970), and how it ended.

    `status` is None if there was no answer; `error` then is the name of the exception.
    """

    order: int
    began: float
    ended: float
    status: int | None
    error: str = ""

    @property
    def is_failed(self) -> bool:
        """Return whether the customer has to repeat the call: there was no answer, a 5xx or a 429."""
        return self.status is None or self.status >= 500 or self.status == 429

    @property
    def is_server_error(self) -> bool:
        """Return whether the answer was a 5xx."""
        return self.status is not None and self.status >= 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that was answered with 202: its number, the id of the request, and two times in seconds since 1970.

    `began` is when its first call began, `ended` when it was accepted.
    """

    order: int
    id: str
    began: float
    ended: float


@dataclass
class Record:
    """What customers have seen so far, read from `file`, which the load still writes.

    `tries` are the calls, `accepted` the orders that were accepted, `unanswered` the number of orders given up without
    an answer, and `failed` the answers that should not occur, such as a 400.
    """

    file: Path
    tries: list[Try] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    unanswered: int = 0
    failed: list[str] = field(default_factory=list)
    _read: int = 0
    _first: dict[int, float] = field(default_factory=dict)

    def read(self) -> None:
        """Read the lines that were written to the file since the last call."""
        with self.file.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._note(json.loads(line))

    def last_failure(self, since: float) -> float | None:
        """Return when the last failed call after `since` ended (both in seconds since 1970); None if no call failed."""
        return max((one.ended for one in self.tries if one.is_failed and one.ended > since), default=None)

    def first_accepted(self, since: float) -> Accepted | None:
        """Return the first accepted order of those sent after `since` (seconds since 1970); None if there is none."""
        return next((one for one in self.accepted if one.began > since), None)

    def _note(self, line: dict[str, Any]) -> None:
        order, at = line["order"], line["at"]
        if "began" in line:
            self._first.setdefault(order, line["began"])
            self.tries.append(Try(order, line["began"], at, line.get("status"), line.get("error", "")))
        elif "accepted" in line:
            self.accepted.append(Accepted(order, line["accepted"], self._first[order], at))
        elif "failed" in line:
            self.failed.append(line["failed"])
        else:
            self.unanswered += 1
