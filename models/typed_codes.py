"""The codes that people type: alphabet, length, and how a code is shown and read. Needs no database.

Codes are derived in `models.vault`, from the words of `models.proofs.proofs`.
"""

from __future__ import annotations

CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


CODE_LENGTH = 10
"""Length of a code in characters: about 49 bits, too many to guess within the limits on wrong tries."""


def display_code(code: str) -> str:
    """Format a code in two groups of five characters, as people read a code aloud."""
    return f"{code[:5]} {code[5:]}"


def plain_code(typed: str) -> str:
    """Normalise a typed code: keep letters and digits only, in capitals."""
    return "".join(character for character in typed.upper() if character.isalnum())


def code_from(digest: bytes) -> str:
    """Return the code for a digest: `CODE_LENGTH` (10) of the characters `CODE_ALPHABET`, equal for equal digests."""
    number = int.from_bytes(digest)
    characters = []
    for _ in range(CODE_LENGTH):
        number, place = divmod(number, len(CODE_ALPHABET))
        characters.append(CODE_ALPHABET[place])
    return "".join(characters)
