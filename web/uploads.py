"""Uploaded documents: the maximum size, and the media type recognized from the content."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import request
from werkzeug.datastructures import FileStorage

from models.errors import InvalidField

LARGEST = 10_000_000
_FORM_OVERHEAD = 100_000
"""Allowance in bytes for the other fields and the separators of the form."""
_UPLOADING = {"api.upload_address_document", "answers.upload", "bulks.upload"}
_SIGNATURES = {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded document; `name` is a file name that is safe to show."""

    name: str
    media_type: str
    content: bytes


def allow_uploads() -> None:
    """Raise the limit of the body size for endpoints that accept documents. Runs before the form is parsed."""
    if request.endpoint in _UPLOADING:
        request.max_content_length = LARGEST + _FORM_OVERHEAD


def read_document(file: FileStorage, field: str) -> Upload:
    """Read the uploaded document. Its media type is recognized from the first bytes, not from the file name.

    Raises `InvalidField` for `field` if the file is empty, too large or of another type.
    """
    content = file.read(LARGEST + 1)
    if not content:
        raise InvalidField(field, "missing")
    if len(content) > LARGEST:
        raise InvalidField(field, "too_large")
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return Upload(shown_name(file, "document"), media_type, content)
    raise InvalidField(field, "no_document")


def shown_name(file: FileStorage, unnamed: str) -> str:
    """Return the name of the uploaded file without folders and unprintable characters; `unnamed` if it is empty."""
    last = re.split(r"[\\/]", file.filename or "")[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:100] or unnamed
