"""Let root start servers as another user, because PostgreSQL refuses to run as root.

The other user may be unable to enter the folder of the checkout: root's home has mode 700 on Debian and Ubuntu. The
permissions of the folder are not changed. Instead:

- the server's directory is its working directory, entered before root's rights are given up, and opened under the name
  `/proc/self/cwd`;
- a wheel's programs are copied to a folder that every user can read (PROGRAMS), once for each version;
- the server's socket is in a folder that clients of either user can enter (SOCKETS).

Both folders belong to root and are in folders of root, so no other user can replace them by a link.
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
    """The numbers of the user and the group that a child process runs as."""

    uid: int
    gid: int


def unprivileged_user() -> SystemUser | None:
    """Return the user that servers have to run as: `nobody` if root runs this process, else None.

    None means this process's own user. Raises `StackError` if root runs this process on another system than Linux.
    """
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        raise StackError("Only Linux can run the embedded PostgreSQL for root. Start it as another user.")
    entry = pwd.getpwnam("nobody")
    return SystemUser(entry.pw_uid, entry.pw_gid)


def name_for(user: SystemUser | None, directory: Path) -> Path:
    """Return the path under which a server, started in `directory`, can open that directory as `user`.

    For this process's user (None) that is `directory` itself; for another user the working directory's name in /proc.
    """
    return directory if user is None else _WORKING_DIRECTORY


def make_shared(directory: Path) -> None:
    """Create a directory that every user can enter, but only this process's user (root) can change.

    Safe to run twice. Raises `StackError` if the directory cannot be created or its permissions cannot be set.
    """
    try:
        directory.mkdir(exist_ok=True)
        # Set explicitly, because the umask applies to mkdir.
        directory.chmod(0o755)
    except OSError as obstacle:
        raise StackError(
            f"Root runs PostgreSQL as another user, with files in {directory}: {obstacle.strerror}.\n"
            "Allow that, or start it as another user."
        ) from None


def installed_wheel(wheel: str, user: SystemUser | None) -> Path:
    """Return the folder with the files of an installed wheel, readable by `user`.

    For this process's user (None) that is the installed folder; for another user a copy, made atomically at the first
    call. Raises `NotInstalled` if the wheel is not installed, `StackError` if the folder for copies cannot be made.
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
            # Scripts and compiled modules are outside of the wheel's folders.
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            source, copied = Path(str(file.locate())), unfinished / file
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copied)
            copied.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        for folder, _, _ in os.walk(unfinished):
            Path(folder).chmod(0o755)
        # Write to disk before the rename, so that the copy is complete even after a crash of the machine.
        os.sync()
        # Another process may have been faster; its copy has the same files.
        if not target.exists():
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
