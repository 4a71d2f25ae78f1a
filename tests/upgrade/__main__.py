"""`make upgrade`: the older version serves customers while this one migrates the database, which has a million rows.

Then both versions serve customers, and finally only this one. Prints a table. Exits with 1 if a customer got a 5xx or
no answer, a statement waited too long for a lock, or an order was lost, and with 77 if the test cannot run on this
machine.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes import wait_until
from tests.hosts.network import NOT_RUN, NotPossible
from tests.upgrade.plant import PATIENCE, Plant, open_plant
from tests.upgrade.table import Part, Seen, table
from tests.upgrade.versions import Version, changed_requirements, this_version, version_before
from tests.upgrade.watch import Watch, watching
from workers.stack.data_directory import StackDirectory

ROWS = 1_000_000
_SHOWN = 20
"""How many sentences about what was wrong are printed at most."""


def main() -> None:
    """Run the upgrade under load, keep all logs in .standorte/upgrade, print the table, and exit."""
    parser = argparse.ArgumentParser(prog="make upgrade", description=__doc__)
    parser.add_argument("--rev", help="the version before: a tag or revision of git")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows in the database ({ROWS:,})")
    parser.add_argument("--rate", type=float, default=5.0, help="orders a second at each front (5)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each part lasts at least (15)")
    arguments = parser.parse_args()
    # So that what was started is ended when make or a supervisor ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with TemporaryDirectory() as directory, open_plant() as plant:
            old, new = version_before(arguments.rev, Path(directory)), this_version()
            try:
                sys.exit(_upgrade(plant, old, new, arguments))
            finally:
                _keep_logs(plant)
    except AssertionError as error:
        print(f"WRONG  {error}")
        sys.exit(1)
    except NotPossible as reason:
        print(f"NOT RUN: {reason}. Nothing was tested.")
        sys.exit(NOT_RUN)


def _upgrade(plant: Plant, old: Version, new: Version, arguments: argparse.Namespace) -> int:
    print(f"from {old.name} with migration {old.revision} to this version with {new.revision}")
    changed = ", ".join(changed_requirements(old)) or "none"
    print(f"the old version runs with this one's packages; of other releases than its own: {changed}", flush=True)
    began = time.time()
    plant.migrate(old)
    plant.make_customers(old)
    front = plant.start(old)
    print(f"{plant.fill(front, arguments.rows):,} rows in {time.time() - began:.0f} s", flush=True)
    with watching(plant.superuser) as watch:
        parts = _parts(plant, watch, (old, front), new, arguments)
    seen = Seen(plant.records, watch)
    wrong = seen.wrong(parts)
    try:
        wait_until(lambda: not plant.not_completed(), seconds=PATIENCE, what="all orders")
    except AssertionError:
        wrong += [f"an accepted order is not completed: {one}" for one in plant.not_completed()]
    plant.end_all()
    print(f"\n{table(parts, seen)}\n")
    for one in wrong[:_SHOWN]:
        print(f"WRONG  {one}")
    if len(wrong) > _SHOWN:
        print(f"WRONG  and {len(wrong) - _SHOWN} more")
    return int(bool(wrong))


def _parts(
    plant: Plant, watch: Watch, before: tuple[Version, str], new: Version, arguments: argparse.Namespace
) -> list[Part]:
    """Carry out the parts of the upgrade under load, one after the other, and return them.

    `before` is the older version and the URL of its web front end, which already runs.
    """
    old, front = before
    parts: list[Part] = []

    def go_on(name: str, work: Callable[[], object]) -> None:
        began = time.time()
        work()
        # A customer's time: nothing can be awaited but its passing.
        time.sleep(max(0.0, began + arguments.seconds - time.time()))
        for record in plant.records:
            record.read()
        parts.append(Part(name, began, time.time()))

    with ExitStack() as both, ExitStack() as only_old:
        only_old.enter_context(plant.load("old", front, arguments.rate))
        watch.fronts.append(front)
        go_on("old", lambda: None)
        both.enter_context(plant.reports())
        go_on("old, while the new one migrates", lambda: print(plant.migrate(new).strip(), flush=True))

        def serve() -> None:
            url = plant.start(new)
            watch.fronts.append(url)
            both.enter_context(plant.load("new", url, arguments.rate))

        go_on("both", serve)

        def leave() -> None:
            # As a balancer does: first nobody is sent there, then it ends.
            only_old.close()
            watch.leave(front)
            plant.end(old)

        go_on("new", leave)
        go_on("new, alone", lambda: None)
    for record in plant.records:
        record.read()
    # What customers had on their way when their load was ended.
    return [*parts[:-1], replace(parts[-1], ended=time.time())]


def _keep_logs(plant: Plant) -> None:
    kept = StackDirectory().path / "upgrade"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for log in (*plant.directory.glob("*.log*"), *plant.directory.glob("*.jsonl")):
        shutil.copy(log, kept)


if __name__ == "__main__":
    main()
