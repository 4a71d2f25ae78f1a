"""Runs a program of `workers.programs` with a wrong clock: `SECONDS MODULE ARGUMENT…`.

Every clock of Python that tells the time is changed, in the program and in the processes that it forks. Monotonic
clocks run at their usual speed, as on a real host. A program that replaces itself by another one (exec) has the real
clock again.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from datetime import timedelta

import time_machine


def skewed(command: Sequence[str], seconds: float) -> list[str]:
    """Return a command line that runs `command` with a clock that is `seconds` fast (negative: slow).

    `command` is a command line of `workers.programs`: python, an option, a module and its arguments.
    """
    python, option, *module_and_arguments = command
    return [python, option, __name__, str(seconds), *module_and_arguments]


def main() -> None:
    """Run the module that the command line names, with its arguments, and a clock that is SECONDS fast."""
    _, seconds, *sys.argv = sys.argv
    time_machine.travel(timedelta(seconds=float(seconds))).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
