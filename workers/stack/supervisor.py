"""Keep child processes running: start them in order, restart those that die, end them in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.stack.errors import DidNotStart, StackError
from workers.stack.processes import (
    Identity,
    end_session,
    identify,
    session_members,
    through_launcher,
)
from workers.stack.unprivileged import SystemUser

Say = Callable[[str, str], None]
"""A function that gets the name of a child process and one line of its output, and prints the line."""

_LONGEST_LINE = 1 << 20


def _nothing_to_do() -> None:
    pass


def _at_once() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Service:
    """The description of a child process that a supervisor keeps running.

    `prepare` is called before every start. `is_ready` returns whether the started child works; it is called in another
    thread. `environment`, `user` and `directory` (the working directory) are those of the child; if None, each is that
    of this process. After `stop_signal` the child has `patience` seconds to end before it is killed. With
    `may_be_killed`, `Supervisor.hurry` kills it earlier. `log` is the child's log file; None if the child prints its
    log.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    prepare: Callable[[], None] = _nothing_to_do
    is_ready: Callable[[], bool] = _at_once
    user: SystemUser | None = None
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 5.0
    may_be_killed: bool = True
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waiting times before a dead child is restarted, in seconds: `first`, then twice as long each time.

    The waiting time grows to `longest` at most. After a run of at least `forgiven_after` seconds it is `first` again.
    """

    first: float = 0.5
    longest: float = 30.0
    forgiven_after: float = 20.0

    def after(self, deaths: int) -> float:
        """Return the wait in seconds before the next start after `deaths` deaths in a row (1 or more)."""
        return float(min(self.longest, self.first * 2 ** (deaths - 1)))


class _Child:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.identity: Identity | None = None
        self.deaths = 0
        self.obstacle: StackError | None = None
        self.watch: asyncio.Task[None] | None = None


class Supervisor:
    """A supervisor of child processes, in one asyncio loop in the main thread.

    `say` prints one line of a child's output. `remember` saves the running children, so that a later run can find
    processes left behind: it is called with all running children by name whenever one is started, and with an empty
    mapping after the stop. `backoff` says how long to wait before a dead child is restarted; None takes the default.
    """

    def __init__(
        self, say: Say, remember: Callable[[Mapping[str, Identity]], None], backoff: Backoff | None = None
    ) -> None:
        self._say = say
        self._remember = remember
        self._backoff = backoff or Backoff()
        self._children: list[_Child] = []
        self._stopping = asyncio.Event()

    async def start(self, service: Service, *, within: float = 30.0, deaths_allowed: int = 0) -> None:
        """Start the child process of `service` and wait until it is ready. From then on a dead child is restarted.

        Raises an error if the child is not ready after `within` seconds, or dies more than `deaths_allowed` times
        before it is ready: the `StackError` of the last failed start, or `DidNotStart` if there was none.
        """
        child = _Child(service)
        self._children.append(child)
        child.watch = asyncio.create_task(self._keep_running(child))
        deadline = time.monotonic() + within
        while True:
            if child.identity is not None and await asyncio.to_thread(service.is_ready):
                return
            if child.deaths > deaths_allowed or time.monotonic() > deadline:
                raise child.obstacle or DidNotStart(service.name, service.log)
            await asyncio.sleep(0.02)

    async def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a command with these environment variables until it ends; print its output under `name`.

        Raises `StackError` if its exit code is not 0.
        """
        process, lines = await self._spawn(command, environment)
        await self._pass_on(name, lines)
        if await process.wait() != 0:
            raise StackError(f"{name} failed, see its lines above.")

    async def stop(self) -> None:
        """End all children one after the other, in the reverse order of their start. None is restarted afterwards."""
        self._stopping.set()
        for child in reversed(self._children):
            await self._end(child)
        self._remember({})

    def hurry(self) -> None:
        """Kill the children that have `Service.may_be_killed` at once, without waiting for their `patience`.

        Meant for a second stop request. A running `stop` then ends the remaining children in order.
        """
        for child in self._children:
            if child.identity is not None and child.service.may_be_killed:
                for process in session_members(child.identity):
                    with suppress(ProcessLookupError):
                        process.kill()

    async def _keep_running(self, child: _Child) -> None:
        service = child.service
        while not self._stopping.is_set():
            born = time.monotonic()
            try:
                service.prepare()
                how = await self._live(child)
            except StackError as error:
                child.obstacle, how = error, f"cannot start: {error}"
            if self._stopping.is_set():
                return
            lived = time.monotonic() - born
            child.deaths = 1 if lived >= self._backoff.forgiven_after else child.deaths + 1
            wait = self._backoff.after(child.deaths)
            self._say("stack", f"{service.name} {how}; started again in {wait:g} s")
            await asyncio.sleep(wait)

    async def _live(self, child: _Child) -> str:
        """Start a child's process, wait until it ends, and return how it ended, such as "ended with code 1"."""
        service = child.service
        process, lines = await self._spawn(service.command, service.environment, service)
        # As the kernel says when the processes of this machine began.
        child.identity = identify(process.pid) or Identity(process.pid, time.time())  # noqa: TID251
        self._remember_all()
        reading = asyncio.create_task(self._pass_on(service.name, lines))
        code = await process.wait()
        if not self._stopping.is_set():
            # Processes that the child leaves behind would disturb its successor.
            await asyncio.to_thread(end_session, child.identity, how=signal.SIGTERM, patience=2)
            child.identity = None
        await reading
        return _how_it_ended(code)

    async def _spawn(
        self, command: Sequence[str], environment: Mapping[str, str] | None, service: Service | None = None
    ) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        """Start a process through launcher.py, and return the process with a reader of its output.

        The process has the user, working directory and death signal of `service`. Without a service, it has the user
        and directory of this process, and SIGTERM as death signal.
        """
        launched = through_launcher(
            command,
            death_signal=service.stop_signal if service else signal.SIGTERM,
            user=service.user if service else None,
        )
        # With a pipe made by asyncio, a process would not count as ended until its own children have ended too.
        ours, theirs = os.pipe()
        lines = asyncio.StreamReader(limit=_LONGEST_LINE)
        with open(theirs, "wb") as output:
            told = os.fdopen(ours, "rb", buffering=0)
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), told)
            process = await asyncio.create_subprocess_exec(
                *launched,
                env=environment,
                cwd=service.directory if service else None,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return process, lines

    async def _pass_on(self, name: str, lines: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:
                self._say(name, f"(a line longer than {_LONGEST_LINE} bytes)")
                continue
            if not line:
                return
            self._say(name, line.decode(errors="replace").rstrip("\n"))

    async def _end(self, child: _Child) -> None:
        if child.identity is not None:
            service = child.service
            await asyncio.to_thread(end_session, child.identity, how=service.stop_signal, patience=service.patience)
        if child.watch is None:
            return
        # The watching task ends by itself, unless it waits before a restart.
        _, waiting = await asyncio.wait([child.watch], timeout=0 if child.identity is None else 2)
        for watch in waiting:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    def _remember_all(self) -> None:
        self._remember({child.service.name: child.identity for child in self._children if child.identity is not None})


def _how_it_ended(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


class Lines:
    """Prints the output of all child processes on one terminal, each line after the name of its child.

    `names` are the names of all children. With `colour`, each child's name has a colour of its own.
    """

    _COLOURS = ("36", "32", "33", "35", "34", "96", "92")

    def __init__(self, names: Sequence[str], *, colour: bool) -> None:
        self._width = max(len(name) for name in names)
        self._colours = {name: self._COLOURS[i % len(self._COLOURS)] for i, name in enumerate(names)}
        self._colour = colour

    def say(self, name: str, line: str) -> None:
        """Print one line of the child `name`; do nothing if the standard output is closed."""
        prefix = f"{name:<{self._width}} │ "
        if self._colour:
            prefix = f"\x1b[{self._colours.get(name, '37')}m{prefix}\x1b[0m"
        # A closed standard output must not keep the children from ending in order.
        with suppress(BrokenPipeError):
            sys.stdout.write(f"{prefix}{line}\n")
            sys.stdout.flush()
