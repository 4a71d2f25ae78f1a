"""Tests of the linter for migrations: a migration that would block customers' requests fails `make check`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HOLDS_UP_CUSTOMERS = {
    "CREATE INDEX ix_accounts_city ON accounts (city);": "require-concurrent-index-creation",
    "ALTER TABLE accounts ADD CONSTRAINT ck_accounts_city CHECK (city <> '');": "constraint-missing-not-valid",
    "ALTER TABLE accounts ALTER COLUMN city TYPE varchar(80);": "changing-column-type",
    "ALTER TABLE accounts RENAME COLUMN city TO town;": "renaming-column",
    "ALTER TABLE accounts DROP COLUMN city;": "ban-drop-column",
}
HARMLESS = "BEGIN; ALTER TABLE accounts ADD COLUMN IF NOT EXISTS note text; COMMIT;"


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter for migrations as `make check` does, on these files (none: on all migrations).

    Return the ended process, with its exit status and output.
    """
    command = [str(ROOT / ".make" / "lint-migrations"), sys.prefix, *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("statement", HOLDS_UP_CUSTOMERS)
def test_a_statement_that_holds_up_customers_is_refused(statement: str, tmp_path: Path) -> None:
    migration = tmp_path / "bad.sql"
    migration.write_text(statement)
    done = lint(migration)
    assert done.returncode == 1
    assert HOLDS_UP_CUSTOMERS[statement] in done.stderr


def test_a_new_column_is_accepted(tmp_path: Path) -> None:
    migration = tmp_path / "good.sql"
    migration.write_text(HARMLESS)
    assert lint(migration).returncode == 0


def test_the_migrations_after_the_first_thirteen_are_accepted() -> None:
    done = lint()
    assert (done.returncode, done.stderr.count("warning")) == (0, 0)
