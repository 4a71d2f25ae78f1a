"""Tests of the version number, of the changelog, and of `make release`."""

from __future__ import annotations

import re
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from shutil import copy

import pytest

from models.version import VERSION

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
FOR_OPERATORS = "### What an operator has to do"
NOTES = f"{FOR_OPERATORS}\n\nNothing.\n\n### What has changed\n\n- Much.\n"


def releases(text: str) -> dict[str, str]:
    """Return the text of each release in the changelog `text`, by its heading, the newest first."""
    return dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))


def test_each_release_says_when_it_was_and_what_an_operator_has_to_do() -> None:
    found = releases(CHANGELOG)
    assert found
    for heading, text in found.items():
        told = text.partition(FOR_OPERATORS)[2].partition("\n### ")[0]
        assert told.strip(), heading
    dated = [heading for heading in found if heading != "Unreleased"]
    assert [heading for heading in dated if not re.fullmatch(r"\d+\.\d+\.\d+ – \d{4}-\d\d-\d\d", heading)] == []
    assert "Unreleased" not in list(found)[1:]
    days = [date.fromisoformat(heading.partition(" – ")[2]) for heading in dated]
    assert days == sorted(days, reverse=True)


def test_the_newest_heading_is_the_version() -> None:
    newest = next(iter(releases(CHANGELOG)))
    if newest == "Unreleased":
        assert VERSION.endswith(".dev0")
    else:
        assert newest.split(" – ")[0] == VERSION


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "models.version.VERSION"}


class Repository:
    """A git repository in the folder `root` with all that a release needs; `release` runs `make release`'s program."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (".make", ".ci", "models"):
            (root / folder).mkdir()
        copy(ROOT / ".make/release", root / ".make/release")
        copy(ROOT / ".gitignore", root)
        self.git("init", "--quiet")
        self.write("1.2.0", f"1.2.0 – {date.today().isoformat()}")

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, version: str, heading: str, notes: str = NOTES) -> None:
        """Write the version and the changelog, commit them, and record that the tests of this commit have passed.

        `heading` is the heading of the newest release in the changelog, `notes` is its text.
        """
        (self.root / "models/version.py").write_text(f'VERSION = "{version}"\n')
        before = f"## 1.1.0 – 2026-01-01\n\n{NOTES}"
        (self.root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n\n{notes}\n{before}")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        (self.root / ".ci/passed").write_text(self.git("rev-parse", "HEAD"))

    def release(self, *arguments: str) -> tuple[int, str]:
        who = {"GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.com", "PATH": "/usr/bin:/bin"}
        command = [str(self.root / ".make/release"), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, env=who)
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository that is ready for the release 1.2.0."""
    return Repository(tmp_path)


def test_a_release_is_an_annotated_tag_with_what_operators_have_to_do(repository: Repository) -> None:
    assert repository.release("--check") == (0, "1.2.0 can be released.\n")
    assert repository.git("tag") == ""
    status, said = repository.release()
    assert status == 0 and "git push origin v1.2.0" in said
    assert repository.git("cat-file", "-t", "v1.2.0") == "tag"
    told = repository.git("tag", "--list", "--format=%(contents)", "v1.2.0")
    assert told == "Version 1.2.0\n\nWhat an operator has to do:\n\nNothing."
    assert repository.release() == (1, "NOT RELEASED: v1.2.0 exists already\n")


def test_what_a_release_lacks_is_named_and_nothing_is_tagged(repository: Repository) -> None:
    today = date.today().isoformat()
    lacking = {
        "a release has three numbers": ("1.2.0.dev0", "Unreleased", NOTES),
        "instead of": ("1.2.0", "1.2.0 – 2026-01-02", NOTES),
        "What an operator": ("1.2.0", f"1.2.0 – {today}", f"{FOR_OPERATORS}\n\n### What has changed\n\n- Much.\n"),
    }
    for sentence, (version, heading, notes) in lacking.items():
        repository.write(version, heading, notes)
        status, said = repository.release()
        assert status == 1 and sentence in said and said.count("NOT RELEASED") == 1, said
    repository.write("1.2.0", f"1.2.0 – {today}")
    (repository.root / "models/new.py").touch()
    assert repository.release() == (1, "NOT RELEASED: there are changes that are not committed\n")
    (repository.root / "models/new.py").unlink()
    (repository.root / ".ci/passed").write_text("another commit")
    assert repository.release() == (1, "NOT RELEASED: .ci/run has not passed for this commit\n")
    repository.write("1.2.0", f"1.2.0 – {today}")
    repository.git("tag", "v1.10.0")
    assert repository.release() == (1, "NOT RELEASED: v1.10.0 is newer\n")
    assert repository.git("tag") == "v1.10.0"
