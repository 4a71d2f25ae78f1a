"""The names of the countries and networks to which phone numbers belong."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from babel import Locale as Languages

from models.telephony.country_prefixes import PREFIXES
from models.values import Locale
from tasks.wording.translate import N_, translate

# The networks of ITU-T E.164 that belong to no country.
_NETWORKS: Mapping[str, str] = {
    "808": N_("international shared cost numbers"),
    "870": N_("satellite network Inmarsat"),
    "878": N_("international network"),
    "881": N_("satellite network (Iridium, Globalstar)"),
    "882": N_("international network (ships, aircraft, satellites)"),
    "883": N_("international network (ships, aircraft, satellites)"),
    "888": N_("international network"),
    "979": N_("international premium numbers"),
}


def destination_text(number: str, locale: Locale) -> str:
    """Return the name of the country or network of a number (E.164 with the plus sign) with its first digits.

    For example "Somalia (+252)". A network whose name is not known is called an international network.
    """
    digits = number.removeprefix("+")
    fitting = [(prefix, key) for key, prefixes in PREFIXES.items() for prefix in prefixes if digits.startswith(prefix)]
    prefix, key = max(fitting, key=lambda pair: len(pair[0]), default=(digits[:3], digits[:3]))
    if key.isdigit():
        name = translate(locale, _NETWORKS.get(key, N_("international network")))
    else:
        name = Languages(locale).territories[key]
    return f"{name} (+{prefix})"


def destination_names(keys: Collection[str], locale: Locale) -> str:
    """Return the names of these destinations (keys of `PREFIXES`), sorted and separated by commas.

    A network without a country is named by its calling code.
    """
    territories = Languages(locale).territories
    return ", ".join(sorted(f"+{key}" if key.isdigit() else territories[key] for key in keys))
