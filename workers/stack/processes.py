"""Start the child processes of the embedded stack, recognise them in a later run, and end them."""

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
    """A process, identified by its number and start time (seconds since 1970), because process numbers are reused."""

    pid: int
    started: float


def through_launcher(
    command: Sequence[str], *, death_signal: signal.Signals = signal.SIGTERM, user: SystemUser | None = None
) -> list[str]:
    """Return a command line that runs `command` through launcher.py, as `user` (None: this process's user).

    On Linux the kernel sends `death_signal` to the command when this process ends. Start the command from the main
    thread, because the kernel treats the end of the starting thread as the end of the parent.
    """
    uid, gid = (user.uid, user.gid) if user else (0, 0)
    # Isolated and without site-packages, Python starts in a few milliseconds.
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
    """Start a child process in a new session through launcher.py, and return the process.

    The output is appended to the file `log`. `env` are the environment variables, `directory` is the working directory,
    and `user` the user that runs the child; if None, each is that of this process. On Linux the kernel sends
    `death_signal` to the child when this process ends.
    """
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
    """Return number and start time of the running process `pid`; None if there is none, or only a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def session_members(leader: Identity) -> list[psutil.Process]:
    """Return all running processes of the session that the process `leader` opened, even if `leader` itself has ended.

    The kernel does not reuse a process number as long as a session has that number. A later process with the leader's
    number therefore means that the session has ended, and the result is empty.
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
    """End all processes of the session that `leader` opened: `leader` by the signal `how`, then the others by SIGTERM.

    A process that does not end is killed: `leader` after `patience` seconds, the others after one second. Blocks until
    all have ended, and returns how many processes the session had.
    """
    members = session_members(leader)
    # The leader ends its own children in order; those that it leaves behind are signalled afterwards.
    first = [process for process in members if process.pid == leader.pid]
    rest = [process for process in members if process.pid != leader.pid]
    _end(first, how, patience)
    _end(rest, signal.SIGTERM, 1)
    return len(members)


def _end(processes: list[psutil.Process], how: signal.Signals, patience: float) -> None:
    for process in processes:
        _signal(process, how)
    # Polled instead of waited for, because only a child's parent can wait for the child.
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
    """Call `condition` every `interval` seconds until it returns True, for at most `patience` seconds.

    Return True if it returned True in time, else False.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True
