"""The fields of a request that were refused, for the request's line in the log: their names, never what was typed."""

from __future__ import annotations

from typing import Any

from flask import Flask, before_render_template, g
from wtforms import Form

_MOST = 20
"""The most fields that a line names."""
_CHOSEN_BY_CALLER = {"doubled", "extra_forbidden", "unreadable"}
"""The codes of errors whose field may have a name that is none of ours."""


def note_refused(field: str, code: str = "") -> None:
    """Note for the log that this field of the current request was refused, and with which code, if that is known.

    A name that the caller has made up is noted as "?", as it may say anything.
    """
    name = "?" if code in _CHOSEN_BY_CALLER else field or "body"
    noted = g.setdefault("refused_fields", [])
    text = f"{name}: {code}" if code else name
    if text not in noted and len(noted) < _MOST:
        noted.append(text)


def refused_fields() -> list[str]:
    """Return the fields of the current request that `note_refused` has noted, in this order."""
    noted: list[str] = g.get("refused_fields", [])
    return noted


def note_fields_of_forms(app: Flask) -> None:
    """Let every page of the app that is rendered with a form note the form's fields that have errors."""

    def note(_: Flask, context: dict[str, Any], **_more: object) -> None:
        for form in context.values():
            if isinstance(form, Form):
                for name in form.errors:
                    note_refused(str(name))

    # Otherwise the signal would forget this function at once.
    before_render_template.connect(note, app, weak=False)
