"""`.make/audit`, which looks for known vulnerabilities: with programs that answer like the real ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {"dependencies": [{"name": "flask", "version": "3.1.3", "vulns": []}], "fixes": []}
VULNERABLE = {
    "dependencies": [
        {"name": "flask", "version": "3.1.3", "vulns": []},
        {"name": "jinja2", "version": "3.1.6", "vulns": [{"id": "PYSEC-2026-7", "aliases": ["CVE-2026-7"]}]},
    ]
}
UNKNOWN = {"dependencies": [{"name": "flask", "skip_reason": "Dependency not found on PyPI"}]}
NPM_CLEAN: dict[str, Any] = {"auditReportVersion": 2, "vulnerabilities": {}}
NPM_VULNERABLE = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "axe-core": {"via": [{"url": "https://github.com/advisories/GHSA-aaaa-bbbb-cccc"}]},
        "other": {"via": ["axe-core"]},
    },
}
TODAY = datetime.now(UTC).date()

Audit = Callable[..., tuple[int, str]]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Return a function that runs .make/audit with these answers of pip-audit and npm, and these exceptions.

    An answer is what the program prints: an object as JSON, or a text, which goes to standard error. Returns exit
    status and output.
    """

    def program(name: str, answer: dict[str, Any] | str) -> str:
        path = tmp_path / name
        text, to = (answer, ">&2") if isinstance(answer, str) else (json.dumps(answer), "")
        path.write_text(f"#!/bin/sh\ncat {to} <<'END'\n{text}\nEND\nexit 1\n")
        path.chmod(0o755)
        return str(path)

    def run(python: dict[str, Any] | str, npm: dict[str, Any] | str, excepted: str = "") -> tuple[int, str]:
        exceptions = tmp_path / "exceptions.toml"
        exceptions.write_text(excepted)
        programs = [program("pip-audit", python), program("npm", npm)]
        command = [sys.executable, str(ROOT / ".make/audit"), "--exceptions", str(exceptions), *programs]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


def exception(name: str, *, days: int = 30, why: str = "Nothing here calls it.") -> str:
    return f'[[exception]]\nid = "{name}"\nuntil = {TODAY + timedelta(days=days)}\nwhy = "{why}"\n'


def test_what_is_not_known_to_be_vulnerable_passes(audit: Audit) -> None:
    status, said = audit(CLEAN, NPM_CLEAN)
    assert (status, said.count(": 0 known vulnerabilities")) == (0, 3)


def test_a_known_vulnerability_fails_with_its_package_and_number(audit: Audit) -> None:
    status, said = audit(VULNERABLE, NPM_CLEAN)
    assert status == 1
    assert "jinja2 3.1.6: PYSEC-2026-7 CVE-2026-7" in said
    status, said = audit(CLEAN, NPM_VULNERABLE)
    assert status == 1
    assert "axe-core: GHSA-aaaa-bbbb-cccc" in said


def test_a_written_exception_lets_it_pass_for_a_while(audit: Audit) -> None:
    both = exception("CVE-2026-7") + exception("GHSA-aaaa-bbbb-cccc", days=90)
    assert audit(VULNERABLE, NPM_VULNERABLE, both)[0] == 0
    assert audit(VULNERABLE, NPM_VULNERABLE, exception("CVE-2026-7"))[0] == 1


@pytest.mark.parametrize(
    "bad", [exception("CVE-2026-7", days=-1), exception("CVE-2026-7", days=91), exception("CVE-2026-7", why="")]
)
def test_an_exception_has_a_reason_and_ends(audit: Audit, bad: str) -> None:
    status, said = audit(CLEAN, NPM_CLEAN, bad)
    assert status == 1
    assert said.startswith("exceptions.toml: ")


@pytest.mark.parametrize("python", [UNKNOWN, "ConnectionError: no route to host", "{", {}])
@pytest.mark.parametrize("npm", [{"message": "405 Method Not Allowed"}, {"error": {"summary": "offline"}}, "offline"])
def test_what_cannot_be_looked_up_is_said_and_is_no_failure(
    audit: Audit, python: dict[str, Any] | str, npm: dict[str, Any] | str
) -> None:
    status, said = audit(python, npm)
    assert status == 0
    assert [line.split(": ")[:2] for line in said.splitlines()] == [
        ["NOT AUDITED", lock] for lock in ("requirements.lock", ".make/audit.lock", "tests/browser/package-lock.json")
    ]


def test_packages_are_named_that_the_index_does_not_know(audit: Audit) -> None:
    some = {"dependencies": [*CLEAN["dependencies"], *UNKNOWN["dependencies"]]}
    status, said = audit(some, NPM_CLEAN)
    assert status == 0
    assert "NOT AUDITED: requirements.lock: flask: Dependency not found on PyPI" in said


def test_the_tool_is_locked_by_hashes() -> None:
    lock = (ROOT / ".make/audit.lock").read_text()
    packages = re.split(r"^(?=[a-z])", lock, flags=re.M)[1:]
    assert "pip-audit" in {package.partition("==")[0] for package in packages}
    assert all("==" in package and "--hash=sha256:" in package for package in packages)
