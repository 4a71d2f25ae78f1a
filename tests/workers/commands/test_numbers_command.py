"""Tests of the command `standorte numbers history`, as the carrier's staff use it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from models.accounts.accounts import account_by_number
from models.db.session import Database
from models.telephony.number_pool import NumberPool, release_block
from tests.factories import NOW, fill_pool, make_account
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def history(number: str) -> Result:
    return CliRunner().invoke(cli, ["numbers", "history", number])


def test_a_number_tells_who_had_it(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=2)
        account = make_account(session, name="Muster [Nord] GmbH", street="Am Tor 1", city="Berlin")
        number = account.customer_number
        pool = NumberPool(session, NOW, {("030", 10): 2})
        pool.take("030", 10, account.id)
    shown = history("030 20000004")
    assert shown.exit_code == 0, shown.output
    for words in ("+493020000004 is in block 030 2000000-0 … -9.", number, "Muster [Nord] GmbH, Am Tor 1", "today"):
        assert words in shown.stdout
    with database.transaction() as session:
        found = account_by_number(session, number)
        assert found is not None
        block = NumberPool(session, NOW, {}).take("030", 10, found.id)
        release_block(block, NOW)
    assert "02.03.2026 09:00  02.03.2026 09:00" in history("+49 30 20000010").stdout


def test_a_number_that_nobody_has_and_one_that_is_not_ours(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
    assert "No account has it" in history("0049 30 20000000").stdout
    assert "none of our numbers" in history("030 4711000").stderr
    refused = history("Rathaus")
    assert (refused.exit_code, "Rathaus is no phone number." in refused.stderr) == (1, True)
