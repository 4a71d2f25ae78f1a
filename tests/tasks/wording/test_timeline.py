"""Tests that timelines show sentences, not codes.

Each entry that the source code can write has German and English words, and the facts (values) that they need.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.requests.timeline import TimelineEntry
from models.states import ProofMethod
from models.values import LOCALES
from tasks.wording import timeline
from tasks.wording.timeline import TIMELINE, sentence
from tasks.wording.translate import translate

ROOT = Path(timeline.__file__).parents[2]
# What an f-string in a code can stand for, by the name of the attribute.
EXPANDED = {"method": list(ProofMethod)}


@dataclass(frozen=True)
class Note:
    """A timeline entry that the source code can write, with its code and the names of its facts.

    `place` is where the source code does so: file and line, such as tasks/steps/attach.py:40.
    """

    place: str
    code: str
    facts: frozenset[str]


def notes() -> Iterator[Note]:
    """Yield the code and facts of every timeline entry that the source code of `models` and `tasks` can write.

    They are read from the calls of the form `note(now, code, …)`.
    """
    for path in sorted(path for room in ("models", "tasks") for path in (ROOT / room).rglob("*.py")):
        code = path.read_text("utf-8")
        # Reading all files as syntax trees would take a second in each test process.
        for node in ast.walk(ast.parse(code)) if ".note(" in code else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "note"):
                continue
            # A span of a trace has a method of that name, too, which takes no code.
            if len(node.args) > 1:
                facts = frozenset(keyword.arg or "**" for keyword in node.keywords)
                for said in codes(node.args[1]):
                    yield Note(f"{path.relative_to(ROOT)}:{node.lineno}", said, facts)


def codes(node: ast.expr) -> list[str]:
    """Return all values that an expression can have: the code that a call of `note` in a syntax tree is given."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return codes(node.body) + codes(node.orelse)
    assert isinstance(node, ast.JoinedStr), f"say in this test what {ast.unparse(node)} can be"
    return ["".join(parts) for parts in itertools.product(*map(pieces, node.values))]


def pieces(node: ast.expr) -> list[str]:
    """Return all values that a part of an f-string in a syntax tree can have."""
    if isinstance(node, ast.FormattedValue):
        assert isinstance(node.value, ast.Attribute)
        return [str(value) for value in EXPANDED[node.value.attr]]
    return codes(node)


NOTES = list(notes())


def placeholders(text: str) -> set[str]:
    """Return the names in the placeholders of a sentence, such as day for %(day)s."""
    return set(re.findall(r"%\((\w+)\)s", text))


def test_the_source_was_read() -> None:
    found = {note.code for note in NOTES}
    assert {"order_received", "link_received", "completed", "proved_administers_both", "proved_credentials"} <= found


@pytest.mark.parametrize("note", NOTES, ids=lambda note: f"{note.code}-{note.place}")
def test_what_is_written_into_a_timeline_has_words_and_the_facts_they_need(note: Note) -> None:
    for locale in LOCALES:
        given = note.facts | {f"{name}_text" for name in ("reason", "refusal", "day") if name in note.facts}
        assert placeholders(translate(locale, TIMELINE[note.code])) <= given


@pytest.mark.parametrize("code", TIMELINE)
def test_both_languages_tell_the_same_facts(code: str) -> None:
    german, english = (translate(locale, TIMELINE[code]) for locale in LOCALES)
    assert placeholders(german) == placeholders(english)


@pytest.mark.parametrize("code", TIMELINE)
def test_an_entry_is_a_sentence_in_both_languages(code: str) -> None:
    facts = {name: f"<{name}>" for name in placeholders(TIMELINE[code]) - {"reason_text"}}
    if "reason_text" in TIMELINE[code]:
        facts["reason"] = "account_closed"
    german, english = (sentence(TimelineEntry(code=code, facts=facts), locale) for locale in LOCALES)
    assert german != english
    for words in (german, english):
        assert words.endswith(".") and "%" not in words
        assert all(fact in words for name, fact in facts.items() if name != "reason")
