"""Tests that docs/security.md lists each requirement of ASVS 5.0 once, and names only tests and files that exist."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/security.md").read_text()
ROW = re.compile(r"^\| ((?:\d+\.\d+\.\d+(?:, )?)+) \| ([^|]+) \| (met|n/a|not met) \| ([^|]+) \|$", re.M)
ROWS = [(numbers.split(", "), what, state, by) for numbers, what, state, by in ROW.findall(TEXT)]
CHAPTERS = (27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7)
"""How many requirements of levels 1 and 2 each of the chapters 1 to 17 of ASVS 5.0.0 has."""
DIGEST = "8751ab9539fda73863d003f3456022a1829dfa180672b5847ebf2314ffa97320"
"""SHA-256 of the numbers of all requirements of levels 1 and 2 of ASVS 5.0.0, in their order, one a line."""


@cache
def defined_tests() -> Counter[str]:
    """Return how often a test function of each name is defined in the tests."""
    texts = (file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    return Counter(name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.M))


def test_every_number_of_level_1_and_2_stands_there_once_and_in_its_chapter() -> None:
    numbers = [number for row in ROWS for number in row[0]]
    in_order = sorted(numbers, key=lambda number: [int(part) for part in number.split(".")])
    counted = Counter(int(number.partition(".")[0]) for number in numbers)
    assert tuple(counted[chapter] for chapter in range(1, len(CHAPTERS) + 1)) == CHAPTERS
    assert hashlib.sha256("\n".join(in_order).encode()).hexdigest() == DIGEST
    # No row that is written in another way is overlooked.
    assert len(re.findall(r"^\| \d+\.\d+\.\d+", TEXT, re.M)) == len(ROWS)
    for title, chapter in re.findall(r"^## V(\d+) .*\n((?:(?!^## ).*\n)*)", TEXT, re.M):
        assert {number.partition(".")[0] for row in ROW.findall(chapter) for number in row[0].split(", ")} == {title}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][0])
def test_what_is_met_has_a_test_and_each_test_and_file_exists(row: tuple[list[str], str, str, str]) -> None:
    _, _, state, by = row
    named = set(re.findall(r"`(test_\w+)`", by))
    assert {name for name in named if not defined_tests()[name]} == set()
    assert named or state != "met"
    files = re.findall(r"`([\w./-]+/[\w./-]+|celeryconfig\.py|requirements\.lock)`", by)
    assert [file for file in files if not (ROOT / file).exists() and not file.startswith("/")] == []


def test_the_sums_are_right() -> None:
    found: dict[int, Counter[str]] = {}
    for numbers, _, state, _ in ROWS:
        found.setdefault(int(numbers[0].partition(".")[0]), Counter())[state] += len(numbers)
    lines = [f"| V{number} | {one['met']} | {one['n/a']} | {one['not met']} |" for number, one in sorted(found.items())]
    total = sum(found.values(), Counter())
    lines.append(f"| **all** | **{total['met']}** | **{total['n/a']}** | **{total['not met']}** |")
    assert "\n".join(lines) in TEXT
