"""Watches, for the time of an upgrade, which statements wait for locks, and whether the web front ends answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg

from models.db.roles import DatabaseRole
from tests.plain_http import call

EVERY = 0.05
"""Seconds between two looks at the locks."""
PAGES_EVERY = 0.5
"""Seconds between two calls of the same page."""
PAGES = ("/healthz", "/readyz", "/metrics", "/anmelden")
"""The paths of the pages that are called while orders are placed."""
_LOCKS = """
SELECT waiting.pid, waiting.query_start::text, extract(epoch FROM clock_timestamp() - pg_locks.waitstart)::float,
    left(waiting.query, 120), (
        SELECT string_agg(DISTINCT blocking.usename || ': ' || left(blocking.query, 120), '; ')
        FROM pg_stat_activity blocking WHERE blocking.pid = ANY (pg_blocking_pids(waiting.pid))
    )
FROM pg_locks JOIN pg_stat_activity waiting USING (pid)
WHERE NOT pg_locks.granted AND pg_locks.waitstart IS NOT NULL AND waiting.usename <> %s
"""


@dataclass(frozen=True, slots=True)
class Wait:
    """A statement that was seen waiting for a lock. `at` is when it was last seen waiting, in seconds since 1970.

    `seconds` is how long it had waited by then. `blocked_by` are the statements for which it waited, as one text, each
    after the name of its database role.
    """

    at: float
    seconds: float
    statement: str
    blocked_by: str

    @property
    def by_owner(self) -> bool:
        """Return whether the statement waited for the migration, which alone connects as the owner of the tables."""
        return DatabaseRole.OWNER in self.blocked_by


@dataclass(frozen=True, slots=True)
class Answer:
    """A call of a page: its URL, when it ended (seconds since 1970), and the status, None if there was no answer."""

    url: str
    at: float
    status: int | None


@dataclass
class Watch:
    """Watches an upgrade from threads: looks for statements that wait for locks, and calls pages of the portal.

    `waits` has each wait for a lock, with the longest duration that was seen; its key is the process number of the
    PostgreSQL backend and the statement's start. `answers` are the answers of the pages.
    """

    waits: dict[tuple[int, str], Wait] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    fronts: list[str] = field(default_factory=list)
    """The URLs of the web front ends whose pages are called."""
    longest_look: float = 0.0
    """The longest time in seconds between two looks at the locks: a shorter wait may have been missed."""
    _over: threading.Event = field(default_factory=threading.Event)
    _calling: threading.Lock = field(default_factory=threading.Lock)

    def look_at_locks(self, url: str) -> None:
        """Record which statements wait for locks on the PostgreSQL server with this URL, until `end` is called.

        Looks every `EVERY` seconds. The URL must be that of a superuser.
        """
        with psycopg.connect(url, autocommit=True) as connection:
            before = time.monotonic()
            while not self._over.wait(EVERY):
                for pid, began, *seen in connection.execute(_LOCKS, [DatabaseRole.OWNER]).fetchall():
                    self._note((pid, began), *seen)
                now = time.monotonic()
                self.longest_look, before = max(self.longest_look, now - before), now

    def call_pages(self) -> None:
        """Call the pages of all web front ends, and record the answers, until `end` is called.

        Each page is called every `PAGES_EVERY` seconds.
        """
        while not self._over.wait(PAGES_EVERY):
            with self._calling:
                for url in [f"{front}{page}" for front in self.fronts for page in PAGES]:
                    try:
                        status = call("GET", url, timeout=20).status_code
                    except httpx.HTTPError:
                        status = None
                    self.answers.append(Answer(url, time.time(), status))

    def leave(self, front: str) -> None:
        """Stop calling the pages of the web front end with this URL; return when the last call has ended."""
        with self._calling:
            self.fronts.remove(front)

    def end(self) -> None:
        """Tell the loops of `look_at_locks` and `call_pages` to end."""
        self._over.set()

    def _note(self, key: tuple[int, str], seconds: float, statement: str, blocked_by: str | None) -> None:
        wait = Wait(time.time(), seconds, statement, blocked_by or "")
        # One statement can wait for several locks, one after the other.
        if key not in self.waits or self.waits[key].seconds < seconds:
            self.waits[key] = wait


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Watch a PostgreSQL server and web front ends during a `with` block; yield the watch.

    `url` is the server's URL for a superuser. The front ends are those whose URLs are added to `Watch.fronts`. If a
    loop of the watch has ended with an exception, raise it after the block, because then not everything was seen.
    """
    watch = Watch()
    with ThreadPoolExecutor(2) as threads:
        loops = [threads.submit(watch.look_at_locks, url), threads.submit(watch.call_pages)]
        try:
            yield watch
        finally:
            watch.end()
        for loop in loops:
            loop.result()
