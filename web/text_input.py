"""Cleans the text in HTTP requests: removes invisible characters, and refuses text that cannot be stored.

PostgreSQL cannot store NUL characters and unpaired surrogates, which JSON can express. Spreadsheets (XML) can hold
neither these nor other control characters nor noncharacters such as U+FFFE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Request, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.routing import IntegerConverter
from werkzeug.utils import cached_property

from models.errors import InvalidField, NotFound
from models.invisible_characters import typed_text

PASSWORDS = frozenset({"password", "current"})
"""The names of the form and JSON fields that contain passwords. Their text is not cleaned."""

_NOT_STORABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_MAX_DEPTH = 8
"""The greatest nesting depth of a JSON body; every valid body of the API is less deep."""


class TypedRequest(Request):
    """A Flask request that cleans the texts in its query, form and JSON body.

    It removes invisible characters and converts the texts to Unicode's normal form NFC, except in password fields.
    """

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """Return the query parameters of the URL, in NFC and without invisible characters; passwords as typed."""
        return _typed_fields(super().args)

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the JSON body as Flask's `get_json` does, with its texts in NFC and without invisible characters.

        Passwords stay as they were typed.
        """
        return _typed_json(super().get_json(force, silent, cache))

    def _load_form_data(self) -> None:
        super()._load_form_data()
        self.__dict__["form"] = _typed_fields(self.__dict__["form"])


class UniqueKeys(DefaultJSONProvider):
    """A JSON provider for Flask that refuses objects in which a key stands twice.

    Otherwise programs could disagree on which of the two values counts.
    """

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse a JSON text and return its value. Raises `InvalidField` if a key stands twice in an object."""
        return super().loads(s, object_pairs_hook=_unique, **kwargs)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidField(name if is_storable_text(name) else "", "doubled")
        found[name] = value
    return found


class TooDeep(Exception):
    """Raised when a JSON body is nested more than eight levels deep, which no valid body of the API is."""


class IdConverter(IntegerConverter):
    """A Flask URL converter for integer ids. Numbers above the largest database key (signed 64 bits) answer 404."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"max": 2**63 - 1, **options})


def reject_unstorable_text() -> None:
    """Refuse the current request if its URL or form fields have text that PostgreSQL or spreadsheets cannot store.

    Raises `NotFound` for such text in the path, `InvalidField` for such a query parameter or form field. Runs before
    any view. Form fields of API calls are not checked; their JSON bodies are checked by `check_json_text`, after the
    caller is authenticated.
    """
    if not is_storable_text(request.path):
        raise NotFound
    fields = [request.args] if request.path.startswith("/api/") else [request.args, request.form]
    for name, text in (pair for each in fields for pair in each.items(multi=True)):
        if not is_storable_text(name + text):
            raise InvalidField(name if is_storable_text(name) else "", "unreadable")


def check_json_text(body: object) -> None:
    """Check that PostgreSQL and spreadsheets can store every string and key of a JSON body.

    Raises `InvalidField` for the first that they cannot store, and `TooDeep` if the body is nested more than eight
    levels deep.
    """
    for path, text in _strings(body, ()):
        if not is_storable_text(text):
            raise InvalidField(".".join(path), "unreadable")


def is_storable_text(text: str) -> bool:
    """Return whether PostgreSQL and spreadsheets can store the text.

    It must not contain control characters below U+0020, except tabs and line breaks, nor surrogates, nor the
    noncharacters U+FDD0 to U+FDEF, U+FFFE and U+FFFF. Characters newer than this Python's Unicode tables are allowed.
    """
    return _NOT_STORABLE.search(text) is None


def _typed_fields(fields: MultiDict[str, str]) -> ImmutableMultiDict[str, str]:
    pairs = fields.items(multi=True)
    return ImmutableMultiDict([(name, text if name in PASSWORDS else typed_text(text)) for name, text in pairs])


def _typed_json(value: Any) -> Any:
    match value:
        case str():
            return typed_text(value)
        case dict():
            return {name: inner if name in PASSWORDS else _typed_json(inner) for name, inner in value.items()}
        case list():
            return [_typed_json(inner) for inner in value]
    return value


def _strings(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every string and key of a JSON value as a pair of path and text.

    The path of a string consists of `path` and of the names and list positions that lead to the string. A key has the
    path of its object. Raises `TooDeep` if a path has more than eight parts.
    """
    if len(path) > _MAX_DEPTH:
        raise TooDeep
    match value:
        case str():
            yield path, value
        case dict():
            for name, inner in value.items():
                yield path, name
                yield from _strings(inner, (*path, name))
        case list():
            for number, inner in enumerate(value):
                yield from _strings(inner, (*path, str(number)))
