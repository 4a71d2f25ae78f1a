"""Translation of the English sentences in the source: `translations/` holds one gettext catalogue for all of them.

English needs no catalogue: its sentences are the message ids. Facts are named placeholders, `%(name)s`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from babel.support import NullTranslations, Translations

from models.values import Locale

CATALOGUES = str(files("tasks.wording") / "translations")


def N_(sentence: str) -> str:
    """Mark a sentence that stands in a table for `pybabel extract`; return it unchanged."""
    return sentence


def translate(locale: Locale, sentence: str, /, **facts: object) -> str:
    """Translate a sentence and fill in its facts. Raises `KeyError` if a fact is missing."""
    words = translations(locale).gettext(sentence)
    return words % facts if facts else words


@lru_cache
def translations(locale: Locale) -> NullTranslations:
    """Load the catalogue of a language, once in each process. Raises `FileNotFoundError` unless it was compiled."""
    if locale == "en":
        return NullTranslations()
    found = Translations.load(CATALOGUES, [locale])
    if not isinstance(found, Translations):
        raise FileNotFoundError(f"{CATALOGUES} has no compiled catalogue of {locale}")
    return found
