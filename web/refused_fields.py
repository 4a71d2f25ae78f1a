"""Collects the names of the fields that the current request had refused, for its line in the log.

The log gets names and error codes, never what was typed.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, before_render_template, g
from wtforms import Form

_MOST = 20
"""The greatest number of refused fields that a request's line in the log names."""
_CHOSEN_BY_CALLER = {"doubled", "extra_forbidden", "unreadable"}
"""The codes of errors about a field whose name the caller may have made up."""


def note_refused(field: str, code: str = "") -> None:
    """Note for the log that this field of the current request was refused; `code` is the error's code, "" if unknown.

    A name that the caller may have made up is noted as "?", because it may say anything.
    """
    name = "?" if code in _CHOSEN_BY_CALLER else field or "body"
    noted = g.setdefault("refused_fields", [])
    text = f"{name}: {code}" if code else name
    if text not in noted and len(noted) < _MOST:
        noted.append(text)


def refused_fields() -> list[str]:
    """Return the refused fields of the current request in the order in which they were noted.

    Each is a text such as "email: missing", or only the field's name if the code is unknown.
    """
    noted: list[str] = g.get("refused_fields", [])
    return noted


def note_fields_of_forms(app: Flask) -> None:
    """Make the app note, whenever it renders a page with a form, the fields of the form that have errors."""

    def note(_: Flask, context: dict[str, Any], **_more: object) -> None:
        for form in context.values():
            if isinstance(form, Form):
                for name in form.errors:
                    note_refused(str(name))

    # Otherwise the signal would forget this function at once.
    before_render_template.connect(note, app, weak=False)
