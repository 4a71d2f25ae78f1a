"""Tests that each kind of finding of the scheduled jobs has a text for people, in German and English."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from models.jobs.findings import Finding
from models.people.audit_chain import Flaw
from models.values import LOCALES
from tasks import reconcile
from tasks.wording.findings import FINDINGS, WHAT, finding_text
from tasks.wording.translate import translate

FACTS = {
    "customer_number": "2000040",
    "main_customer_number": "1111111",
    "invoice": "SR-1",
    "since": "2026-03-02T08:00:00+00:00",
    "sip_user": "t000000000001",
    "domain": "sip.example",
    "template": "link_completed",
    "attempts": 3,
    "what": list(WHAT),
    "reason": "already_attached",
    "count": 1001,
    "number": "+493023125500",
    "size": 10,
    "entry": 7,
    "position": 6,
}


def kinds() -> set[str]:
    """Return every text constant in the source of the scheduled jobs: each may be a kind of finding."""
    words: set[str] = set(Flaw)
    for path in Path(reconcile.__file__).parent.glob("*.py"):
        words |= {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return words


def test_there_are_words_for_what_the_jobs_can_find_and_for_nothing_else() -> None:
    assert set(FINDINGS) <= kinds()


@pytest.mark.parametrize("kind", FINDINGS)
def test_a_finding_is_a_sentence_in_both_languages(kind: str) -> None:
    finding = Finding(kind=kind, subject="", facts=FACTS, repaired=True)
    german, english = (finding_text(finding, locale) for locale in LOCALES)
    assert german != english
    assert german.endswith((".", "!")) and english.endswith(".")
    assert "%" not in german + english
    fields = [set(re.findall(r"%\((\w+)\)s", translate(locale, FINDINGS[kind]))) for locale in LOCALES]
    assert fields[0] == fields[1]
    if "since" in fields[0]:
        assert "2. März 2026, 09:00 Uhr" in german


def test_what_differs_is_named_in_both_languages() -> None:
    assert all(translate("de", words) != translate("en", words) for words in WHAT.values())
