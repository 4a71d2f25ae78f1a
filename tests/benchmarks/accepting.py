"""Measures how long an order over the API takes to be accepted, in turns with an endpoint that inserts one row.

`python -m tests.benchmarks.accepting TOKEN` prints the round trips to PostgreSQL and the transactions of one order,
counted in the web application's own process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from uuid import uuid4

from tests.benchmarks import front
from tests.benchmarks.front import Load
from tests.benchmarks.system import System
from tests.round_trips import PREPARED, Traffic, traffic
from web.app import create_app
from web.resources import resources


@dataclass(frozen=True, slots=True)
class Result:
    """How fast POST requests were answered by the portal (`ours`) and by the bare endpoint (`bare`), and `traffic`.

    The first two are medians of all rounds. `traffic` counts the round trips to PostgreSQL and the transactions of one
    order.
    """

    ours: Load
    bare: Load
    traffic: Traffic


def measure(system: System, count: int, rounds: int) -> Result:
    """Measure the bare endpoint and the portal alternately: `rounds` rounds with `count` requests to each."""
    ours, bare = [], []
    for _ in range(rounds):
        bare.append(front.minimal(system, count))
        ours.append(front.ours(system, count))
    return Result(_median(ours), _median(bare), _counted(system))


def _median(loads: Sequence[Load]) -> Load:
    return Load(*(statistics.median(getattr(load, field.name) for load in loads) for field in fields(Load)))


def _counted(system: System) -> Traffic:
    command = [sys.executable, "-m", __name__, system.customers[0].token]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, check=True)
    return Traffic(**json.loads(done.stdout.splitlines()[-1]))


def _count(token: str) -> Traffic:
    """Return the round trips to PostgreSQL and the transactions that one order costs, once statements are prepared.

    `token` is the API token with which this process orders.
    """
    app = create_app()
    with app.app_context():
        database = resources().database
    client = app.test_client()

    def order() -> None:
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = client.post("/api/v1/orders", data=front.BODY, headers=head | {"Idempotency-Key": uuid4().hex})
        assert answer.status_code == 202, answer.text

    for _ in range(PREPARED):
        order()
    with traffic(database) as found:
        order()
    return found


if __name__ == "__main__":
    print(json.dumps(asdict(_count(sys.argv[1]))))
