"""Formats and comparison rules of small values: customer numbers, phone numbers, addresses. Pure Python."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from idna import valid_contextj

from models.typefaces import clusters, is_plain, lacking, typeface_of
from models.writing import END_ISOLATE, ISOLATE

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

_ISOLATES = (ISOLATE, END_ISOLATE)
_KEPT_IN_PRINT = (*_ISOLATES, "\n")
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
# Joiners, variation selector 16 and tags are kept where they make an emoji or a letter what it is.
_KEPT_IN_EMOJI = re.compile("[\U0001f3f4][\U000e0030-\U000e007a]{1,6}\U000e007f|[0-9#*]\ufe0f\u20e3")
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_LEFT_RIGHT_ARROW = "\u2194"
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

# What does not count where addresses are compared: all but Latin letters without accents, and letters of other scripts.
_UNCOUNTED = r"(?:\W|[_\u0080-\u036f\u1e00-\u1eff])"
_BETWEEN_NUMBERS = re.compile(rf"(?<=[0-9]){_UNCOUNTED}+(?=[0-9])")
_BESIDE_NUMBERS = re.compile(rf"(?<![0-9]){_UNCOUNTED}+|{_UNCOUNTED}+(?![0-9])")
# No ordinal, such as "17. Juni".
_HOUSE_NUMBER = re.compile(r"(?<![0-9])[0-9]+(?![0-9])(?!\.\s*[^\W\d_])")
_NO_HOUSE_NUMBER = re.compile(
    r"\b(ohne\s+(hausnummer|hausnr\.?|nummer|nr\.?)|o\.\s?nr\.?|(no|without)\s+(house\s+)?number)\W*$", re.IGNORECASE
)


# What mail programs decode in a header (RFC 2047, encoded-word): a text that says another one than it shows.
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[bq]\?", re.IGNORECASE)


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

    Such characters come with copied text: zero-width and non-breaking spaces, soft hyphens, marks of direction. Those
    that make an emoji or a letter what it is, and spaces at the ends and line breaks stay.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _SPACES.sub(" ", without_invisible(text)))


def without_invisible(text: str) -> str:
    """Return the text without characters that are ignored where they cannot be shown.

    Some are kept, because the text would be another one without them: joiners and variation selectors inside an emoji,
    the tags of a flag, and joiners between the letters of Persian, Hindi and other scripts, as domain names may have
    them (RFC 5892, appendix A).
    """
    if text.isascii() or _INVISIBLE.search(text) is None:
        return text
    kept = {place for found in _KEPT_IN_EMOJI.finditer(text) for place in range(*found.span())}
    return "".join(
        character
        for place, character in enumerate(text)
        if place in kept or _INVISIBLE.match(character) is None or _has_effect(text, place)
    )


def _has_effect(text: str, place: int) -> bool:
    """Return whether the joiner or variation selector at this place makes what is beside it another thing."""
    character, after = text[place], text[place + 1 : place + 2]
    before = text[max(0, place - 4) : place].rstrip("\ufe0f" + _SKIN_TONES if character == "\u200d" else "")[-1:]
    if not before:
        return False
    if character == "\ufe0f":
        return unicodedata.category(before) == "So" or before == _LEFT_RIGHT_ARROW
    if character not in ("\u200c", "\u200d"):
        return False
    if character == "\u200d" and unicodedata.category(before) == "So":
        return bool(after) and (unicodedata.category(after) == "So" or after == _LEFT_RIGHT_ARROW)
    # In Bengali a joiner stands also before the mark that takes a letter's vowel.
    if unicodedata.category(before)[0] not in "LM":
        return False
    # The letters that decide are near; `valid_contextj` refuses long texts.
    begin = max(0, place - 16)
    return valid_contextj(text[begin : place + 16], place - begin) or (
        bool(after) and unicodedata.combining(after) == 9
    )


def in_print(text: str) -> str:
    """Return the text as letters and offers print it: composed characters (NFC), plain hyphens and spaces.

    A character that no typeface has becomes a question mark. Invisible characters are left out, but not FSI and PDI,
    which order what is between them.
    """
    if text.isascii():
        return text
    parts = re.split(f"([{ISOLATE}{END_ISOLATE}])", text)
    composed = unicodedata.normalize(
        "NFC", "".join(part if part in _ISOLATES else without_invisible(part) for part in parts)
    )
    shown = composed.translate(_PRINTED_AS)
    if is_plain(shown):
        return shown
    return "".join(part if part in _KEPT_IN_PRINT or typeface_of(part) else "?" for part in clusters(shown))


def unprintable(text: str) -> str:
    """Return the first character of the text that letters cannot print, with its numbers in Unicode.

    Empty if they can print all: if for each character, with its marks, there is a typeface that has it.
    """
    lacks = lacking(unicodedata.normalize("NFC", text).translate(_PRINTED_AS))
    numbers = " ".join(f"U+{ord(part):04X}" for part in lacks[:3])
    return f"{lacks} ({numbers})" if lacks.isprintable() and lacks else numbers


def is_error_value(text: str) -> bool:
    """Return whether the text is what a spreadsheet shows for an error, such as #N/A, in any of its languages."""
    return text[:1] in ("#", "E", "e") and _ERROR_VALUE.fullmatch(text) is not None


class NameFault(NamedTuple):
    """What forbids a text as a name: the code of the rule, and for `unprintable` what `unprintable` returns."""

    code: Literal["unprintable", "error_value", "web_address"]
    character: str | None = None


def name_fault(text: str) -> NameFault | None:
    """Return what forbids the text as a name or a part of an address, None if nothing does.

    `unprintable`: letters cannot print it. `error_value`: a spreadsheet's error, such as #N/A. `web_address`: it
    contains a web or e-mail address, which would be a link in the mails in which we write the name to others, or the
    encoding of mail headers (`=?utf-8?q?…?=`), in which an address hides. A domain alone may be part of a name:
    `Beispiel24.de GmbH`.
    """
    if character := unprintable(text):
        return NameFault("unprintable", character)
    if is_error_value(text):
        return NameFault("error_value")
    hides = _WEB_OR_EMAIL_ADDRESS.search(text) or _ENCODED_WORD.search(text)
    return NameFault("web_address") if hides else None


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
    town = re.sub(_UNCOUNTED, "", spell(f"{postal_code} {city}").replace("strasse", "str"))
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
