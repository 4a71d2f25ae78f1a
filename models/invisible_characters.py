"""Invisible characters in typed text: which are removed, and which are kept because an emoji or a letter needs them."""

from __future__ import annotations

import re
import unicodedata

from idna import valid_contextj

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
_MOST_MARKS = 30
_SPACES = re.compile("[\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000]")


def typed_text(text: str) -> str:
    """Normalise a typed text: remove invisible characters, and use plain spaces and composed characters (NFC).

    Copied text often brings along zero-width and non-breaking spaces, soft hyphens and marks of direction. Kept are
    invisible characters that an emoji or a letter needs, spaces at the ends, and line breaks (CR and LF). Of more than
    30 combining marks in a row only 30 are kept: no language has more (Unicode Standard Annex 15, stream-safe text).
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _without_long_runs(_SPACES.sub(" ", without_invisible(text))))


def _without_long_runs(text: str) -> str:
    # To put marks in order takes time by the square of their number: half a minute for a form full of them.
    if len(text) <= _MOST_MARKS:
        return text
    run, kept = 0, []
    for character in text:
        run = run + 1 if unicodedata.category(character)[0] == "M" else 0
        if run <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def without_invisible(text: str) -> str:
    """Return the text without invisible characters, such as zero-width spaces, soft hyphens and marks of direction.

    Some are kept because the text would change its meaning without them: joiners and variation selectors inside an
    emoji, the tags of a flag, and joiners between the letters of Persian, Hindi and other scripts, where domain names
    allow them, too (RFC 5892, appendix A).
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
    """Return whether the joiner or variation selector at index `place` changes how characters beside it are shown."""
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
