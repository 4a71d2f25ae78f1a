"""Pages that stay up to date by themselves: their parts are asked for again, and put in place where they say something
new (js/request.js)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import make_response, render_template, request
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from werkzeug.wrappers import Response


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page. `version` tells whether it says something new."""

    name: str
    html: Markup
    version: str


@dataclass(frozen=True, slots=True)
class Live:
    """What of a page may change. Once it has `ended`, nothing will any more."""

    regions: Sequence[Region]
    ended: bool

    @property
    def version(self) -> str:
        """Another one as soon as any part says something new."""
        return _digest(" ".join(region.version for region in self.regions))

    def answer(self) -> Response:
        """The parts alone; 304 if nothing has changed since the version that the browser names."""
        response = make_response(render_template("page/live_updates.html", live=self))
        response.set_etag(self.version)
        return response.make_conditional(request)


def live_parts(folder: str, names: Sequence[str], facts: Mapping[str, Any], *, ended: bool = False) -> Live:
    """The parts of a page by these names, each from the template of its name in the folder."""
    return Live([_region(name, render_template(f"{folder}/{name}.html", **facts)) for name in names], ended)


def _region(name: str, html: str) -> Region:
    # The token of the forms is another one each time, and says nothing.
    return Region(name, Markup(html), _digest(html.replace(generate_csrf(), "")))  # noqa: S704 - of our templates


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
