"""Children of the stack: how they are started, recognised later, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.stack.unprivileged import SystemUser

_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, not to be confused with a later one of the same number. `started`: seconds since 1970."""

    pid: int
    started: float


def through_launcher(
    command: Sequence[str], *, death_signal: signal.Signals = signal.SIGTERM, user: SystemUser | None = None
) -> list[str]:
    """The command, made to end with this process (on Linux). Start it from the main thread.

    The kernel takes the end of the thread that started the child for the end of the parent.
    """
    uid, gid = (user.uid, user.gid) if user else (0, 0)
    # Isolated and without site-packages: a few milliseconds.
    python = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    return [*python, str(os.getpid()), str(int(death_signal)), str(uid), str(gid), "--", *command]


def launch(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    user: SystemUser | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, its output appended to a file. `directory` is its working directory."""
    with log.open("ab") as output:
        return subprocess.Popen(
            through_launcher(command, death_signal=death_signal, user=user),
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def identify(pid: int) -> Identity | None:
    """Who has this number now; None if nobody has, or only a dead child that was not waited for."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def session_members(leader: Identity) -> list[psutil.Process]:
    """Every living process of the session that this process opened, also when it is dead itself.

    The kernel gives a number to nobody else as long as a session goes by it; a later process of that number
    therefore means that the session is over.
    """
    now = identify(leader.pid)
    if now is not None and abs(now.started - leader.started) > 1:
        return []
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader.pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


def end_session(leader: Identity, *, how: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> int:
    """End a child, and then whatever is left of its own children; by force after `patience` seconds.

    How many there were. Blocks until they are gone.
    """
    members = session_members(leader)
    # The leader ends its own children in order; those that it leaves behind are told afterwards.
    first = [process for process in members if process.pid == leader.pid]
    rest = [process for process in members if process.pid != leader.pid]
    _end(first, how, patience)
    _end(rest, signal.SIGTERM, 1)
    return len(members)


def _end(processes: list[psutil.Process], how: signal.Signals, patience: float) -> None:
    for process in processes:
        _signal(process, how)
    # Looked at, not waited for: only the one who started a child may collect it.
    if not wait_for(lambda: not any(_alive(process) for process in processes), patience=patience):
        for process in processes:
            _signal(process, signal.SIGKILL)
        wait_for(lambda: not any(_alive(process) for process in processes), patience=5)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return


def wait_for(condition: Callable[[], bool], *, patience: float, interval: float = 0.01) -> bool:
    """Whether it became true within so many seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True
