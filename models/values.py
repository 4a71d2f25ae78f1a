"""Formats and comparison rules of small values: customer numbers, phone numbers, addresses. Pure Python."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]
Locale = Literal["de", "en"]

BERLIN = ZoneInfo("Europe/Berlin")
"""The time zone in which the portal's calendar days begin and end."""
LOCALES: tuple[Locale, ...] = ("de", "en")
CUSTOMER_NUMBER = re.compile(r"[1-9][0-9]{6}")
AREA_CODE = re.compile(r"0[1-9][0-9]{1,4}")
POSTAL_CODE = re.compile(r"[0-9]{5}")

SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}
MARKED, PLAIN = "äöüßáàâãåéèêëíìîïóòôõúùûñç", "aousaaaaaeeeeiiiioooouuunc"
"""Accented letters, and the plain letter for each position. Database indexes depend on both strings."""

_PRINTABLE = (
    # Latin with the accents of all European languages and Vietnamese, Greek, Cyrillic, usual punctuation.
    "\u0020-\u007e\u00a0-\u017e\u0218-\u021b\u1e80-\u1e85\u1e9e\u1ea0-\u1ef9"
    "\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u03ce\u0400-\u045f\u0490-\u0491"
    "\u2012-\u2015\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2032-\u2033\u2039-\u203a\u20ac\u2116\u2122\u2212"
)
_UNPRINTABLE = re.compile(f"[^{_PRINTABLE}\n]")
_PRINTED_AS = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u202f": " "})

# What mail programs make a link of: an address with a scheme, with "www.", with a path or port, of numbers, of e-mail.
# "Dr.Meier/Schulz" and "1.OG/links" are none.
_WEB_OR_EMAIL_ADDRESS = re.compile(
    r"://"
    r"|\bwww\s?\.\s?\w"
    r"|(?<![\w.-])(?!(?:(?:dipl|dr|fr|geb|hr|ing|inh|med|prof|st|str)\.)+[\w-]+/)(?![0-9]+\.[deou]g/)"
    r"[\w.-]+\.[a-z]{2,24}(?:[/?#]\w|:[0-9])"
    r"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"
    r"|[^\s@]@[^\s@]+\.[^\W\d_]{2}",
    re.IGNORECASE,
)

# Unicode's characters that are ignored where they cannot be shown: zero-width ones, soft hyphens, marks of direction,
# variation selectors, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPACES = re.compile("[\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000]")

# In all languages: #REF!, #BEZUG!, #NOM?. Without a mark at the end only those that are no words, LibreOffice's, and
# what stands for a number in too narrow a column.
_ERROR_VALUE = re.compile(
    r"#(?:NULL|LEER|NUL|DIV/0|VALUE|WERT|VALEUR|REF|BEZUG|NUM|ZAHL|NOMBRE|SPILL|ÜBERLAUF|CALC|KALK|FIELD|FELD|BLOCKED"
    r"|CONNECT|UNKNOWN|BUSY|EXTERNAL|PYTHON)!|#(?:NAME|NOM)\?|#N/?[AVD]|#N/DISP|#GETTING_DATA|#DATEN_ABRUFEN"
    r"|Err:[0-9]{3}|#{3,}",
    re.IGNORECASE,
)

_ABBREVIATIONS = {"st": "sankt", "hann": "hannoversch", "b": "bei", "a": "am", "d": "der", "i": "in"}
_CARRY_NO_PLACE = {"am", "an", "der", "im", "in", "bei"}

_BETWEEN_NUMBERS = re.compile(r"(?<=[0-9])[^a-z0-9]+(?=[0-9])")
_BESIDE_NUMBERS = re.compile(r"(?<![0-9])[^a-z0-9]+|[^a-z0-9]+(?![0-9])")
# No ordinal, such as "17. Juni".
_HOUSE_NUMBER = re.compile(r"(?<![0-9])[0-9]+(?![0-9])(?!\.\s*[^\W\d_])")
_NO_HOUSE_NUMBER = re.compile(
    r"\b(ohne\s+(hausnummer|hausnr\.?|nummer|nr\.?)|o\.\s?nr\.?|(no|without)\s+(house\s+)?number)\W*$", re.IGNORECASE
)


def utc_now() -> datetime:
    """Return the current UTC time: the real `Clock`, for passing to code that takes a `Clock` parameter."""
    return datetime.now(UTC)


def as_locale(language: str | None) -> Locale:
    """Return the portal's language for a language tag: "en" if the tag starts with "en", else "de", also for None."""
    return "en" if (language or "").lower().startswith("en") else "de"


def random_customer_number() -> str:
    """Return seven random digits, the first not 0. Random, so that no customer number reveals another one."""
    return str(1_000_000 + secrets.randbelow(9_000_000))


def typed_customer_number(text: str) -> str | None:
    """Return a typed text as a customer number, without spaces, dots, slashes and dashes.

    Return None unless seven digits, the first not 0, are left.
    """
    number = re.sub(r"[\s./-]", "", text)
    return number if CUSTOMER_NUMBER.fullmatch(number) else None


def fold(text: str) -> str:
    """Return the text in lower case without accents: 'München' is 'munchen'. `plain_sql` does the same in SQL."""
    return _small(text).translate(str.maketrans(MARKED, PLAIN))


def spell(text: str) -> str:
    """Return the text in lower case with umlauts and ß spelled out in two letters: 'München' is 'muenchen'."""
    spelled = _small(text)
    for letter, spelling in SPELLINGS.items():
        spelled = spelled.replace(letter, spelling)
    return spelled


def _small(text: str) -> str:
    # macOS writes an umlaut as two characters, the letter and a combining mark; NFC joins them.
    return unicodedata.normalize("NFC", text).lower()


def typed_text(text: str) -> str:
    """Return a typed text without invisible characters, with plain spaces and composed characters (NFC).

    Such characters come with copied text: zero-width and non-breaking spaces, soft hyphens, marks of direction. Spaces
    at the ends and line breaks stay.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _SPACES.sub(" ", _INVISIBLE.sub("", text)))


def in_print(text: str) -> str:
    """Return the text as letters and offers print it: composed characters (NFC), plain hyphens and spaces.

    A character that the typeface of letters lacks becomes a question mark; a combining accent that is left after
    composing is dropped, as are invisible characters.
    """
    composed = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).translate(_PRINTED_AS)
    return _UNPRINTABLE.sub(lambda lacking: "" if unicodedata.combining(lacking[0]) else "?", composed)


def is_printable(text: str) -> bool:
    """Return whether letters can print the text: Latin, Greek and Cyrillic letters, digits and usual punctuation."""
    return _UNPRINTABLE.search(unicodedata.normalize("NFC", text).translate(_PRINTED_AS)) is None


def is_error_value(text: str) -> bool:
    """Return whether the text is what a spreadsheet shows for an error, such as #N/A, in any of its languages."""
    return text[:1] in ("#", "E", "e") and _ERROR_VALUE.fullmatch(text) is not None


def name_fault(text: str) -> Literal["unprintable", "error_value", "web_address"] | None:
    """Return the code of what forbids the text as a name or a part of an address, None if nothing does.

    `unprintable`: letters cannot print it. `error_value`: a spreadsheet's error, such as #N/A. `web_address`: it
    contains a web or e-mail address, which would be a link in the mails in which we write the name to others. A domain
    alone may be part of a name: `Beispiel24.de GmbH`.
    """
    if not is_printable(text):
        return "unprintable"
    if is_error_value(text):
        return "error_value"
    return "web_address" if _WEB_OR_EMAIL_ADDRESS.search(text) else None


def same_place(city: str, area_name: str) -> bool:
    """Return whether the city of an address can lie in the local network (Ortsnetz) called `area_name`.

    True if the words of one name are the leading words of the other: 'Frankfurt' is in 'Frankfurt am Main',
    'Bielefeld-Senne' in 'Bielefeld'. Usual spellings agree: 'Muenchen', 'Freiburg i. Br.', 'Halle (Saale)'.
    False if either name is empty.
    """
    return same_place_words(place_words(city), place_words(area_name))


def same_place_words(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Return what `same_place` returns, for two names that `place_words` has split into words already."""
    if not ours or not theirs or ours[0].removesuffix(".") != theirs[0].removesuffix("."):
        return False
    return all(map(_same_word, ours[1:], theirs[1:]))


def place_words(name: str) -> tuple[str, ...]:
    """Return the words that identify a place, in one spelling: 'Freiburg i. Br.' is ('freiburg', 'br.').

    Known abbreviations are spelled out, and words like "am" and "bei" are dropped. Every other abbreviation keeps its
    dot ('br.'); a single letter, as in 'Frankfurt/M', gets one.
    """
    words = (
        _ABBREVIATIONS.get(word, word + "." if dot or len(word) == 1 else word)
        for word, dot in re.findall(r"([a-z]+)(\.?)", spell(name))
    )
    return tuple(word for word in words if word not in _CARRY_NO_PLACE)


def _same_word(one: str, other: str) -> bool:
    return one == other or _abbreviates(one, other) or _abbreviates(other, one)


def _abbreviates(short: str, word: str) -> bool:
    return short.endswith(".") and word.startswith(short.removesuffix("."))


def address_key(street: str, postal_code: str, city: str) -> str:
    """Return a key to compare addresses by: usual spellings, as 'Brückenstraße 5' and 'Brueckenstr. 5', have one key.

    House numbers differ also by what stands between two numbers: 'Am Markt 12', 'Am Markt 1/2' and 'Am Markt 1-2' are
    three addresses.
    """
    plain = spell(street).replace("strasse", "str")
    number = _BETWEEN_NUMBERS.sub(lambda between: "/" if "/" in between[0] else "-", plain)
    town = re.sub(r"[^a-z0-9]", "", spell(f"{postal_code} {city}").replace("strasse", "str"))
    # A hyphen in a name counts as little as a space; one between two numbers is left.
    return _BESIDE_NUMBERS.sub("", number) + town


def has_house_number(street: str) -> bool:
    """Return whether the street of an address has a house number, or says that there is none.

    A number is a house number unless a dot and a word follow: 'Straße des 17. Juni' has none. There is none in words
    if the street ends with 'ohne Hausnummer', 'o. Nr.' or 'no house number'.
    """
    return _HOUSE_NUMBER.search(street) is not None or _NO_HOUSE_NUMBER.search(street) is not None


def national_to_e164(area_code: str) -> str:
    """Return the E.164 digits, without the plus sign, that all numbers of an area code start with: '030' is '4930'."""
    return "49" + area_code.removeprefix("0")


def block_numbers(first: int, size: int) -> tuple[str, ...]:
    """Return all `size` numbers of a block in E.164, with the plus sign; `first` is its first number as an integer."""
    return tuple(f"+{number}" for number in range(first, first + size))


def display_block(area_code: str, first: int, size: int) -> str:
    """Return a number block in German notation: '030 2312551-0 … -9', or '030 2312551' for a block of one number.

    `first` is the block's first number as an integer, in E.164 digits without the plus sign.
    """
    digits = str(first).removeprefix(national_to_e164(area_code))
    tail = len(str(size)) - 1
    if tail == 0:
        return f"{area_code} {digits}"
    return f"{area_code} {digits[:-tail]}-{'0' * tail} … -{'9' * tail}"


def berlin_day(at: datetime) -> date:
    """Return the date that it is in Berlin at the moment `at`."""
    return at.astimezone(BERLIN).date()


def end_of_day(at: datetime) -> datetime:
    """Return the end of that moment's day in Berlin, in UTC: a deadline that is said as a day ends with that day."""
    next_day = berlin_day(at) + timedelta(days=1)
    return datetime.combine(next_day, time(), BERLIN).astimezone(UTC)


def start_of_day(at: datetime) -> datetime:
    """Return the start of that moment's day in Berlin, in UTC."""
    return datetime.combine(berlin_day(at), time(), BERLIN).astimezone(UTC)


def last_day(end: datetime) -> date:
    """Return the last day, in Berlin, on which a deadline has not passed.

    The day that ends at the moment `end`, or else the day in which `end` lies.
    """
    return berlin_day(end - timedelta(microseconds=1))
