"""Tests that each page in docs/decisions has all required sections and a unique number, and links to existing pages."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs/decisions"
PAGES = sorted(FOLDER.glob("*.md"))
HEAD = re.compile(
    r"# (\d{4}) \S.*\n\n"
    r"- \*\*Status:\*\* (accepted|superseded by \[\d{4}\]\(.+\)).*\n"
    r"- \*\*Date:\*\* \d{4}-\d\d-\d\d(;.*)?\n"
)
PARTS = ("Context", "Decision", "Alternatives", "Consequences")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_status_date_context_alternatives_and_consequences(page: Path) -> None:
    text = page.read_text()
    head = HEAD.match(text)
    assert head is not None
    assert page.name.startswith(f"{head[1]}-")
    assert [part for part in PARTS if f"**{part}" not in text] == []
    linked = re.findall(r"\]\((\d{4}-[\w-]+\.md)", text)
    assert [name for name in linked if not (FOLDER / name).exists()] == []


def test_each_number_is_given_once() -> None:
    assert [number for number, times in Counter(page.name[:4] for page in PAGES).items() if times > 1] == []
