"""Nobody ever sees a code: whatever can happen to a request has German and English words for it."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import pytest

from models.requests.requests import Request
from models.states import Kind, ProofMethod, Reason, Status
from models.values import LOCALES, Locale
from tasks.wording import requests as wording

ROOT = Path(wording.__file__).parents[2]
# What an f-string in a code can stand for, by the name of the attribute.
EXPANDED = {"method": list(ProofMethod)}


@dataclass(frozen=True)
class Note:
    """A line that the source writes into timelines."""

    place: str
    code: str
    facts: frozenset[str]


def notes() -> Iterator[Note]:
    """Every `….note(now, code, …)` of the source."""
    for path in sorted(path for room in ("models", "tasks") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "note":
                facts = frozenset(keyword.arg or "**" for keyword in node.keywords)
                for code in codes(node.args[1]):
                    yield Note(f"{path.relative_to(ROOT)}:{node.lineno}", code, facts)


def codes(node: ast.expr) -> list[str]:
    """The codes that an expression can be."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return codes(node.body) + codes(node.orelse)
    assert isinstance(node, ast.JoinedStr), f"say in this test what {ast.unparse(node)} can be"
    return ["".join(parts) for parts in itertools.product(*map(pieces, node.values))]


def pieces(node: ast.expr) -> list[str]:
    """What a part of an f-string can be."""
    if isinstance(node, ast.FormattedValue):
        assert isinstance(node.value, ast.Attribute)
        return [str(value) for value in EXPANDED[node.value.attr]]
    return codes(node)


NOTES = list(notes())


def placeholders(text: str) -> set[str]:
    """What `str.format` needs."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_the_source_was_read() -> None:
    found = {note.code for note in NOTES}
    assert {"order_received", "link_received", "completed", "proved_administers_both", "proved_credentials"} <= found


@pytest.mark.parametrize("note", NOTES, ids=lambda note: f"{note.code}-{note.place}")
def test_what_is_written_into_a_timeline_has_words_and_the_facts_they_need(note: Note) -> None:
    for words in wording.TIMELINE[note.code]:
        given = note.facts | ({"reason_text"} if "reason" in note.facts else set())
        assert placeholders(words) <= given


@pytest.mark.parametrize("code", wording.TIMELINE)
def test_both_languages_tell_the_same_facts(code: str) -> None:
    german, english = wording.TIMELINE[code]
    assert placeholders(german) == placeholders(english)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_reason_and_every_status_is_a_text_of_its_own(locale: Locale) -> None:
    reasons = [wording.reason_text(reason, locale) for reason in Reason]
    statuses = [wording.status_text(status, locale) for status in Status]
    for texts in (reasons, statuses):
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert text.strip()
            assert not re.search(r"[{}_]", text)


def test_no_reason_and_no_status_is_in_the_wrong_language() -> None:
    assert all(wording.reason_text(reason, "de") != wording.reason_text(reason, "en") for reason in Reason)
    assert all(wording.status_text(status, "de") != wording.status_text(status, "en") for status in Status)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", Kind)
def test_who_acts_next_is_said_until_the_end_and_not_after(kind: Kind, locale: Locale) -> None:
    step = wording.next_action(Request(kind=kind, status=Status.ACKNOWLEDGED), locale)
    assert step is not None and step.what
    assert wording.next_action(Request(kind=kind, status=Status.COMPLETED), locale) is None
