"""Tests that every reason, status, step and role has its own text in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from models.people.rights import Role
from models.requests.requests import Request
from models.states import Kind, Reason, Status, StepName
from models.values import LOCALES, Locale
from tasks import outbox
from tasks.wording.labels import MESSAGES, message_text, role_text, status_text, step_text
from tasks.wording.next_steps import expectation, next_action
from tasks.wording.reasons import reason_text
from tests.factories import NOW

TEXTS = [(Reason, reason_text), (Status, status_text), (StepName, step_text), (Role, role_text)]


@pytest.mark.parametrize(("codes", "text"), TEXTS)
def test_every_one_is_a_text_of_its_own_in_both_languages(
    codes: Iterable[Any], text: Callable[[Any, Locale], str]
) -> None:
    for locale in LOCALES:
        texts = [text(code, locale) for code in codes]
        assert len(set(texts)) == len(texts)
        for words in texts:
            assert words.strip()
            assert not re.search(r"[%{}_]", words)
    assert all(text(code, "de") != text(code, "en") for code in codes)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", Kind)
def test_who_acts_next_is_said_until_the_end_and_not_after(kind: Kind, locale: Locale) -> None:
    step = next_action(Request(kind=kind, status=Status.ACKNOWLEDGED), locale, NOW)
    assert step is not None and step.what
    assert next_action(Request(kind=kind, status=Status.COMPLETED), locale, NOW) is None


@pytest.mark.parametrize("locale", LOCALES)
def test_every_mail_and_letter_has_a_name(locale: Locale) -> None:
    templates = {path.stem for path in Path(outbox.__file__).parent.glob("templates/*.jinja")}
    assert set(MESSAGES) == templates
    assert len({message_text(template, locale) for template in templates}) == len(templates)


@pytest.mark.parametrize("kind", Kind)
def test_what_comes_next_is_said_in_both_languages(kind: Kind) -> None:
    running = [Request(kind=kind, status=Status.IN_PROGRESS, step=step) for step in StepName]
    waiting = [Request(kind=kind, status=Status.PENDING, step=StepName.VERIFY, reason=reason) for reason in Reason]
    said = [(expectation(request, "de", NOW), expectation(request, "en", NOW)) for request in (*running, *waiting)]
    assert all(german != english for german, english in said if german is not None)
    assert None not in said[0]
    german, english = (next_action(running[0], locale, NOW) for locale in LOCALES)
    assert german is not None and english is not None and german.what != english.what
