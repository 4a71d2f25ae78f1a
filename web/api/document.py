"""The OpenAPI document, with the errors that every operation can have (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

_ALWAYS = (400, 401, 403, 422, 500, 503)
"""The errors that any call can have: text that cannot be read, token, rights, parameters, faults, outages."""
_WITH_BODY = (413, 415)
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Add to each operation of an OpenAPI document the errors that every such operation can have; return the document.

    Errors that an operation declares itself stay. All are described as `application/problem+json`. Changes the document
    in place.
    """
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            declared = [int(status) for status in responses if int(status) >= 400]
            missing = (404,) if "{" in path else ()
            body = _WITH_BODY if "requestBody" in operation else ()
            for status in sorted({*_ALWAYS, *missing, *body, *declared}):
                responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": _PROBLEM}
    return document
