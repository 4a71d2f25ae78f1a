"""Translations in which the names of people and companies do not change the direction of the words around them."""

from __future__ import annotations

from typing import Any

from flask_babel import Domain

from models.text_direction import isolated_facts
from web.portal.page.locale import counted


class IsolatingTranslations(Domain):  # type: ignore[misc]
    """Flask-Babel's translations, in which facts in right-to-left letters are put between FSI and PDI.

    So they do not reorder the rest of the sentence.
    """

    def gettext(self, string: str, **variables: Any) -> Any:
        """Translate a sentence and put the variables in the places of their names."""
        return super().gettext(string, **isolated_facts(variables))

    def ngettext(self, singular: str, plural: str, num: int, **variables: Any) -> Any:
        """Translate a sentence in the form that fits the number, and put the variables in the places of their names."""
        facts = isolated_facts({"num": counted(num), **variables})
        return self.get_translations().ungettext(singular, plural, num) % facts
