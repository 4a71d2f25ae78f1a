"""Runs a program of `workers.programs` as on a host whose clock is wrong: `SECONDS MODULE ARGUMENT…`.

All that Python tells of the time is changed, in the program and in what it forks. As on a real host, monotonic clocks
go right. A program that replaces itself by another (exec) is out of reach.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from datetime import timedelta

import time_machine


def skewed(command: Sequence[str], seconds: float) -> list[str]:
    """Return the command line that runs a command line of `workers.programs` with a clock that is `seconds` fast.

    Negative: slow.
    """
    python, option, *module_and_arguments = command
    return [python, option, __name__, str(seconds), *module_and_arguments]


def main() -> None:
    """Run the module with its arguments as a program, with the clock set forward by so many seconds."""
    _, seconds, *sys.argv = sys.argv
    time_machine.travel(timedelta(seconds=float(seconds))).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
