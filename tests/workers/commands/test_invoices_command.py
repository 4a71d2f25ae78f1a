"""Tests of `standorte invoices …`, with which staff maintain collective invoices where no billing system does."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.people.audit_log import AuditEntry
from tests.factories import make_account, make_main, make_user
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def invoices(*typed: str) -> Result:
    return CliRunner().invoke(cli, ["invoices", *typed])


def test_who_is_billed_together_is_listed_and_logged_once(database: Database) -> None:
    assert "Nobody is billed together" in invoices("list").stdout
    with database.transaction() as session:
        main = make_main(session)[0].customer_number
        other = make_main(session)[0].customer_number
        account = make_account(session, name="Muster [Nord] GmbH", administrator=make_user(session))
        number, id = account.customer_number, account.id
    for _ in range(2):
        assert invoices("add", "SR-1", number, "--main", main).exit_code == 0
    listed = invoices("list").stdout
    for words in ("SR-1", main, number, "Muster [Nord] GmbH"):
        assert words in listed
    assert "another main account's" in invoices("add", "SR-1", number, "--main", other).stderr
    for left in (1, 0):
        assert f"{left} left collective invoice SR-1" in invoices("remove", "SR-1", number).stdout
    assert "Nobody is billed together" in invoices("list").stdout
    with database.transaction() as session:
        log = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert [(entry.deed, entry.account_id, entry.by_staff, entry.facts) for entry in log] == [
            ("invoice_joined", id, True, {"invoice": "SR-1"}),
            ("invoice_left", id, True, {"invoice": "SR-1"}),
        ]
