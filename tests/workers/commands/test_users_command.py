"""Tests of the commands `standorte users …`: export and erasure of a person's data, reset of second factors."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.messages.outbox import Message, MessageState
from models.people.audit_log import AuditEntry
from models.people.logins import Login, begin_login
from models.people.rights import Role
from models.people.second_factors import RecoveryCode, SecondFactor, renew_recovery_codes
from models.people.users import User
from models.staff.erasure import ERASED_NAME, erase, open_erasures
from models.values import utc_now
from tests.factories import give_app, join, make_main, make_user
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")
MAXI, STAFF = "maxi.mustermensch@example.com", "backoffice@example.com"


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
        # The last mail has to leave first.
        assert not erase(session, erasure, user, utc_now())
        session.execute(sa.update(Message).values(state=MessageState.SENT, sent_at=utc_now(), due_at=None))
        assert erase(session, erasure, user, utc_now())
    with database.transaction() as session:
        assert session.get_one(User, id).name == ERASED_NAME
        assert open_erasures(session) == []


def reset(email: str) -> Result:
    typed = ["users", "reset-factors", email, "--proof", "called back on the number of the contract"]
    return CliRunner().invoke(cli, typed)


@pytest.mark.usefixtures("demo_data")
@pytest.mark.parametrize("email", [MAXI, STAFF])
def test_a_lost_factor_is_reset_and_the_person_is_told(owner_database: Database, email: str) -> None:
    database = owner_database
    with database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == email)).one()
        give_app(session, user)
        renew_recovery_codes(session, user, database.now())
        begin_login(session, user, "", "", database.now())
    for said in ("1 removed", "no second factor"):
        result = reset(email.upper())
        assert result.exit_code == 0 and said in result.stdout
    with database.transaction() as session:
        for table in (SecondFactor, RecoveryCode, Login):
            assert session.scalars(sa.select(table)).all() == []
        entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "factors_reset")).all()
        # Maxi has two accounts, our staff none.
        assert [entry.account_id is None for entry in entries] == ([True] if email == STAFF else [False, False])
        assert {entry.facts["proof"] for entry in entries} == {"called back on the number of the contract"}
        [mail] = session.scalars(sa.select(Message).where(Message.template == "login_changed"))
        assert (mail.recipient_address, mail.facts["what"]) == (email, "factors_reset")


def test_nobody_with_that_address() -> None:
    result = reset("nobody@example.com")
    assert result.exit_code == 1 and "Nobody signs in as" in result.stderr
