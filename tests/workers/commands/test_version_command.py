"""Tests that each program reports its version: the console, and web, worker and beat at the beginning of their logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.version import VERSION
from tests import forked_programs
from tests.fakes import wait_until
from tests.workers.commands.test_doctor import settings
from tests.workers.conftest import Children
from workers import programs
from workers.commands.doctor import CHECKS
from workers.stack.ports import free_port


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_the_console_says_it_without_settings(asked: str, tmp_path: Path) -> None:
    code, said, _ = forked_programs.run(programs.console(asked), {}, tmp_path)
    assert (code, said) == (0, f"{VERSION}\n")


def test_doctor_says_it() -> None:
    assert CHECKS["version"](settings()) == VERSION


@pytest.mark.usefixtures("database_settings")
def test_each_program_says_it_when_it_starts(children: Children) -> None:
    children.start(programs.console("web", "--port", str(free_port())))
    children.start(programs.worker(1))
    children.start(programs.beat(Path("schedule")))

    def told() -> set[tuple[str, str]]:
        lines = [json.loads(line) for line in children.said().splitlines() if line.startswith("{")]
        return {(line["program"], line["version"]) for line in lines if line.get("event") == "program.started"}

    wait_until(lambda: len(told()) == 3, what="all programs")
    assert told() == {(program, VERSION) for program in ("web", "worker", "beat")}
