"""Reads the forms of an HTML page, and fills them in as a browser does."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

_TEXT_TYPES = {"text", "search", "email", "tel", "url", "number", "password", "time", "date"}


@dataclass
class HtmlForm:
    """A form on the page with the path `page`, which is sent to `action` with the HTTP method `method`.

    `values` are the pairs of name and value that a browser sends if nothing is changed. `texts` are the names of the
    fields in which people type, `files` those of the fields for files, `others` those of all other fields.
    """

    page: str
    action: str
    method: str
    values: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def filled(self, name: str, value: str) -> list[tuple[str, str]]:
        """Return the pairs of name and value that a browser sends if only the field `name` is changed, to `value`."""
        return [pair for pair in self.values if pair[0] != name] + [(name, value)]


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.forms = page, list[HtmlForm]()
        self._form: HtmlForm | None = None
        self._by_id: dict[str, HtmlForm] = {}
        self._textarea: tuple[HtmlForm, str] | None = None
        self._select: tuple[HtmlForm, str, list[tuple[str, bool]]] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            action = urljoin(self.page, found.get("action") or self.page)
            self._form = HtmlForm(self.page, action, found.get("method", "get").lower())
            self.forms.append(self._form)
            self._by_id[found.get("id", "")] = self._form
            return
        form = self._by_id.get(found["form"]) if "form" in found else self._form
        name = found.get("name", "")
        if form is None or not name:
            if tag == "option" and self._select is not None:
                self._select[2].append((found.get("value", ""), "selected" in found))
            return
        if tag == "input":
            self._input(form, name, found)
        elif tag == "textarea":
            form.texts.append(name)
            self._textarea, self._text = (form, name), ""
        elif tag == "select":
            form.others.append(name)
            self._select = form, name, []

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._textarea is not None:
            form, name = self._textarea
            form.values.append((name, self._text))
            self._textarea = None
        elif tag == "select" and self._select is not None:
            form, name, options = self._select
            chosen = [value for value, selected in options if selected] or [value for value, _ in options[:1]]
            form.values += [(name, value) for value in chosen]
            self._select = None

    def handle_data(self, data: str) -> None:
        self._text += data

    def _input(self, form: HtmlForm, name: str, found: dict[str, str]) -> None:
        kind = found.get("type", "text")
        if kind in ("radio", "checkbox"):
            if name not in form.others:
                form.others.append(name)
            if "checked" in found or (kind == "radio" and name not in dict(form.values)):
                form.values = [pair for pair in form.values if kind != "radio" or pair[0] != name]
                form.values.append((name, found.get("value", "on")))
        elif kind == "file":
            form.files.append(name)
        else:
            (form.texts if kind in _TEXT_TYPES and "readonly" not in found else form.others).append(name)
            form.values.append((name, found.get("value", "")))


def forms_of(path: str, page: str) -> list[HtmlForm]:
    """Return the forms in the HTML `page`. `path` is the page's path, to which the forms' actions are relative."""
    reader = _Reader(path)
    reader.feed(page)
    return reader.forms
