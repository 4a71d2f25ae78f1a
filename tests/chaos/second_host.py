"""A second host of the system with a wrong clock, which runs another web application, worker and beat.

Customers must not notice any difference: half of their connections go to its web application, and its worker takes part
in all work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from models.people.rights import Principal
from tests.benchmarks.front import signed_in
from tests.chaos.plant import Plant, end_together
from tests.chaos.skewed_program import skewed
from tests.fakes import wait_until
from tests.plain_http import call
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

_OFFSET = "standorte_clock_offset_seconds"
_SIGNED_IN = "/standortverwaltung"
"""The path of a page that redirects people who are not signed in to the sign-in page."""
_SHOWN_WITHIN = 60.0
"""Seconds within which the metrics have to show by how much the clock is off."""


@contextmanager
def second_host(plant: Plant, off: float) -> Iterator[None]:
    """Run a second host during the `with` block, whose clock is `off` seconds ahead of the first's (negative: behind).

    Before the block, check that the metrics report by how much the clock is off, and that who has signed in at one of
    the two web applications is signed in at the other. Add what is wrong to `plant.unexpected`, as sentences. The
    second host's programs are ended after the block.
    """
    front, worker = free_port(), free_port()
    counters = plant.directory / "second-counters"
    counters.mkdir(exist_ok=True)
    shown = {"METRICS_PORT": str(worker), "PROMETHEUS_MULTIPROC_DIR": str(counters)}
    programs_there = [
        plant.start(name, skewed(command, off), **settings)
        for name, command, settings in (
            ("second front", programs.web(LOOPBACK, front, processes=1, threads=4), {}),
            ("second worker", programs.worker(1), shown),
            ("second beat", programs.beat(plant.directory / "second-schedule"), {}),
        )
    ]
    try:
        for port, name in ((front, "the second front"), (worker, "the second worker")):
            wait_until(lambda port=port: accepts_connections(port), seconds=120, what=name)  # type: ignore[misc]
        with plant.to_front.taking_turns_with(front):
            plant.unexpected += _wrong_clocks({"front": front, "worker": worker}, off)
            manager = plant.customers[0].manager
            plant.unexpected += _sign_outs(manager, front, plant.front_port)
            plant.unexpected += _sign_outs(manager, plant.front_port, front)
            yield
    finally:
        end_together(programs_there)


def _wrong_clocks(ports: dict[str, int], off: float) -> Iterator[str]:
    for name, port in ports.items():
        gives_up = time.monotonic() + _SHOWN_WITHIN
        # Under load the database may be too late for one scrape, which then shows no offset.
        while not (shown := _shown_offsets(port)) and time.monotonic() < gives_up:
            time.sleep(1)
        if len(shown) != 1 or abs(shown[0] + off) > 5:
            yield f"the clock of the second {name} is {off:+.0f} s off, and it shows {shown}"


def _shown_offsets(port: int) -> list[float]:
    text = call("GET", f"http://{LOOPBACK}:{port}/metrics", timeout=20).text
    return [float(line.split()[1]) for line in text.splitlines() if line.startswith(_OFFSET)]


def _sign_outs(person: Principal, here: int, there: int) -> Iterator[str]:
    with signed_in(here, person) as browser:
        for port in (here, there, here):
            answer = browser.get(f"http://{LOOPBACK}:{port}{_SIGNED_IN}")
            if answer.url.path != _SIGNED_IN or answer.status_code != 200:
                yield f"signed in at one front, and at another not: {answer.status_code} {answer.url.path}"
