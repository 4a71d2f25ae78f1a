"""Tests of `standorte directory export`, which writes the directory entries that have changed since a given time.

Addresses are included only if the customer wants them published.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.states import AccountState
from models.telephony.directory import DirectoryData, DirectoryEntry, put_entry
from tests.factories import NOW, make_account
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")

SHOWN = DirectoryData("Müller; Söhne", show_address=True, published_in=("print", "online", "enquiries"))
HIDDEN = DirectoryData("Ohne Adresse", show_address=False, published_in=("enquiries",))


def export(*options: str) -> Result:
    return CliRunner().invoke(cli, ["directory", "export", *options])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))


@pytest.fixture
def numbers(database: Database) -> list[str]:
    """Create five accounts with one directory entry each; return their customer numbers.

    Their entries are, in this order: old; changed on day 2; withdrawn on day 3; new on day 2; new on day 2, but of an
    account that is still on order.
    """
    days = [NOW + timedelta(days=day) for day in range(4)]
    with database.transaction() as session:
        accounts = [make_account(session) for _ in range(4)]
        accounts.append(make_account(session, state=AccountState.ORDERED))
        for place, account in enumerate(accounts):
            put_entry(session, account.id, 4930_000 + place, SHOWN, days[0] if place < 3 else days[2])
        put_entry(session, accounts[1].id, 4930_001, HIDDEN, days[2])
        withdrawn = session.get_one(DirectoryEntry, accounts[2].id)
        withdrawn.withdrawn_at = withdrawn.changed_at = days[3]
        return [account.customer_number for account in accounts]


def test_without_a_day_all_that_is_published_is_listed(numbers: list[str]) -> None:
    result = export()
    assert result.exit_code == 0, result.output
    found = rows(result.stdout)
    assert [(row["change"], row["customer_number"], row["number"]) for row in found] == [
        ("new", numbers[0], "+4930000"), ("new", numbers[1], "+4930001"), ("new", numbers[3], "+4930003"),
    ]  # fmt: skip
    assert (found[0]["name"], found[0]["street"], found[0]["city"]) == (SHOWN.name, "Alter Markt 1", "Bielefeld")
    assert (found[1]["name"], found[1]["street"], found[1]["postal_code"]) == (HIDDEN.name, "", "")
    assert [(row["print"], row["online"], row["enquiries"]) for row in found[:2]] == [
        ("yes", "yes", "yes"), ("no", "no", "yes"),
    ]  # fmt: skip
    assert "3 entries" in result.stderr


def test_since_a_day_changes_are_marked_and_withdrawn_entries_are_told(numbers: list[str], tmp_path: Path) -> None:
    file = tmp_path / "changes.csv"
    result = export("--since", (NOW + timedelta(days=1)).strftime("%Y-%m-%d"), "--out", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    found = rows(file.read_text(encoding="utf-8"))
    assert [(row["change"], row["customer_number"]) for row in found] == [
        ("changed", numbers[1]), ("withdrawn", numbers[2]), ("new", numbers[3]),
    ]  # fmt: skip
    assert found[1]["print"] == "no" and found[1]["changed_at"] == "2026-03-05T09:00:00+01:00"
    assert rows(export("--since", "2027-01-01").stdout) == []


def test_what_was_saved_while_the_last_export_ran_is_told_by_the_next(numbers: list[str]) -> None:
    # The last change is of 5 March, 9:00 German time.
    assert [row["customer_number"] for row in rows(export("--since", "2026-03-05T09:59:00").stdout)] == [numbers[2]]
    assert rows(export("--since", "2026-03-05T10:01:00").stdout) == []


def test_a_name_is_no_formula(numbers: list[str], database: Database) -> None:
    with database.transaction() as session:
        session.execute(sa.update(DirectoryEntry).values(name='=HYPERLINK("http://evil")'))
    found = rows(export().stdout)
    assert {row["name"] for row in found} == {'\'=HYPERLINK("http://evil")'}
    assert found[0]["number"] == "+4930000"


def test_a_withdrawn_entry_that_is_published_again_is_changed(numbers: list[str], database: Database) -> None:
    with database.transaction() as session:
        withdrawn = session.scalars(sa.select(DirectoryEntry).where(DirectoryEntry.withdrawn_at.is_not(None))).one()
        put_entry(session, withdrawn.account_id, 4930_002, replace(SHOWN, name="Wieder da"), NOW + timedelta(days=9))
    [found] = rows(export("--since", "2026-03-10").stdout)
    assert (found["change"], found["customer_number"], found["name"]) == ("changed", numbers[2], "Wieder da")
