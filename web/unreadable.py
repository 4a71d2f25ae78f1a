"""What no text of ours can hold is refused before anything is done with it.

PostgreSQL keeps no NUL, and half a surrogate pair, which JSON can say, is no character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import request
from werkzeug.routing import IntegerConverter

from models.errors import InvalidField, NotFound

_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_DEEPEST = 8
"""No body of ours is nested deeper."""


class TooDeep(Exception):
    """A body is nested deeper than any that is meant."""


class IdConverter(IntegerConverter):
    """A number in an address that may be a key."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"max": 2**63 - 1, **options})


def refuse_unreadable() -> None:
    """Before anything else of a request: raises `NotFound` for its address, `InvalidField` for a field.

    A form's fields are looked at in the portal only: the API reads its bodies once it knows who is calling.
    """
    if not is_readable(request.path):
        raise NotFound
    fields = [request.args] if request.path.startswith("/api/") else [request.args, request.form]
    for name, text in (pair for each in fields for pair in each.items(multi=True)):
        if not is_readable(name + text):
            raise InvalidField(name if is_readable(name) else "", "unreadable")


def ensure_readable(body: object) -> None:
    """Raises `InvalidField` for the first unreadable text of a JSON body, `TooDeep` if that is nested too deep."""
    for place, text in _texts(body, ()):
        if not is_readable(text):
            raise InvalidField(".".join(place), "unreadable")


def is_readable(text: str) -> bool:
    """Whether a text of ours can hold this."""
    return _UNREADABLE.search(text) is None


def _texts(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(place) > _DEEPEST:
        raise TooDeep
    match value:
        case str():
            yield place, value
        case dict():
            for name, inner in value.items():
                yield place, name
                yield from _texts(inner, (*place, name))
        case list():
            for number, inner in enumerate(value):
                yield from _texts(inner, (*place, str(number)))
