"""Tests of `standorte accounts limits`, which sets limits for one company.

Bulk files that waited because of a limit continue.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit
from models.bulk.bulk import Bulk
from models.db.session import Database
from models.people.audit_log import AuditEntry
from models.values import utc_now
from tests.factories import make_bulk, make_main, sites
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["accounts", "limits", *arguments])


def test_a_raised_limit_is_shown_and_lets_files_go_on(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        waiting = make_bulk(session, manager, main, sites(2))
        waiting.send(utc_now())
        waiting.wait_for(Limit.LETTERS, utc_now() + timedelta(days=1))
        id, number = waiting.id, main.customer_number
    assert "letters: 50, 0 today" in run(number).stdout
    assert "letters: 1000 (usual: 50), 0 today" in run(number, "--letters", "1000").stdout
    with database.transaction() as session:
        found = session.get_one(Bulk, id)
        assert found.due_at is not None and found.due_at <= utc_now()
    assert "letters: 50, 0 today" in run(number, "--letters", "usual").stdout
    assert run(number, "--letters", "usual").exit_code == 0
    with database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert [(one.deed, one.account_id, one.user_id) for one in entries] == [("limit_changed", main.id, None)] * 2
        assert [one.facts["allowed"] for one in entries] == [1000, None]


def test_a_sub_account_has_no_limits_of_its_own(database: Database) -> None:
    with database.transaction() as session:
        main, _ = make_main(session, subs=1)
        sub = session.scalars(sa.select(Account.customer_number).where(Account.main_id == main.id)).one()
    assert run(sub, "--letters", "1000").exit_code == 1


@pytest.mark.parametrize("typed", ["0", "-1", "many", "1000001"])
def test_a_limit_that_is_none_is_refused(database: Database, typed: str) -> None:
    with database.transaction() as session:
        number = make_main(session)[0].customer_number
    assert run(number, f"--letters={typed}").exit_code == 1
