"""Tests of the command `standorte accounts import`.

It writes a report and ends with 1 if a row is invalid, with 2 if the file cannot be used. A dry run changes nothing.
Its memory does not grow with the file.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account
from models.db.session import Database
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.users import User
from tests.factories import make_user
from tests.workers.accounts.conftest import HEADER, line
from workers.accounts.customer_import import BATCH
from workers.commands.accounts import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["import", *arguments])


@pytest.mark.usefixtures("database_settings")
def test_the_command_ends_with_one_and_writes_a_report_if_a_row_is_bad(file: Path) -> None:
    file.write_text("\n".join([HEADER, line("4000001"), *(line("1") for _ in range(25))]))

    result = run(str(file))

    assert result.exit_code == 1
    assert "line 3, customer_number" in result.stderr
    assert "5 more" in result.stderr
    assert "25  not taken over" in result.stdout
    report = file.with_name("customers.csv.errors.csv")
    rows = list(csv.reader(report.read_text("utf-8-sig").splitlines(), delimiter=";"))
    assert rows[0] == ["line", "column", "reason", "taken_over", "explanation"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(3, 28)]

    file.write_text("\n".join([HEADER, line("4000001")]))
    result = run(str(file))
    assert (result.exit_code, report.exists()) == (0, False)


@pytest.mark.usefixtures("database_settings")
def test_the_command_ends_with_two_if_the_file_is_of_no_use(file: Path) -> None:
    file.write_text("something else")

    result = run(str(file))

    assert result.exit_code == 2
    assert "has no customer_number" in result.stderr


@pytest.mark.usefixtures("database_settings")
def test_a_dry_run_counts_and_reports_and_changes_nothing(owner_database: Database, file: Path) -> None:
    file.write_text("\n".join([HEADER, line("4000001"), line("1")]))

    dry = run(str(file), "--dry-run", "--tell")

    assert dry.exit_code == 1
    for said in ("1  created", "1  not taken over", "1  administrators get a link by mail", "A dry run"):
        assert said in dry.stdout
    assert "line 3, customer_number" in dry.stderr
    with owner_database.transaction() as session:
        for table in (Account, User, AuditEntry, Message):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    wet = run(str(file))
    assert "1  created" in wet.stdout
    assert "A dry run" not in wet.stdout


@pytest.mark.usefixtures("database_settings")
def test_administrators_are_told_once_and_only_if_the_operator_says_so(owner_database: Database, file: Path) -> None:
    with owner_database.transaction() as session:
        known = make_user(session, email="known@example.com")
        assert known.password_hash is not None
    lines = [line("4000001"), line("4000002"), line("4000003", contact_email="known@example.com"), line("1")]
    # Of two accounts.
    lines.append(line("4000004", contact_email="kontakt4000001@example.de"))
    file.write_text("\n".join([HEADER, *lines]))

    def told() -> list[tuple[str, str, str]]:
        with owner_database.transaction() as session:
            mails = session.scalars(sa.select(Message).order_by(Message.recipient_address)).all()
            return [(mail.template, mail.recipient_address, mail.facts["customer_number"]) for mail in mails]

    assert "by mail" not in run(str(file)).stdout
    assert told() == []
    assert "2  administrators get a link by mail" in run(str(file), "--tell").stdout
    expected = [(4000001, "kontakt4000001@example.de"), (4000002, "kontakt4000002@example.de")]
    assert told() == [("login_created", address, str(number)) for number, address in expected]
    assert "by mail" not in run(str(file), "--tell").stdout
    assert len(told()) == 2


@pytest.mark.usefixtures("database_settings")
def test_memory_does_not_grow_with_the_file(file: Path) -> None:
    rows = {"first": 1, "batch": BATCH, "large": 4 * BATCH}
    numbers = count(5_000_000)
    for name, amount in rows.items():
        file.with_name(name).write_text("\n".join([HEADER, *(line(str(next(numbers))) for _ in range(amount))]))
    # The peak of what the program itself keeps. The first file is for all that it imports and prepares.
    code = (
        "import sys, tracemalloc; from workers.commands.accounts import app\n"
        "for file in sys.argv[1:]:\n"
        "    tracemalloc.start()\n"
        "    app(['import', file], standalone_mode=False)\n"
        "    print(tracemalloc.get_traced_memory()[1])\n"
        "    tracemalloc.stop()"
    )
    command = [sys.executable, "-c", code, *(str(file.with_name(name)) for name in rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, batch, large = map(int, re.findall(r"^(\d+)$", done.stdout, re.M))
    assert large < batch * 1.2
