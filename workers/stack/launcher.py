"""Set up a child process of the stack, then execute its command in the same process.

Usage: `python launcher.py PARENT SIGNAL UID GID -- command …`. The launcher does this before it executes the command:

- It has the kernel send SIGNAL to the command when the process PARENT dies in any way, so that no child is left behind.
- As root, with a UID other than 0, it changes to that user and gives up all of root's rights.

It is a program of its own, because a Python process with threads must not do this between fork and exec. It imports
only modules of the standard library that load fast.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int, signal: int) -> bool:
    """Have the kernel send `signal` to this process when its parent process dies in any way (on Linux only).

    `parent` is the process number of the expected parent. Return True if that process is still the parent. If not, it
    has died already and the signal will never come: the caller should end. Systems other than Linux only get this
    check.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
    return os.getppid() == parent


def main() -> None:
    """Switch to user UID and group GID, have SIGNAL sent when PARENT dies, then execute the command in this process.

    All of these are arguments of the command line: `PARENT SIGNAL UID GID -- command …`. UID 0 keeps the present user.
    Exits with a message if the parent process has died already.
    """
    parent, signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[6:]
    if uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which resets the parent-death signal.
    if not end_with(parent, signal):
        sys.exit(f"The stack ended before {command[0]} could start.")
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main()
