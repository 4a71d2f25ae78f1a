"""Uploaded documents: their maximum size, their media type as recognised from the content, and their file name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import request
from werkzeug.datastructures import FileStorage

from models.errors import InvalidField
from models.invisible_characters import typed_text
from models.text_cutting import shortened

LARGEST = 10_000_000
_FORM_OVERHEAD = 100_000
"""The bytes that the form may have beside the file, for its other fields and its separators."""
_UPLOADING = {"api.upload_address_document", "api.upload_certificate_of_need", "answers.upload", "bulks.upload"}
_SIGNATURES = {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded document. `name` is a file name that is safe to show, `media_type` was recognised from `content`."""

    name: str
    media_type: str
    content: bytes


def allow_uploads() -> None:
    """Raise the size limit of the current request's body if its endpoint accepts files.

    Call it before the form is parsed.
    """
    if request.endpoint in _UPLOADING:
        request.max_content_length = LARGEST + _FORM_OVERHEAD


def read_document(file: FileStorage, field: str) -> Upload:
    """Read the uploaded document. Its media type is recognised from its first bytes, not from the file name.

    Raises `InvalidField` for `field` if the file is empty, larger than 10 MB (`LARGEST`), or no PDF, PNG or JPEG.
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
    """Return the uploaded file's name, without folders and unprintable characters, shortened to 100 characters.

    `unnamed` is returned if nothing is left of the name.
    """
    last = re.split(r"[\\/]", typed_text(file.filename or ""))[-1]
    return shortened("".join(filter(str.isprintable, last)).strip(), 100) or unnamed
