"""Translation of the English sentences in the source: `translations/` holds one gettext catalogue for all of them.

English needs no catalogue: its sentences are the message ids. Facts are named placeholders, `%(name)s`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from babel.support import NullTranslations, Translations

from models.text_direction import isolated_facts
from models.values import Locale

CATALOGUES = str(files("tasks.wording") / "translations")


def N_(sentence: str) -> str:
    """Return the sentence unchanged; the call marks it as translatable, so that `pybabel extract` finds it."""
    return sentence


def translate(locale: Locale, sentence: str, /, **facts: object) -> str:
    """Translate an English sentence, and replace its placeholders `%(name)s` by the facts of these names.

    A fact in right-to-left letters is put between FSI and PDI, so that it does not reorder the other words. Raises
    `KeyError` if some facts are given but one that the sentence names is missing.
    """
    words = translations(locale).gettext(sentence)
    return words % isolated_facts(facts) if facts else words


@lru_cache
def translations(locale: Locale) -> NullTranslations:
    """Load the catalogue of translations of a language, once in each process; that of English is empty.

    Raises `FileNotFoundError` if the catalogue was not compiled.
    """
    if locale == "en":
        return NullTranslations()
    found = Translations.load(CATALOGUES, [locale])
    if not isinstance(found, Translations):
        raise FileNotFoundError(f"{CATALOGUES} has no compiled catalogue of {locale}")
    return found
