"""Comparison of addresses in any usual spelling, and whether a street has a house number. Needs no database."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.spelling import spell

# What does not count where addresses are compared: all but Latin letters without accents, and letters of other scripts.
_UNCOUNTED = r"(?:\W|[_\u0080-\u036f\u1e00-\u1eff])"

_BETWEEN_NUMBERS = re.compile(rf"(?<=[0-9]){_UNCOUNTED}+(?=[0-9])")
_BESIDE_NUMBERS = re.compile(rf"(?<![0-9]){_UNCOUNTED}+|{_UNCOUNTED}+(?![0-9])")

# No ordinal, such as "17. Juni".
_HOUSE_NUMBER = re.compile(r"(?<![0-9])[0-9]+(?![0-9])(?!\.\s*[^\W\d_])")

_NO_HOUSE_NUMBER = re.compile(
    r"\b(ohne\s+(hausnummer|hausnr\.?|nummer|nr\.?)|o\.\s?nr\.?|(no|without)\s+(house\s+)?number)\W*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Place:
    """A connection address."""

    street: str
    postal_code: str
    city: str

    @property
    def key(self) -> str:
        """Return the key of the address (`address_key`), which is the same for all its usual spellings."""
        return address_key(self.street, self.postal_code, self.city)


def address_key(street: str, postal_code: str, city: str) -> str:
    """Return a key that is equal for all usual spellings of an address: 'Brückenstraße 5' and 'Brueckenstr. 5'.

    House numbers stay distinct: 'Am Markt 12', 'Am Markt 1/2' and 'Am Markt 1-2' have three different keys.
    """
    plain = spell(street).replace("strasse", "str")
    number = _BETWEEN_NUMBERS.sub(lambda between: "/" if "/" in between[0] else "-", plain)
    town = re.sub(_UNCOUNTED, "", spell(f"{postal_code} {city}").replace("strasse", "str"))
    # A hyphen in a name counts as little as a space; one between two numbers is left.
    return _BESIDE_NUMBERS.sub("", number) + town


def has_house_number(street: str) -> bool:
    """Return whether the street of an address has a house number, or says in words that there is none.

    A number is a house number unless a dot and a word follow: 'Straße des 17. Juni' has none. The words are 'ohne
    Hausnummer', 'o. Nr.' or 'no house number' at the end of the street.
    """
    return _HOUSE_NUMBER.search(street) is not None or _NO_HOUSE_NUMBER.search(street) is not None
