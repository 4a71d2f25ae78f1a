"""Tests of the units in docs/systemd: they are valid, have limits and few rights, and start commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from web.settings import WebSettings
from workers.cli import cli
from workers.settings import WorkerSettings

FOLDER = Path(__file__).parents[2] / "docs" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
KNOWN = {"STANDORTE_DIR"} | {name.upper() for one in (WebSettings, WorkerSettings) for name in one.model_fields}


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.M)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_program_of_the_console_with_settings_that_there_are(unit: Path) -> None:
    program = unit.stem.removeprefix("standorte-")
    assert values(unit, "ExecStart") == [f"/opt/standorte/bin/standorte {program}"]
    command = typer.main.get_command(cli)
    assert program in command.commands  # type: ignore[attr-defined]
    assert {pair.partition("=")[0] for line in values(unit, "Environment") for pair in line.split()} <= KNOWN
    # Passwords stand in files that only root and the service read.
    assert all(line.startswith("/etc/standorte/") for line in values(unit, "EnvironmentFile"))
    expected = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "Restart": "always", "User": "standorte"}
    for name, value in expected.items():
        assert values(unit, name) == [value]
    assert values(unit, "MemoryMax") and values(unit, "TasksMax") and values(unit, "TimeoutStopSec")
    assert unit.name in (FOLDER / "README.md").read_text()


def test_there_is_a_unit_for_each_part_that_runs_for_long() -> None:
    assert {unit.stem.removeprefix("standorte-") for unit in UNITS} == {"web", "worker", "beat"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    for unit in UNITS:
        # The program has to be there.
        text = unit.read_text().replace("/opt/standorte/bin/standorte", sys.executable)
        (tmp_path / unit.name).write_text(text.replace("=standorte\n", "=daemon\n"))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *map(str, sorted(tmp_path.iterdir()))]
    said = subprocess.run(command, capture_output=True, text=True)
    assert [line for line in said.stderr.splitlines() if str(tmp_path) in line or "standorte-" in line] == []
