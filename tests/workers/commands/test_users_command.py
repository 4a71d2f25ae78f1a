"""`standorte users export`: a person's data for staff, who hand it to the person."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.db.session import Database
from models.people.rights import Role
from models.people.users import User
from models.staff.erasure import ERASED_NAME, erase, open_erasures
from models.values import utc_now
from tests.factories import join, make_main, make_user
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


def test_staff_erase_a_person_but_not_an_only_administrator(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        member = make_user(session)
        join(session, member, main, Role.LOCAL_MEMBER)
        address, id = member.email, member.id
    refused = CliRunner().invoke(cli, ["users", "erase", manager.email, "--yes"])
    assert refused.exit_code == 1 and main.customer_number in refused.stderr
    assert CliRunner().invoke(cli, ["users", "erase", address], input="n\n").exit_code == 1
    assert CliRunner().invoke(cli, ["users", "erase", address, "--yes"]).exit_code == 0
    assert CliRunner().invoke(cli, ["users", "erase", address, "--yes"]).exit_code == 0
    with database.transaction() as session:
        [(erasure, user)] = open_erasures(session)
        assert erase(session, erasure, user, utc_now())
    with database.transaction() as session:
        assert session.get_one(User, id).name == ERASED_NAME
        assert open_erasures(session) == []
