"""`make hosts`: run the system on ten hosts (network namespaces) under load; one host after another loses its network.

Prints a table and the auditor's report. Exits with 1 if anything was lost or done twice, or if the system did not
recover, and with 77 if the test cannot run on this machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.auditor import audit, report
from tests.chaos.request_checks import API_AGREES
from tests.fakes import wait_until
from tests.hosts.balancers import BALANCERS
from tests.hosts.losses import CUTS, LONG, SHORT, WAITS, Loss
from tests.hosts.network import NOT_RUN, Cut, NotPossible, open_network
from tests.hosts.plant import Plant, open_plant
from tests.hosts.record import Record
from tests.hosts.table import Span, table
from workers.gateways.registrar import plain_url
from workers.stack.data_directory import StackDirectory

CALM = 3.0
"""The system counts as healed if no call has failed for this many seconds."""
AWAY = 12.0
"""The fewest seconds that a host is cut off, in a short run.

In a long run it is ten times as long, so that every time limit is reached.
"""
FEW, MANY = 10_000, 80_000
"""How many number blocks there are in a short and in a long run: more than are ordered."""


@dataclass(frozen=True)
class _Run:
    plant: Plant
    record: Record

    def wait_until_calm(self, since: float) -> float | None:
        """Wait until no call has failed for `CALM` seconds and an order sent after the last failure is completed.

        Return the seconds from `since` to the end of the last failure or, if later, to that completion; None if this
        does not happen within `WAITS` seconds. `since` is in seconds since 1970.
        """
        while time.time() < since + WAITS + CALM:
            self.record.read()
            failed = self.record.last_failure(since) or since
            after = self.record.first_accepted(failed)
            if after is not None and time.time() > failed + CALM:
                completed = self.plant.completed_at(after.id)
                if completed is not None:
                    return max(failed, completed) - since
            time.sleep(0.1)
        return None

    def lose(self, loss: Loss, how: Cut, seconds: float) -> Span:
        """Cut the host's link, do what its operator would do then, and connect the host again after `seconds` or later.

        Return the times, and what the operator did; also prints a line about them. Waits until orders go through again.
        """
        host = self.plant.hosts[loss.host]
        loss.prepare(self.plant)
        began = time.time()
        host.cut(how)
        done = loss.act(self.plant)
        healed = self.wait_until_calm(began)
        time.sleep(max(0.0, began + seconds - time.time()))
        loss.prepare_return(self.plant)
        returned = time.time()
        host.reconnect()
        loss.complete_return(self.plant)
        try:
            wait_until(lambda: loss.is_back(self.plant), seconds=WAITS, what=f"{loss.host} to be back")
            back = time.time() - returned
        except AssertionError:
            back = None
        calm = self.wait_until_calm(returned)
        span = Span(loss.host, loss.what, how, done, began, returned, time.time(), healed, back, calm)
        print(span.line(), flush=True)
        return span


def main() -> None:
    """Run the load, cut hosts off one by one, keep record and logs in .standorte/hosts, audit the result, and exit."""
    parser = argparse.ArgumentParser(prog="make hosts", description=__doc__)
    parser.add_argument("--long", action="store_true", help="every host, in each way to lose its network, for longer")
    parser.add_argument("--only", choices=sorted({loss.host for loss in LONG}), action="append")
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second (20)")
    parser.add_argument("--balancer", choices=BALANCERS, default="haproxy")
    arguments = parser.parse_args()
    losses = [loss for loss in (LONG if arguments.long else SHORT) if not arguments.only or loss.host in arguments.only]
    # So that what was started is ended when make or a supervisor ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.time()
    try:
        blocks, balancer = MANY if arguments.long else FEW, BALANCERS[arguments.balancer]
        with open_network() as network, open_plant(network, balancer, blocks) as plant:
            print(f"set up in {time.time() - began:.0f} s", flush=True)
            sys.exit(_run(plant, losses, arguments.rate, long=arguments.long))
    except AssertionError as error:
        print(f"WRONG  {error}")
        sys.exit(1)
    except NotPossible as reason:
        print(f"NOT RUN: {reason}. Nothing was tested.")
        sys.exit(NOT_RUN)


def _run(plant: Plant, losses: list[Loss], rate: float, *, long: bool) -> int:
    kept = StackDirectory().path / "hosts"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    try:
        return _measure(plant, losses, rate, kept, long=long)
    finally:
        for log in (*plant.directory.glob("*.log*"), *plant.directory.glob("load.jsonl")):
            shutil.copy(log, kept)


def _wait_for_the_end(plant: Plant) -> None:
    """Wait until no work is left, or until none was done for `WAITS` seconds: a busy machine sends mails slowly."""
    least, at = plant.waiting(), time.time()
    while least and time.time() < at + WAITS:
        time.sleep(0.5)
        if (left := plant.waiting()) < least:
            least, at = left, time.time()


def _measure(plant: Plant, losses: list[Loss], rate: float, kept: Path, *, long: bool) -> int:
    accounts = plant.customer_numbers()
    plant.start_all()
    spans = []
    with plant.load(rate) as written:
        run = _Run(plant, Record(written))
        began = time.time()
        calm = run.wait_until_calm(began)
        time.sleep(CALM)
        for how in CUTS if long else CUTS[:1]:
            for loss in losses:
                spans.append(run.lose(loss, how, AWAY * 10 if long else AWAY))
        ended = time.time()
    run.record.read()
    _wait_for_the_end(plant)
    restarted = plant.restarted()
    plant.end_all()
    record = {
        "portal": plain_url(plant.databases.master.url("standorte")),
        "registrar": plain_url(plant.databases.master.url("registrar")),
        "secret_key": plant.environment["SECRET_KEY"],
        "accounts": accounts,
        "answers": [],
        "bulks": [],
        "pages": [],
        "accepted": [{"id": one.id, "kind": "order"} for one in run.record.accepted],
        "cancelled": [],
        "unanswered": run.record.unanswered,
        "failed": run.record.failed,
        "mails": plant.mail.taken,
        "letters": [],
        "faults": [span.as_fault() for span in spans],
    }
    (kept / "record.json").write_text(json.dumps(record))
    # The customers have read how each of their orders ended, but not the list of all.
    result = audit(record, without=[API_AGREES])
    print(f"\n{report(record, result)}\n\n{table(spans, run.record)}\n")
    wrong = [one for span in spans for one in span.wrong(run.record)]
    early = [one for one in run.record.tries if one.is_failed and spans and one.ended < spans[0].began]
    if early or not calm:
        wrong.append(f"{len(early)} calls failed before a host was cut off")
    wrong += [f"{name} has ended, or has replaced one of its processes" for name in restarted]
    print(f"asked for {rate:g} orders a second, accepted {len(run.record.accepted) / (ended - began):.1f}")
    print(f"ran for {ended - began:.0f} s, and for {time.time() - ended:.0f} s to the end of all work")
    for one in wrong:
        print(f"WRONG  {one}")
    return int(any(result.found.values()) or bool(wrong))


if __name__ == "__main__":
    main()
