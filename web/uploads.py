"""Documents that people upload: how large, and of which kind, by what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import request
from werkzeug.datastructures import FileStorage

from models.errors import InvalidField

LARGEST = 10_000_000
_AROUND_IT = 100_000
"""For the form's other fields and its separators."""
_UPLOADING = {"api.upload_address_document", "answers.upload", "bulks.upload"}
_SIGNATURES = {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Upload:
    """A document as it came, under a name that can be shown."""

    name: str
    media_type: str
    content: bytes


def allow_uploads() -> None:
    """Before a request's form is read: the addresses that take documents take larger bodies than the others."""
    if request.endpoint in _UPLOADING:
        request.max_content_length = LARGEST + _AROUND_IT


def read_document(file: FileStorage, field: str) -> Upload:
    """The uploaded document. What it is, its first bytes say, not its name. Raises `InvalidField`."""
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
    """The name a file was sent under, without folders and unprintable characters; `unnamed` if nothing is left."""
    last = re.split(r"[\\/]", file.filename or "")[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:100] or unnamed
