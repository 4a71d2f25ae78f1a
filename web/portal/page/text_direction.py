"""Translations in which names in right-to-left script do not reorder the words around them."""

from __future__ import annotations

from typing import Any

from flask_babel import Domain

from models.text_direction import isolated_facts
from web.portal.page.locale import counted


class IsolatingTranslations(Domain):  # type: ignore[misc]
    """Flask-Babel's translations, in which inserted values in right-to-left letters do not reorder the sentence.

    Each such value is put between the Unicode characters FSI and PDI, which isolate its direction.
    """

    def gettext(self, string: str, **variables: Any) -> Any:
        """Translate a sentence and insert the values of `variables` at the placeholders of the same names."""
        return super().gettext(string, **isolated_facts(variables))

    def ngettext(self, singular: str, plural: str, num: int, **variables: Any) -> Any:
        """Translate a sentence in the singular or plural form for `num`, and insert the values at their placeholders.

        `num` can be a placeholder, too, and is formatted with thousands separators.
        """
        facts = isolated_facts({"num": counted(num), **variables})
        return self.get_translations().ungettext(singular, plural, num) % facts
