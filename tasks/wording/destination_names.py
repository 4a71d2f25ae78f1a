"""The names of the countries and networks that phone numbers belong to."""

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
    """Return the country or network of a phone number with its prefix, such as "Somalia (+252)".

    `number` is in E.164 with the plus sign. A network whose name is not known is called "international network".
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
    """Return the names of destinations, sorted and separated by commas.

    `keys` are keys of `PREFIXES`: country codes such as DE, or calling codes. A network without a country is shown by
    its calling code, such as +870.
    """
    territories = Languages(locale).territories
    return ", ".join(sorted(f"+{key}" if key.isdigit() else territories[key] for key in keys))
