"""Names of the destinations (countries, and networks without a country) that a trunk may call.

Pages show these names, and users type them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from babel import Locale
from flask_babel import get_locale
from flask_babel import gettext as _

from models.telephony.country_prefixes import EEA, GERMANY, PREFIXES
from models.values import as_locale
from tasks.wording.destination_names import destination_names


def limit_text(countries: Collection[str] | None) -> str:
    """Describe which destinations a trunk may call: "Germany only", "EU and EEA", or the names of the countries.

    `countries` has the keys of the destinations; None stands for "All countries".
    """
    if countries is None:
        return str(_("All countries"))
    if set(countries) == set(GERMANY):
        return str(_("Germany only"))
    if set(countries) == set(EEA):
        return str(_("EU and EEA"))
    return names_text(countries)


def names_text(countries: Collection[str]) -> str:
    """Return the names of destinations in the user's language, sorted and separated by commas.

    `countries` has their keys: ISO codes, or the calling code of a network that belongs to no country. Such a network
    has its calling code as name.
    """
    return destination_names(countries, as_locale(get_locale().language))


def typed_countries(typed: str) -> tuple[list[str], list[str]]:
    """Read a typed list of countries, separated by commas, semicolons or line breaks.

    Return the keys of the known ones, and the texts that are not known. A country is typed as its name in German or
    English, its ISO code or its calling code. Its key is the ISO code, or the calling code of a network that belongs to
    no country.
    """
    found, unknown = [], []
    for name in filter(None, (part.strip() for part in re.split(r"[,;\n]", typed))):
        key = _keys().get(re.sub(r"^(\+|00)(?=\d)|\s+(?=\d)", "", name).casefold())
        found.append(key) if key else unknown.append(name)
    return [key for key in found if key], unknown


@cache
def _keys() -> dict[str, str]:
    keys = {prefix: key for key, prefixes in reversed(list(PREFIXES.items())) for prefix in prefixes}
    for key in PREFIXES:
        keys[key.casefold()] = key
        for language in ("de", "en"):
            if not key.isdigit():
                keys[Locale(language).territories[key].casefold()] = key
    return keys
