"""The older version for an upgrade test, taken from git and extracted to a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from models.migrations import head_revision
from tests.hosts.network import NotPossible
from workers import programs

ROOT = Path(__file__).parents[2]
"""The root folder of this version."""
_MIGRATIONS = "models/migrations/versions"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of this software: its name in the table, its root folder, and the number of its newest migration."""

    name: str
    root: Path
    revision: str

    def environment(self) -> dict[str, str]:
        """Return environment variables with which Python imports this version, even if another one is installed."""
        return os.environ | {"PYTHONPATH": str(self.root)}

    def run(self, command: list[str], environment: dict[str, str]) -> str:
        """Run a command of this version in its folder until it ends; return what it printed to standard output.

        `environment` is added to the environment variables. Raises `AssertionError`, with the end of the output, if the
        command fails.
        """
        done = subprocess.run(
            command, cwd=self.root, env=self.environment() | environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"{self.name}: {' '.join(command[1:4])} failed: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def console(self, *arguments: str) -> list[str]:
        """Return the command line that runs `standorte` with these arguments, to be run in the version's folder."""
        return programs.console(*arguments)


def this_version() -> Version:
    """Return the version to which this file belongs."""
    return Version("new", ROOT, head_revision())


def version_before(asked: str | None, directory: Path) -> Version:
    """Extract an older version to a folder in `directory`, compile its translations, and return the version.

    `asked` is a revision or tag of git. If it is None, choose the newest tag whose newest migration is older than this
    version's, or else the newest such commit. Raises `NotPossible` if git's history is missing, or if the version's
    schema is not older than this one's.
    """
    revision = asked or _newest_before()
    name = _git("describe", "--tags", "--always", revision).strip()
    newest = _newest_migration(revision)
    if newest >= head_revision():
        raise NotPossible(f"{name} has migration {newest}, and this version {head_revision()}: nothing to migrate")
    root = directory / "before"
    root.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", str(root)], input=archive, check=True)
    subprocess.run([".make/translations", sys.executable], cwd=root, check=True)
    return Version(f"old ({name})", root, newest)


def changed_requirements(version: Version) -> list[str]:
    """Return the names of the packages that `version` requires and this version does not require in the same release.

    Both versions run with the installed packages, which are this version's.
    """
    before, now = (_pinned(root / "requirements.lock") for root in (version.root, ROOT))
    return sorted(name for name, release in before.items() if now.get(name) != release)


def _pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


def _newest_before() -> str:
    for tag in _git("tag", "--sort=-creatordate", "--merged", "HEAD").split():
        if _newest_migration(tag) < head_revision():
            return tag
    [newest] = (ROOT / _MIGRATIONS).glob(f"{head_revision()}_*.py")
    mainline = ("--first-parent", "--diff-merges=first-parent", "--diff-filter=A", "--no-patch", "--format=%H")
    added = _git("log", "-1", *mainline, "--", str(newest.relative_to(ROOT))).strip()
    # Not committed yet: then the last commit is older.
    return f"{added}^" if added else "HEAD"


def _newest_migration(revision: str) -> str:
    """Return the number of the newest migration in a revision of git."""
    names = _git("ls-tree", "--name-only", revision, f"{_MIGRATIONS}/").split()
    return max(Path(name).name.split("_")[0] for name in names if name.endswith(".py"))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotPossible(f"git {arguments[0]} says: {done.stderr.strip()}")
    return done.stdout
