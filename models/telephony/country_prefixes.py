"""Number prefixes of countries and international networks, and rules for which numbers a trunk may call.

A destination is a country or a network. Its key is the ISO 3166 code of the country, or the calling code of a network
that belongs to no country, such as "870" for Inmarsat. Territories that share the calling code of a country count as
that country. The exceptions are zone 1 (North America and the Caribbean) and zone 7 (Russia and Kazakhstan), whose
prices differ. Uses no database: `allowed_destinations` decides which destinations a trunk may call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

GERMANY: tuple[str, ...] = ("DE",)
EEA: tuple[str, ...] = (
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
)  # fmt: skip
"""The countries of the European Union, with Iceland, Liechtenstein and Norway."""

MOST_COUNTRIES = 60
"""The most destinations that the list of a trunk's allowed countries can have."""

HIDING = ("490", "4910")
"""German prefixes that hide the true destination, because another number follows them (E.164 without the plus sign).

They are a further zero after +49, and 010, with which a caller chooses a carrier for one call.
"""

_ZONE_1: Mapping[str, tuple[str, ...]] = {
    "AG": ("268",), "AI": ("264",), "AS": ("684",), "BB": ("246",), "BM": ("441",), "BS": ("242",), "DM": ("767",),
    "DO": ("809", "829", "849"), "GD": ("473",), "GU": ("671",), "JM": ("658", "876"), "KN": ("869",), "KY": ("345",),
    "LC": ("758",), "MP": ("670",), "MS": ("664",), "PR": ("787", "939"), "SX": ("721",), "TC": ("649",),
    "TT": ("868",), "VC": ("784",), "VG": ("284",), "VI": ("340",),
}  # fmt: skip
_KAZAKHSTAN = ("76", "77")


def _prefixes() -> dict[str, tuple[str, ...]]:
    found = {country: tuple(f"1{area}" for area in areas) for country, areas in _ZONE_1.items()}
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        found[str(code) if regions == ("001",) else regions[0]] = (str(code),)
    return found | {"CA": ("1",), "KZ": _KAZAKHSTAN}


PREFIXES: Mapping[str, tuple[str, ...]] = _prefixes()
"""A dict of a destination's key to the prefixes of its numbers, in E.164 without the plus sign: "CH" to ("41",)."""

_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "1": tuple(f"1{area}" for areas in _ZONE_1.values() for area in areas),
    "7": _KAZAKHSTAN,
}
"""A dict of a country's prefix to the longer prefixes that begin with it but belong to other countries."""


@dataclass(frozen=True, slots=True)
class PrefixRules:
    """Rules for which numbers may be called: of all prefixes with which a number begins, the longest one decides.

    A number is allowed if its longest prefix is in `allowed`, and refused if it is in `denied`. A number that begins
    with none of the prefixes is allowed only if `allowed` is empty. Prefixes are in E.164 without the plus sign. No
    prefix is in both tuples.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    def allows(self, number: str) -> bool:
        """Return whether the rules allow calls to this number, in E.164 with the plus sign."""
        digits = number.removeprefix("+")
        allowed, denied = _longest(digits, self.allowed), _longest(digits, self.denied)
        return allowed > denied or (allowed == denied and not self.allowed)


UNLIMITED = PrefixRules()
"""The rules of a trunk that may call all numbers."""


def rules_of(countries: Collection[str] | None, blocked: Sequence[str] = ()) -> PrefixRules:
    """Return the rules for a trunk that may call these countries (None: all), except numbers with a blocked prefix.

    `countries` are keys of `PREFIXES`; Germany is always allowed. `blocked` are prefixes in E.164 without the plus
    sign. If any country or prefix is excluded, prefixes that hide the true destination (`HIDING`) are denied, too.
    """
    if countries is None:
        return PrefixRules(denied=tuple(sorted({*blocked, *HIDING}))) if blocked else UNLIMITED
    wanted = {prefix for key in {*countries, *GERMANY} for prefix in PREFIXES.get(key, ())}
    allowed = {prefix for prefix in wanted if not prefix.startswith(tuple(blocked))}
    others = {*blocked, *HIDING, *(longer for prefix in allowed for longer in _ELSEWHERE.get(prefix, ()))}
    denied = {prefix for prefix in others if prefix.startswith(tuple(allowed))} - allowed
    return PrefixRules(tuple(sorted(allowed)), tuple(sorted(denied)))


def _longest(digits: str, prefixes: Collection[str]) -> int:
    return max((len(prefix) for prefix in prefixes if digits.startswith(prefix)), default=0)
