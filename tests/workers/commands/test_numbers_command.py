"""Tests of `standorte numbers …`, with which staff add and remove number blocks, and see who had a number."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import account_by_number
from models.db.session import Database
from models.people.audit_log import AuditEntry
from models.telephony.number_pool import NumberPool, pool_has, release_block
from tests.factories import NOW, fill_pool, make_account
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def numbers(*typed: str) -> Result:
    return CliRunner().invoke(cli, ["numbers", *typed])


def history(number: str) -> Result:
    return numbers("history", number)


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


def test_a_pool_is_emptied_but_for_what_is_given_out_and_filled_again(database: Database) -> None:
    these = ("--area-code", "030", "--first-subscriber", "20000000", "--size", "10", "--count", "4")
    with database.transaction() as session:
        fill_pool(session, count=3)
        account = make_account(session)
        NumberPool(session, NOW, {("030", 10): 1}).take("030", 10, account.id)
    said = numbers("withdraw", *these)
    assert said.exit_code == 0, said.output
    assert "2 blocks withdrawn, 1 not in the pool." in said.stdout
    assert "Given out, and left as they are: 030 2000000-0 … -9." in said.stdout
    assert "0 blocks withdrawn, 3 not in the pool." in numbers("withdraw", *these).stdout
    assert numbers("show").stdout.split()[-6:] == ["10", "0", "0", "1", "2", "0"]
    with database.transaction() as session:
        assert not pool_has(session, "030", 10, database.now() + timedelta(days=3650))
    # One that came back, and the fourth, which is new.
    assert "3 blocks added, 1 there already." in numbers("stock", *these).stdout
    assert numbers("show").stdout.split()[-6:] == ["10", "3", "0", "1", "0", "0"]
    with database.transaction() as session:
        log = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert [(entry.deed, entry.account_id, entry.facts) for entry in log] == [
            ("numbers_withdrawn", None, {"numbers": "030 20000000, 4 × 10", "withdrawn": 2}),
            ("numbers_stocked", None, {"numbers": "030 20000000, 4 × 10", "added": 3}),
        ]


@pytest.mark.parametrize("command", ["stock", "withdraw"])
@pytest.mark.parametrize(
    ("area_code", "first", "size", "said"),
    [
        ("0999", "1", "1", "There is no Ortsnetz 0999"),
        ("030", "12a", "10", "--first-subscriber is the number after the area code"),
        ("030", "20000001", "10", "A block of 10 begins at a multiple of 10"),
        ("030", "20000000", "7", "A block has 1, 10 or 100 numbers"),
    ],
)
def test_a_range_that_is_none_is_refused(command: str, area_code: str, first: str, size: str, said: str) -> None:
    refused = numbers(command, "--area-code", area_code, "--first-subscriber", first, "--size", size)
    assert (refused.exit_code, said in refused.stderr) == (1, True), refused.output
