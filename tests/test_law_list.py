"""Tests that docs/law.md names existing tests for each legal duty.

A duty that is not met must be in its list of what the carrier has to sign.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_security_list import defined_tests

TEXT = (Path(__file__).parents[1] / "docs/law.md").read_text()
DUTIES, TO_SIGN = TEXT.split("## To be signed by the carrier")
ROWS = [
    [cell.strip() for cell in line.strip("| ").split("|")]
    for line in DUTIES.splitlines()
    if line.startswith("|") and not line.startswith(("| duty", "| ---"))
]


def test_each_row_has_all_columns() -> None:
    assert len(ROWS) > 20
    assert {len(row) for row in ROWS} <= {5, 6}
    assert {row[4] for row in ROWS} == {"met", "in part", "waiver"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_met_names_tests_that_exist(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+)`", row[5] if len(row) > 5 else "")
    assert [name for name in named if not defined_tests()[name]] == []
    assert named or row[4] == "waiver"


def test_what_is_not_met_is_left_to_sign() -> None:
    open_rows = [row for row in ROWS if row[4] != "met"]
    lines = [line for line in TO_SIGN.splitlines() if line.startswith("|")][2:]
    assert len(lines) == len(open_rows)
