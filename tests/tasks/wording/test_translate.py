"""Tests of translating single sentences, and of the tables that hold them."""

from __future__ import annotations

import pytest

from models.values import LOCALES
from tasks.wording.fields import MALFORMED, MISSING, RULES, field_error
from tasks.wording.translate import translate, translations
from web.api.problems import PROBLEMS

SENTENCES = {*RULES.values(), *MISSING.values(), *MALFORMED.values()} | {
    sentence for _, *sentences in PROBLEMS.values() for sentence in sentences
}


def test_a_sentence_is_filled_with_its_facts_whatever_they_are_called() -> None:
    said = translate(
        "de", "An e-mail to %(name)s could not be delivered: the mail server refused the address.", name="100 %"
    )
    assert said == "Eine E-Mail an 100 % konnte nicht zugestellt werden: Der Mailserver hat die Adresse abgelehnt."
    assert translate("en", "%(locale)s, %(sentence)s", locale="a", sentence="b") == "a, b"


def test_a_fact_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(KeyError):
        translate("de", "We have asked %(name)s by e-mail to confirm the e-mail address.", city="Berlin")


def test_a_catalogue_is_loaded_once() -> None:
    assert all(translations(locale) is translations(locale) for locale in LOCALES)


@pytest.mark.parametrize("sentence", sorted(SENTENCES - {"%(reason)s", "%(reached)s"}))
def test_a_problem_is_said_in_both_languages(sentence: str) -> None:
    assert translate("de", sentence) != translate("en", sentence)


@pytest.mark.parametrize("code", ["missing", "string_too_short", "string_too_long", "int_type", "unheard_of"])
def test_a_field_that_has_no_sentence_of_its_own_is_told_about_in_both_languages(code: str) -> None:
    german, english = (field_error(locale, "thing", code) for locale in LOCALES)
    assert german != english


def test_a_field_is_told_by_its_own_sentence() -> None:
    assert field_error("en", "location.city", "missing") == "Enter the city."
    assert field_error("en", "location.city", "string_too_long") == "At most 120 characters in one line, please."
    assert field_error("en", "location.city", "extra_forbidden") == "There is no such field."
    assert field_error("en", "proof.email", "value_error").startswith("This is no complete e-mail address.")
    assert field_error("de", "numbers.block_size", "unknown_block_size", (1, 10)) == "Möglich sind: 1, 10"
