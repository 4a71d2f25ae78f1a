"""Tests of how `make hosts` judges a run: it reads the customers' records and reports what is not acceptable.

A run that could not take place does not count as a success.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hosts.network import Cut
from tests.hosts.record import Record
from tests.hosts.table import Span, table

SPAN = Span("front1", "one of two fronts", Cut.SILENT, "", 100.0, 120.0, 160.0, healed=4.0, back=3.0, calm=2.0)


def a_record(tmp_path: Path, *lines: dict[str, object]) -> Record:
    """Return the record of a load that has written `lines` and the beginning of one more line."""
    file = tmp_path / "load.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"at": 1')
    record = Record(file)
    record.read()
    return record


def a_try(order: int, ended: float, status: int | None = 202) -> dict[str, object]:
    how = {"status": status} if status is not None else {"error": "ReadTimeout"}
    return {"at": ended, "order": order, "began": ended - 1, **how}


def test_an_order_that_was_repeated_is_one(tmp_path: Path) -> None:
    record = a_record(
        tmp_path,
        a_try(1, 102.0, 503),
        a_try(1, 103.0, None),
        a_try(1, 104.0),
        {"at": 104.0, "order": 1, "accepted": "id"},
        {"at": 105.0, "order": 2, "unanswered": True},
        {"at": 106.0, "order": 3, "failed": "404"},
    )
    [accepted] = record.accepted
    assert (accepted.began, accepted.ended, record.unanswered, record.failed) == (101.0, 104.0, 1, ["404"])
    assert record.last_failure(0) == 103.0 and record.last_failure(103.0) is None
    assert record.first_accepted(101.0) is None and record.first_accepted(100.0) == accepted
    cells = [cell.strip() for cell in table([SPAN], record).splitlines()[1].split("  ") if cell.strip()]
    assert cells[3:] == ["1", "1", "2.0 s", "1", "56.0 s", "4.0 s", "3.0 s"]
    assert SPAN.wrong(record) == []


@pytest.mark.parametrize(("ended", "is_wrong"), [(119.0, False), (121.0, False), (149.0, False), (151.0, True)])
def test_an_error_counts_from_the_cut_or_from_the_return(tmp_path: Path, ended: float, is_wrong: bool) -> None:
    assert bool(SPAN.wrong(a_record(tmp_path, a_try(1, ended, 503)))) is is_wrong


def test_what_never_healed_or_came_back_is_wrong(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    for span in (replace(SPAN, healed=None), replace(SPAN, back=None), replace(SPAN, calm=None)):
        assert len(span.wrong(record)) == 1


def test_where_it_cannot_run_it_says_so_and_is_no_success(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts"],
        env=os.environ | {"PATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 77 and done.stdout.startswith("NOT RUN:"), done
