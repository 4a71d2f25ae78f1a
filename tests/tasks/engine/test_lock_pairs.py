"""Tests that no two operations deadlock, wherever the second one starts between the locks of the first.

Each operation is done alone first, and its locks are noted. Two that lock the same tables in different orders are then
done at once: the first stops after each of its locks in turn, until the second has ended or waits for a lock; then it
continues. If each now waits for the other, PostgreSQL ends one of them with an error, and the test fails. Transactions
are rolled back at their ends, so that each pair needs its rows only once. With LOCK_PAIRS=all in the environment, all
pairs are tried.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.session import Database
from models.errors import DomainError
from tests.lock_modes import Lock, dangerous_places, locks_of
from tests.lock_scenes import OPERATIONS, Scene, make_scene
from tests.tasks.conftest import Pipeline

WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
EVERY_PAIR = os.environ.get("LOCK_PAIRS") == "all"


class Undone(Exception):
    """Raised at the end of a transaction to roll it back."""


class UndoneDatabase:
    """A database whose transactions execute all statements, and are rolled back instead of committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def transaction(self, **limits: Any) -> Iterator[Session]:
        """Open a transaction as the real database does, yield its session, and roll it back at the end of the block."""
        with suppress(Undone), self._database.transaction(**limits) as session:
            yield session
            session.flush()
            raise Undone


class Stop:
    """Records the row locks that a thread's SQL statements take (`locks`), and stops the thread after one of them.

    `place` says after which: the lock's index in `locks`; None: the thread never stops. A lock is recorded if it is
    stronger than those that the thread has on rows of the table so far. The event `reached` is set when the thread
    stops; the thread then waits until a test sets the event `go_on`.
    """

    def __init__(self, place: int | None = None) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.locks: list[Lock] = []
        self._place = place

    def locked(self, statement: str) -> None:
        """Record the locks of a statement that the thread has executed.

        If one of them is the lock to stop at, wait for `go_on`.
        """
        for lock in locks_of(statement):
            if all(lock.table != held.table or lock.mode > held.mode for held in self.locks):
                self.locks.append(lock)
                if len(self.locks) - 1 == self._place:
                    self.reached.set()
                    assert self.go_on.wait(60)


class Stops:
    """Watches the SQL statements of threads, to record their row locks and to stop a thread after one of them.

    `of` has, by thread id, the `Stop` object that does this for the thread. Other threads are not watched.
    """

    def __init__(self) -> None:
        self.of: dict[int, Stop] = {}

    def note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        """Pass an executed SQL statement to the `Stop` of this thread, which records its locks; do nothing without one.

        The parameters are those of SQLAlchemy's event "after_cursor_execute".
        """
        if stop := self.of.get(threading.get_ident()):
            stop.locked(statement)


@pytest.fixture
def stops(database: Database) -> Iterator[Stops]:
    """Provide a `Stops` that watches the statements of this process until the test ends, at first those of no thread.

    A test adds a thread by setting `stops.of[THREAD_ID]` to a `Stop`, which records the thread's row locks.
    """
    found = Stops()
    sa.event.listen(database.engine, "after_cursor_execute", found.note)
    yield found
    sa.event.remove(database.engine, "after_cursor_execute", found.note)


@pytest.fixture
def undone(pipeline: Pipeline) -> Pipeline:
    """Provide the pipeline with a database whose transactions are rolled back instead of committed."""
    database = cast(Database, UndoneDatabase(pipeline.runtime.database))
    return replace(pipeline, runtime=replace(pipeline.runtime, database=database))


def prepared(pipeline: Pipeline, bare: Scene, kind: str, names: list[str]) -> Scene:
    """Return a scene, an account with its rows in the database, on which the operations `names` can be done.

    `names` are keys of `OPERATIONS`. The scene `bare` is returned if none of them needs rows of its own. Otherwise a
    new scene with these rows is created, whose account is of the kind `kind`: "linked" (a sub-account), "alone" (no
    main account) or "ordered" (just ordered).
    """
    preparations = [prepare for name in names if (prepare := OPERATIONS[name].prepare) is not None]
    scene = make_scene(pipeline, kind) if preparations else bare
    for prepare in preparations:
        with suppress(DomainError), pipeline.runtime.database.transaction() as session:
            prepare(session, scene)
    return scene


@pytest.mark.parametrize("kind", ["linked", "alone", "ordered"])
def test_no_two_operations_wait_for_each_other(pipeline: Pipeline, undone: Pipeline, stops: Stops, kind: str) -> None:
    names = [name for name, operation in OPERATIONS.items() if kind in operation.at]
    bare = make_scene(pipeline, kind)
    locks = {name: locks_alone(stops, undone, prepared(pipeline, bare, kind, [name]), name) for name in names}
    with ThreadPoolExecutor(2) as pool:
        for first, second in combinations_with_replacement(names, 2):
            places = dangerous_places(locks[first], locks[second])
            if EVERY_PAIR:
                places = list(range(len(locks[first])))
            if places:
                scene = prepared(pipeline, bare, kind, [first, second])
                for place in places:
                    meet(pool, stops, undone, scene, (first, second), place)


def locks_alone(stops: Stops, undone: Pipeline, scene: Scene, name: str) -> list[Lock]:
    """Do the operation while no other one runs; return the row locks that it takes, in their order."""
    stop = stops.of[threading.get_ident()] = Stop()
    OPERATIONS[name].run_strictly(undone, scene)
    del stops.of[threading.get_ident()]
    return stop.locks


def meet(
    pool: ThreadPoolExecutor, stops: Stops, undone: Pipeline, scene: Scene, names: tuple[str, str], place: int
) -> None:
    """Do two operations at once, the second one while the first has stopped after its lock with the index `place`.

    When the second has ended or waits for a lock, the first continues. Fails if they deadlock. `names` are their names.
    """
    stop = Stop(place)

    def run_first() -> None:
        stops.of[threading.get_ident()] = stop
        try:
            OPERATIONS[names[0]].run(undone, scene)
        finally:
            del stops.of[threading.get_ident()]
            stop.reached.set()

    first = pool.submit(run_first)
    assert stop.reached.wait(60)
    second = pool.submit(OPERATIONS[names[1]].run, undone, scene)
    while not ended(second) and not waiting(scene.pipeline):
        pass
    stop.go_on.set()
    for one in (first, second):
        try:
            one.result(60)
        except sa.exc.OperationalError as error:
            held = [lock.table for lock in stop.locks[: place + 1]]
            raise AssertionError(f"{names[0]!r}, stopped when it held locks of {held}, and {names[1]!r}") from error


def ended(operation: Future[None]) -> bool:
    """Wait up to 10 ms for the operation; return whether it has ended."""
    return bool(wait([operation], timeout=0.01).done)


def waiting(pipeline: Pipeline) -> bool:
    """Return whether any transaction in the database waits for a lock."""
    with pipeline.runtime.database.transaction() as session:
        return bool(session.scalar(WAITING))
