"""Runs the portal's programs in processes forked from one that has imported their modules.

This saves two seconds for each program. Other tests run `standorte up` and the documented way of setting up, which
start a Python interpreter for each program.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

# Forked from a process without threads that has imported and read everything already.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.preloaded"])


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, interpreter: bool = False
) -> BaseProcess:
    """Run a command line of `workers.programs` in a new process, in the folder of the file `log`; return the process.

    Its output is added to the file. The process leads a process group of its own. With `interpreter`, a console command
    that becomes another program (`standorte web`) starts a new Python interpreter for it, which imports everything
    again.
    """
    process = processes.Process(target=_run, args=(command, environment, log, None, interpreter))
    process.start()
    return process


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[int | None, str, str]:
    """Run a command line of `workers.programs` in the folder until it ends, for a minute at most.

    Return its exit code, its standard output and its standard error. If it has not ended after a minute, it is killed
    and the exit code is None.
    """
    output, errors = folder / "program.out", folder / "program.err"
    process = processes.Process(target=_run, args=(command, dict(environment), output, errors))
    process.start()
    process.join(60)
    code = process.exitcode
    kill(process)
    return code, output.read_text(), errors.read_text()


def kill(process: BaseProcess) -> None:
    """Kill a program and all processes of its process group with SIGKILL, and wait until it has ended."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join(10)


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    errors: Path | None = None,
    interpreter: bool = False,
) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(log.parent)
    with log.open("ab") as output, (errors or log).open("ab") as errors_output:
        os.dup2(output.fileno(), 1)
        os.dup2(errors_output.fileno(), 2)
    if not interpreter:
        os.execv = _become  # type: ignore[assignment]
    _run_module(command)


def _become(path: str, command: Sequence[str]) -> None:
    """Run a command line of `workers.programs` in this process, as `os.execv` would with a new interpreter.

    If `path` is not Python's, call the real `os.execv`.
    """
    if path != sys.executable:
        _execv(path, list(command))
    try:
        _run_module(command)
    finally:
        # An interpreter ends with these, and a process of multiprocessing without.
        atexit._run_exitfuncs()
    sys.exit()


_execv = os.execv


def _run_module(command: Sequence[str]) -> None:
    # The interpreter, `-m`, a module and its arguments.
    _, option, module, *arguments = command
    assert option == "-m"
    sys.argv = [module, *arguments]
    # It was imported before the fork, of which runpy would warn.
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
