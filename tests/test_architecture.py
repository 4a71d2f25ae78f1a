"""Tests that the files which docs/architecture.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ROOMS = ("models", "tasks", "workers", "web", "tests")
COLUMNS = ("", "models", "tasks", "web/portal")
"""The folder in which the paths of each column of the table of subjects are; the first column has no paths."""


def found(folder: Path, path: str) -> bool:
    """Return whether a file or folder with this path exists below `folder`. The path may have asterisks."""
    return any(folder.glob(path.rstrip("/")))


def test_every_file_in_the_table_of_subjects_is_there() -> None:
    """Look each path up below the folder of its column, or below the folder of the path before it in the same cell.

    Every path must exist.
    """
    table = PAGE.partition("## I want to change")[2]
    for row in re.findall(r"^\| (?!subject|---).*$", table, re.MULTILINE):
        for column, cell in zip(COLUMNS, row.strip("| ").split(" | "), strict=True):
            folder = ROOT / column
            for path in re.findall(r"`([\w*./]+[./][\w*]*)`", cell):
                bases = [base for base in (folder, ROOT / column, ROOT) if found(base, path)]
                assert bases, f"{path} in: {row}"
                place = bases[0] / path
                folder = place if path.endswith("/") else place.parent


def test_every_file_on_the_way_of_an_order_is_there() -> None:
    way = PAGE.partition("```text")[2].partition("```")[0]
    paths = re.findall(rf"(?:{'|'.join(ROOMS)})/[\w/]+(?:\.py|/)", way)
    assert len(paths) > 15
    assert [path for path in paths if not found(ROOT, path)] == []
