"""Becomes a child of the stack: `python launcher.py PARENT SIGNAL UID GID -- command …`.

It runs as a file of its own, before the command, because what it does may not be done between fork and exec
of a Python with threads:

- the kernel sends SIGNAL to the command when PARENT dies, however that dies, so that nothing is left behind;
- as root, with a UID, it gives root up, because PostgreSQL refuses to be root. It keeps the one right to pass
  through directories (CAP_DAC_READ_SEARCH): the checkout may lie under a directory that only root may enter,
  and opening that to everyone is not ours to do.

Only the standard library, and only what starts fast.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Change what has to be changed, then become the command."""
    parent, signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[6:]
    if uid:
        _give_up_root(uid, gid)
    # After the change of user, which resets it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(f"The stack ended before {command[0]} could start.")
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


def _give_up_root(uid: int, gid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    keep = sys.platform == "linux" and libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep:
        # The kernel's header, and twice 32 bits each of effective, permitted and inheritable
        mask = 1 << _CAP_DAC_READ_SEARCH
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        # Without that right (a container may lack it) PostgreSQL says itself which directory it cannot enter.
        if libc.capset(header, data) == 0:
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0)


if __name__ == "__main__":
    main()
