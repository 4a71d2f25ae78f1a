"""Complete the OpenAPI document with the idempotency key and the errors (RFC 9457) that every operation can have."""

from __future__ import annotations

from copy import deepcopy
from http import HTTPStatus
from typing import Any

from models.retention import IDEMPOTENCY_KEYS

_ALWAYS = (400, 401, 403, 405, 415, 422, 500, 503)
"""The HTTP statuses of the errors that every operation of the API can answer with."""
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ALLOW = {
    "description": "The methods that this address knows.",
    "required": True,
    "schema": {"type": "string", "examples": ["OPTIONS, POST"]},
}
_KEY_NEEDED = {"post": True, "delete": False}
"""For each HTTP method that takes the header `Idempotency-Key`: whether the header is required."""


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the generated OpenAPI document, completed with what all operations have in common.

    Operations that change something (POST, DELETE) get the header `Idempotency-Key`. Every operation gets these errors
    as `application/problem+json`: those that it declares itself, those that any call can have, 404 if its path has a
    parameter, and 413 if it changes something. One of them is 405 (method not allowed): OpenAPI cannot describe a
    method that a path does not have, so each operation of the path describes that error.
    """
    document = deepcopy(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in _KEY_NEEDED:
                operation["parameters"] = [*operation.get("parameters", ()), _idempotency_key(_KEY_NEEDED[method])]
            responses = operation["responses"]
            declared = [int(status) for status in responses if int(status) >= 400]
            missing = (404,) if "{" in path else ()
            too_large = (413,) if method in _KEY_NEEDED else ()
            for status in sorted({*_ALWAYS, *missing, *too_large, *declared}):
                responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": _PROBLEM}
            responses["405"] |= {"description": "Another method of this address.", "headers": {"Allow": _ALLOW}}
    return document


def _idempotency_key(required: bool) -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": required,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": f"The same key and body give the same answer, for {IDEMPOTENCY_KEYS.days} days.",
    }
