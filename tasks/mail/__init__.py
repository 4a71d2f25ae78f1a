"""The mails: one folder a message, each with subject, text and HTML in German and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from models.values import Locale


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail's words."""

    subject: str
    text: str
    html: str


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("tasks", "mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(message: str, locale: Locale, facts: Mapping[str, object]) -> Rendered:
    """The message in this language. Raises `jinja2.UndefinedError` if a fact is missing."""
    subject, text, html = (
        _templates().get_template(f"{message}/{part}").render(facts)
        for part in (f"subject.{locale}.txt", f"body.{locale}.txt", f"body.{locale}.html")
    )
    return Rendered(" ".join(subject.split()), text.strip() + "\n", html)
