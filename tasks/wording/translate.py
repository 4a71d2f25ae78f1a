"""Translation of the English sentences in the source code with gettext catalogues, which are in `translations/`.

English needs no catalogue: its sentences are the message ids. Sentences have named placeholders, `%(name)s`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from babel.support import NullTranslations, Translations

from models.text_direction import isolated_facts
from models.values import Locale

CATALOGUES = str(files("tasks.wording") / "translations")


def N_(sentence: str) -> str:
    """Mark a sentence as translatable, so that `pybabel extract` finds it, and return it unchanged."""
    return sentence


def translate(locale: Locale, sentence: str, /, **facts: object) -> str:
    """Translate an English sentence, and fill its placeholders `%(name)s` with the facts of these names.

    A fact in right-to-left letters is put between the invisible characters FSI and PDI, so that it does not reorder the
    other words. Raises `KeyError` if facts are given but one that the sentence needs is missing.
    """
    words = translations(locale).gettext(sentence)
    return words % isolated_facts(facts) if facts else words


@lru_cache
def translations(locale: Locale) -> NullTranslations:
    """Load the catalogue of translations of a language, once in each process; it is empty for English.

    Raises `FileNotFoundError` if there is no compiled catalogue.
    """
    if locale == "en":
        return NullTranslations()
    found = Translations.load(CATALOGUES, [locale])
    if not isinstance(found, Translations):
        raise FileNotFoundError(f"{CATALOGUES} has no compiled catalogue of {locale}")
    return found
