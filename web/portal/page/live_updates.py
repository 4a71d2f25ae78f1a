"""Pages that update themselves: the script js/request.js polls the changing parts of a page and replaces them."""

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
    """A part of a page that the script replaces when it changes.

    `name` is the name of its template, `html` its content, and `version` a hash that changes with the content.
    """

    name: str
    html: Markup
    version: str


@dataclass(frozen=True, slots=True)
class LiveParts:
    """All parts of a page that may change while the page is open (`regions`).

    `ended` is True if no part can change from now on; the browser then stops polling.
    """

    regions: Sequence[Region]
    ended: bool

    @property
    def version(self) -> str:
        """Return a hash over the versions of all parts, for use as ETag; it changes if any part changes."""
        return _digest(" ".join(region.version for region in self.regions))

    def response(self) -> Response:
        """Return all parts as one HTML response; 304 without content if the browser's ETag is the current version."""
        response = make_response(render_template("page/live_updates.html", live=self))
        response.set_etag(self.version)
        return response.make_conditional(request)


def render_live_parts(folder: str, names: Sequence[str], facts: Mapping[str, Any], *, ended: bool = False) -> LiveParts:
    """Render the parts of a page that may change while it is open, and return them.

    Each of `names` is a template `<name>.html` in the template folder `folder`; `facts` are the template variables of
    all. `ended`: nothing can change from now on, so the browser stops polling.
    """
    return LiveParts([_region(name, render_template(f"{folder}/{name}.html", **facts)) for name in names], ended)


def _region(name: str, html: str) -> Region:
    # The CSRF token differs at each rendering and is not part of the content.
    return Region(name, Markup(html), _digest(html.replace(generate_csrf(), "")))  # noqa: S704 - of our templates


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
