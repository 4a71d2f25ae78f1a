"""Tests of the supervisor with real child processes, which are small Python programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.stack.errors import DidNotStart, StackError
from workers.stack.processes import Identity, identify, session_members
from workers.stack.supervisor import Backoff, Service, Supervisor

QUICK = Backoff(first=0.05, longest=0.2, forgiven_after=60)
SLEEPER = "import time, os; print('here', os.getpid(), flush=True); time.sleep(600)"


class Watched:
    """A supervisor with a record of what it does.

    `lines` are pairs of a child's name and a line that it has printed. `children` are the running children by name, as
    the supervisor has saved them last.
    """

    def __init__(self, backoff: Backoff = QUICK) -> None:
        self.lines: list[tuple[str, str]] = []
        self.children: dict[str, Identity] = {}
        self.supervisor = Supervisor(lambda name, line: self.lines.append((name, line)), self._remember, backoff)

    def _remember(self, children: Mapping[str, Identity]) -> None:
        self.children = dict(children)

    def said(self, name: str, part: str) -> int:
        """Return how many lines of the child `name` contain the text `part`."""
        return sum(1 for speaker, line in self.lines if speaker == name and part in line)


async def eventually(condition: Callable[[], bool], patience: float = 10) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def watch(story: Callable[[Watched], Awaitable[None]], backoff: Backoff = QUICK) -> Watched:
    """Run the body of a test, then stop the supervisor; return the supervisor with its record.

    `story` is the body: a coroutine function that gets the supervisor with its record.
    """
    watched = Watched(backoff)

    async def whole() -> None:
        try:
            await story(watched)
        finally:
            await watched.supervisor.stop()

    # In another thread, because the browser tests keep an event loop running in the main thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, whole()).result()
    return watched


def test_a_killed_child_is_started_again_and_its_lines_carry_its_name() -> None:
    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("sleeper", python(SLEEPER)))
        await eventually(lambda: watched.said("sleeper", "here") == 1)
        first = watched.children["sleeper"]
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: watched.said("sleeper", "here") == 2)
        assert watched.children["sleeper"] != first
        assert watched.said("stack", "sleeper was killed (SIGKILL); started again in 0.05 s") == 1

    watched = watch(story)
    assert watched.children == {}


def test_a_killed_child_is_started_again_also_when_children_of_its_own_outlive_it() -> None:
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); {SLEEPER}"

    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("parent", python(parent)))
        await eventually(lambda: watched.said("parent", "here") == 2)
        first = watched.children["parent"]
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: watched.said("parent", "here") == 4)
        assert session_members(first) == []

    watch(story)


def test_the_waits_between_deaths_grow_up_to_the_longest() -> None:
    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("mortal", python("import sys; sys.exit(3)")), deaths_allowed=99)
        await eventually(lambda: watched.said("stack", "mortal ended with code 3") >= 4)

    watched = watch(story)
    waits = [line.rsplit(" ", 2)[1] for _, line in watched.lines if "started again" in line]
    assert waits[:4] == ["0.05", "0.1", "0.2", "0.2"]


def test_a_child_that_ran_for_a_while_is_forgiven_its_earlier_deaths() -> None:
    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("mortal", python("import sys; sys.exit(3)")), deaths_allowed=99)
        await eventually(lambda: watched.said("stack", "started again in 0.05 s") >= 3)

    watch(story, Backoff(first=0.05, longest=1, forgiven_after=0))


def test_stopping_ends_the_youngest_first_and_leaves_nobody(tmp_path: Path) -> None:
    ending = (
        "import signal, sys, time, pathlib, subprocess\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "def end(*_):\n"
        f"    open({str(tmp_path / 'ends')!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('here', flush=True)\n"
        "time.sleep(600)\n"
    )
    remembered: list[Identity] = []

    async def story(watched: Watched) -> None:
        for name in ("database", "worker", "front"):
            await watched.supervisor.start(Service(name, [*python(ending), name]))
            await eventually(lambda name=name: watched.said(name, "here") == 1)  # type: ignore[misc]
        remembered.extend(watched.children.values())

    watch(story)
    assert (tmp_path / "ends").read_text().split() == ["front", "worker", "database"]
    # The children's own children have ended too.
    assert [session_members(identity) for identity in remembered] == [[], [], []]


def test_a_child_that_does_not_want_to_end_is_ended_by_force() -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
    remembered: list[Identity] = []

    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("stubborn", python(stubborn), patience=0.1))
        await eventually(lambda: watched.said("stubborn", "here") == 1)
        remembered.extend(watched.children.values())

    watch(story)
    assert identify(remembered[0].pid) is None


def test_in_a_hurry_children_are_killed_but_for_those_that_may_not_be(tmp_path: Path) -> None:
    ending = f"""import signal, sys, time
def end(*_):
    open({str(tmp_path / "ends")!r}, "w").write("in order")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
time.sleep(600)"""
    hanging = (
        "import os, signal, time; signal.signal(15, lambda *_: os.write(1, b'told\\n')); print('here', flush=True)\n"
    )
    hanging += "while True: time.sleep(600)"

    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("database", python(ending), may_be_killed=False))
        await watched.supervisor.start(Service("hanging", python(hanging), patience=600))
        await eventually(lambda: watched.said("database", "here") + watched.said("hanging", "here") == 2)
        stopping = asyncio.create_task(watched.supervisor.stop())
        await eventually(lambda: watched.said("hanging", "told") == 1)
        watched.supervisor.hurry()
        await stopping

    watch(story)
    assert (tmp_path / "ends").read_text() == "in order"


def test_a_child_that_never_becomes_ready_is_an_error() -> None:
    async def story(watched: Watched) -> None:
        with pytest.raises(DidNotStart, match="mute did not start"):
            await watched.supervisor.start(Service("mute", python(SLEEPER), is_ready=lambda: False), within=0.2)

    watch(story)


def test_what_stands_in_the_way_of_a_child_is_said() -> None:
    def prepare() -> None:
        raise StackError("the cellar is locked")

    async def story(watched: Watched) -> None:
        with pytest.raises(StackError, match="the cellar is locked"):
            await watched.supervisor.start(Service("cook", python(SLEEPER), prepare=prepare))

    watch(story)


def test_a_command_runs_to_its_end_and_its_failure_is_an_error() -> None:
    async def story(watched: Watched) -> None:
        environment = {"WORD": "grüezi", "PYTHONIOENCODING": "utf-8"}
        await watched.supervisor.run("once", python("import os; print(os.environ['WORD'])"), environment)
        with pytest.raises(StackError, match="once failed"):
            await watched.supervisor.run("once", python("raise SystemExit(1)"), {})

    watched = watch(story)
    assert watched.said("once", "grüezi") == 1


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from workers.stack.supervisor import Service, Supervisor\n"
        f"async def run():\n"
        f"    supervisor = Supervisor(lambda *_: None, lambda _: None)\n"
        f"    await supervisor.start(Service('sleeper', [sys.executable, '-c', {SLEEPER!r}]))\n"
        f"    print(supervisor._children[0].identity.pid, flush=True)\n"
        f"    await asyncio.sleep(600)\n"
        "asyncio.run(run())\n"
    )

    async def story(watched: Watched) -> None:
        await watched.supervisor.start(Service("supervisor", python(program)))
        await eventually(lambda: watched.said("supervisor", "") == 1)
        grandchild = int(watched.lines[0][1])
        assert identify(grandchild) is not None
        os.kill(watched.children["supervisor"].pid, signal.SIGKILL)
        await eventually(lambda: identify(grandchild) is None)

    watch(story)
