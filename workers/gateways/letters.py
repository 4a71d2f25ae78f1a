"""Write letters as PDF files to a folder, from which a print shop fetches them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tasks.ports import GatewayUnavailable, Letter
from tasks.settings import Carrier


class LetterFolder:
    """A printer of letters that writes each letter to a folder, as a PDF file named by the letter's key.

    Each letter names `carrier` as its sender, or the name `sender` if the carrier's name is not set.
    """

    def __init__(self, folder: Path, sender: str, carrier: Carrier | None = None) -> None:
        self._folder = folder
        carrier = carrier or Carrier()
        self._carrier = carrier if carrier.name else replace(carrier, name=sender)

    def print_letter(self, letter: Letter) -> None:
        """Write a letter as a PDF file. Safe to run twice: the file is replaced atomically.

        The file has been written to the disk (fsync) when this returns, so that a letter recorded as sent survives a
        power failure. Raises `GatewayUnavailable` if the file cannot be written.
        """
        from tasks.outbox.letter_layout import letter_pdf  # large imports, made only when a letter is printed

        file = self._folder / f"{letter.key}.pdf"
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as content:
                content.write(letter_pdf(letter, self._carrier))
                content.flush()
                os.fsync(content.fileno())
            unfinished.replace(file)
            _sync_folder(self._folder)
        except OSError as error:
            raise GatewayUnavailable(type(error).__name__) from error


def _sync_folder(folder: Path) -> None:
    """Write the folder's list of file names to the disk (fsync), so that new files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
