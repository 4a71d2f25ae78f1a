"""Start, identify and end child processes of the stack."""

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
    """A process, told apart from a later one with the same id by its start time. `started`: seconds since 1970."""

    pid: int
    started: float


def through_launcher(
    command: Sequence[str], *, death_signal: signal.Signals = signal.SIGTERM, user: SystemUser | None = None
) -> list[str]:
    """Wrap a command so that it ends when this process does (on Linux). Start it from the main thread.

    The kernel signals the child when the thread that started it ends.
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
    """Return the identity of the process with an id; None if there is none, or only a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def session_members(leader: Identity) -> list[psutil.Process]:
    """Return every living process of a session, also if its leader is dead.

    The kernel does not reuse a process id while a session has it; so a later process with the leader's id means that
    the session has ended.
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
    """End a child, then its remaining descendants; kill them after `patience` seconds.

    Blocks until all have ended. Return how many there were.
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
    """Poll a condition. Return whether it became true within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True
