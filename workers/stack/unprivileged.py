"""Run a server as another user when started by root, because PostgreSQL refuses to run as root.

That user may be unable to enter the folder of the checkout: root's home has mode 700 on Debian and Ubuntu. The server
gets no right to do so, and the folder stays as it is. Instead:

- its directory is its working directory, entered before root is given up, and called `/proc/self/cwd`;
- a wheel's programs are copied to a folder that every user can read (PROGRAMS), once for each version;
- its socket lies in a folder that its clients of either user can enter (SOCKETS).

Both folders are root's and lie in folders of root, so no other user can put a link in their place.
"""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workers.stack.errors import NotInstalled, StackError

PROGRAMS = Path("/var/cache/standorte-embedded")
SOCKETS = Path("/run/standorte-embedded")
_WORKING_DIRECTORY = Path("/proc/self/cwd")


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user of this machine that a child runs as."""

    uid: int
    gid: int


def unprivileged_user() -> SystemUser | None:
    """Return the user that servers run as: `nobody` if this process is root's, None for this process's own.

    Raises `StackError` for root on a system without `/proc/self/cwd`.
    """
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        raise StackError("Only Linux can run the embedded PostgreSQL for root. Start it as another user.")
    entry = pwd.getpwnam("nobody")
    return SystemUser(entry.pw_uid, entry.pw_gid)


def name_for(user: SystemUser | None, directory: Path) -> Path:
    """Return the name by which a server of this user, started in `directory`, can open it."""
    return directory if user is None else _WORKING_DIRECTORY


def make_shared(directory: Path) -> None:
    """Create a directory of root's that every user can enter and only root can change. Raises `StackError`."""
    try:
        directory.mkdir(exist_ok=True)
        # Whatever the umask.
        directory.chmod(0o755)
    except OSError as obstacle:
        raise StackError(
            f"Root runs PostgreSQL as another user, with files in {directory}: {obstacle.strerror}.\n"
            "Allow that, or start it as another user."
        ) from None


def installed_wheel(wheel: str, user: SystemUser | None) -> Path:
    """Return the folder with the files of an installed wheel that this user can read.

    For another user that is a copy, complete or absent, made at the first call. Raises `StackError`.
    """
    try:
        distribution = importlib.metadata.distribution(wheel)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(f"The wheel {wheel} is not installed; `make setup` installs it.") from None
    if user is None:
        return Path(str(distribution.locate_file("")))
    copy = PROGRAMS / f"{wheel}-{distribution.version}"
    if not copy.exists():
        make_shared(PROGRAMS)
        _copy(distribution, copy)
    return copy


def _copy(distribution: importlib.metadata.Distribution, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for file in distribution.files or ():
            # A script's or a compiled module's place is outside of the wheel's folders.
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            source, copied = Path(str(file.locate())), unfinished / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copied)
            copied.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        for folder, _, _ in os.walk(unfinished):
            Path(folder).chmod(0o755)
        # Nothing is missing after a crash of the machine either.
        os.sync()
        # Another process may have been faster: its copy has the same files.
        if not target.exists():
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
