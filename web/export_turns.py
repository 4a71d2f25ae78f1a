"""Limits on exports of long tables: on their number at a time, for each account and each process, and on their time.

A large export keeps a thread and a connection of the database busy. Without limits the exports of one customer could
occupy all threads. The accounts with a running export are stored in Redis for all processes. While Redis is
unreachable, or if none is set, each process knows only its own exports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import TypeVar

from limits.errors import StorageError
from limits.storage import Storage
from redis.exceptions import RedisError

T = TypeVar("T")

ROWS_WITHIN = 20.0
"""Seconds within which an export has to read and write its rows; closing and sending the file takes a few more."""
RETRY_AFTER = 10
"""Seconds after which a refused export may be tried again."""
_FORGOTTEN_AFTER = 60
"""Seconds after its start at which an export counts as ended, in case its process has died."""


class Refusal(StrEnum):
    """Why an export is refused.

    `RUNNING`: another export for the account is running. `BUSY`: the process runs as many exports as it may.
    `TOO_LONG`: the export has taken too long.
    """

    RUNNING = "running"
    BUSY = "busy"
    TOO_LONG = "too_long"


class ExportRefused(Exception):
    """Raised when an export may not begin now, or has taken too long; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class ExportTurns:
    """The running exports, limited to one for each account and to a quarter of this process's threads.

    `threads` is the number of the process's threads. `shared` is the storage in Redis in which all processes note their
    running exports; None if no Redis is set.
    """

    def __init__(self, shared: Storage | None, threads: int) -> None:
        self._shared = shared
        self._free = threading.Semaphore(max(1, threads // 4))
        self._running: set[int] = set()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, account_id: int) -> Iterator[None]:
        """Register an export of this account (`Account.id`) for the duration of the `with` block.

        Raises `ExportRefused` if another export of the account is running in any process, or if too many exports are
        running in this process.
        """
        if not self._free.acquire(blocking=False):
            raise ExportRefused(Refusal.BUSY)
        try:
            with self._alone_here(account_id), self._alone_everywhere(account_id):
                yield
        finally:
            self._free.release()

    @contextmanager
    def _alone_here(self, account_id: int) -> Iterator[None]:
        with self._lock:
            if account_id in self._running:
                raise ExportRefused(Refusal.RUNNING)
            self._running.add(account_id)
        try:
            yield
        finally:
            self._running.discard(account_id)

    @contextmanager
    def _alone_everywhere(self, account_id: int) -> Iterator[None]:
        if self._shared is None:
            yield
            return
        key = f"export/{account_id}"
        try:
            running = self._shared.incr(key, _FORGOTTEN_AFTER)
        except (RedisError, StorageError):
            yield
            return
        if running > 1:
            raise ExportRefused(Refusal.RUNNING)
        try:
            yield
        finally:
            # Otherwise it ends there by itself.
            with suppress(RedisError, StorageError):
                self._shared.clear(key)


def within_time(rows: Iterable[T], seconds: float = ROWS_WITHIN) -> Iterator[T]:
    """Yield the rows unchanged. Raises `ExportRefused` once reading and writing them has taken more than `seconds`."""
    end = time.monotonic() + seconds
    for row in rows:
        if time.monotonic() > end:
            raise ExportRefused(Refusal.TOO_LONG)
        yield row
