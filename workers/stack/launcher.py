"""Becomes a child of the stack: `python launcher.py PARENT SIGNAL UID GID -- command …`.

It runs as a file of its own, before the command, because what it does may not be done between fork and exec
of a Python with threads:

- the kernel sends SIGNAL to the command when PARENT dies, however that dies, so that nothing is left behind;
- as root, with a UID, it becomes that user, with none of root's rights.

Only the standard library, and only what starts fast.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Change what has to be changed, then become the command."""
    parent, signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[6:]
    if uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which resets it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(f"The stack ended before {command[0]} could start.")
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main()
