"""The format of the codes that people type from a letter or mail: alphabet, length, display, and reading of typed text.

A code is derived from a secret key in `models.vault`. Needs no database.
"""

from __future__ import annotations

CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


CODE_LENGTH = 10
"""Length of a code in characters. Ten characters are about 49 bits, too many to guess with the few tries allowed."""


def display_code(code: str) -> str:
    """Return the code in two groups of five characters, such as 'ABCDE FGH23', which is easy to read aloud."""
    return f"{code[:5]} {code[5:]}"


def plain_code(typed: str) -> str:
    """Return a typed code with its letters and digits only, in capitals: 'abcde-fgh23' becomes 'ABCDEFGH23'."""
    return "".join(character for character in typed.upper() if character.isalnum())


def code_from(digest: bytes) -> str:
    """Turn a digest into a code: `CODE_LENGTH` (10) characters of `CODE_ALPHABET`. Equal digests give equal codes."""
    number = int.from_bytes(digest)
    characters = []
    for _ in range(CODE_LENGTH):
        number, place = divmod(number, len(CODE_ALPHABET))
        characters.append(CODE_ALPHABET[place])
    return "".join(characters)
