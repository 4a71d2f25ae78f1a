"""Tests of how `make upgrade` finds the older version, judges a run, and reports what is not acceptable.

A run that could not take place does not count as a success.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.migrations import head_revision
from tests.hosts.network import NotPossible
from tests.hosts.record import Record
from tests.upgrade.table import Part, Seen, table
from tests.upgrade.versions import ROOT, version_before
from tests.upgrade.watch import Answer, Wait, Watch

PART = Part("old", 100.0, 160.0)


def seen(tmp_path: Path, *lines: dict[str, object], watch: Watch | None = None) -> Seen:
    """Return what was seen in an upgrade whose load has written one accepted order, and then `lines`.

    `watch` is what the watch has seen (None: nothing).
    """
    file = tmp_path / "load.jsonl"
    first = {"at": 101.0, "order": 0, "began": 100.5, "status": 202}
    file.write_text("".join(f"{json.dumps(line)}\n" for line in (first, *lines)))
    record = Record(file)
    record.read()
    return Seen([record], watch or Watch())


def test_a_quiet_upgrade_is_right(tmp_path: Path) -> None:
    watch = Watch(answers=[Answer("http://front/readyz", 120.0, 200)])
    watch.waits[1, "now"] = Wait(120.0, 0.3, "SELECT", "standorte_owner: ALTER TABLE")
    found = seen(tmp_path, watch=watch)
    assert found.wrong([PART]) == []
    assert table([PART], found).splitlines()[1].split() == [
        *("old", "60", "s", "1", "1", "0", "0"),
        *("500", "ms", "300", "ms", "1"),
    ]


@pytest.mark.parametrize("how", [{"status": 503}, {"status": 429}, {"error": "ReadTimeout"}])
def test_an_order_that_has_to_be_repeated_is_too_much(tmp_path: Path, how: dict[str, object]) -> None:
    assert len(seen(tmp_path, {"at": 120.0, "order": 1, "began": 119.0, **how}).wrong([PART])) == 1


@pytest.mark.parametrize("line", [{"failed": "409 no"}, {"unanswered": True}])
def test_an_order_that_is_not_accepted_is_too_much(tmp_path: Path, line: dict[str, object]) -> None:
    assert len(seen(tmp_path, {"at": 120.0, "order": 1, **line}).wrong([PART])) == 1


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_page_without_an_answer_is_too_much(tmp_path: Path, status: int | None) -> None:
    watch = Watch(answers=[Answer("http://front/readyz", 120.0, status)])
    assert len(seen(tmp_path, watch=watch).wrong([PART])) == 1


def test_a_statement_that_waits_longer_than_half_a_second_is_too_much_for_any_lock(tmp_path: Path) -> None:
    watch = Watch()
    watch.waits[1, "now"] = Wait(120.0, 0.51, "SELECT", "standorte_owner: ALTER TABLE")
    watch.waits[2, "now"] = Wait(120.0, 0.51, "UPDATE", "standorte_worker: UPDATE")
    assert len(seen(tmp_path, watch=watch).wrong([PART])) == 2


def test_a_part_without_an_accepted_order_has_shown_nothing(tmp_path: Path) -> None:
    assert seen(tmp_path).wrong([PART, Part("new", 160.0, 200.0)]) == ["new: no order was accepted"]


def test_where_it_cannot_run_it_says_so_and_is_no_success(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.upgrade", "--rev", "no-such-tag"],
        env=os.environ | {"GIT_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 77 and done.stdout.startswith("NOT RUN:"), done


def test_a_version_with_this_schema_is_not_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.upgrade.versions.head_revision", lambda: "0001")
    with pytest.raises(NotPossible, match="nothing to migrate"):
        version_before("HEAD", tmp_path)


def test_the_version_before_is_the_newest_one_with_an_older_schema(tmp_path: Path) -> None:
    try:
        before = version_before(None, tmp_path)
    except NotPossible as reason:
        pytest.skip(str(reason))
    assert before.revision < head_revision()
    assert (before.root / "models/migrations/versions").is_dir()
