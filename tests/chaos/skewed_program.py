"""Runs a program of `workers.programs` with a wrong clock.

Usage: `python -m tests.chaos.skewed_program SECONDS MODULE ARGUMENT…`. The program's clock is SECONDS ahead of the
machine's, or behind it if the number is negative.

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
    """Return a command line that runs `command` with a clock `seconds` ahead of the machine's (negative: behind).

    `command` is a command line of `workers.programs`: python, an option, a module and its arguments.
    """
    python, option, *module_and_arguments = command
    return [python, option, __name__, str(seconds), *module_and_arguments]


def main() -> None:
    """Run a Python module in this process with a wrong clock, which is ahead of the machine's by a number of seconds.

    The command line has this number (negative: behind), the module's name, and the module's arguments.
    """
    _, seconds, *sys.argv = sys.argv
    time_machine.travel(timedelta(seconds=float(seconds))).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
