"""`standorte users export`: a person's data for staff, who hand it to the person."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.db.session import Database
from tests.factories import make_main
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def test_a_person_s_data_is_written_for_staff(database: Database, tmp_path: Path) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
    shown = CliRunner().invoke(cli, ["users", "export", manager.email.upper()])
    data = json.loads(shown.stdout)
    assert data["roles"] == [{"customer_number": main.customer_number, "role": "administrator"}]
    file = tmp_path / "data.json"
    assert CliRunner().invoke(cli, ["users", "export", manager.email, "--out", str(file)]).exit_code == 0
    assert json.loads(file.read_text()) == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nobody_has_no_data() -> None:
    assert CliRunner().invoke(cli, ["users", "export", "nobody@example.com"]).exit_code == 1
