"""The input of a form whose session had ended, encrypted for the same person until the next sign-in.

Each form has a hidden field with the person it was made for (`form_owner`). Nothing is stored: the encrypted input
travels in the sign-in form. It is shown to nobody else, and sent only when the person presses a button again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

from flask import current_app, request
from flask_login import current_user
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from models.vault import SecretUnreadable
from web.resources import resources
from web.text_input import PASSWORDS

KEPT_FOR = timedelta(hours=1)
MOST_KEPT = 200_000
"""The most characters of input that are kept; a larger form has to be typed again."""
# "username" is only for the browser's store of passwords.
_OWN = frozenset({"csrf_token", "form_owner", "kept", "username"})
# A path of this site: a browser leaves out control characters and reads "//" and "/\\" as another host.
_PATH = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f\\]*")


@dataclass(frozen=True, slots=True)
class KeptInput:
    """The input of a form that was not accepted, because the sender's session had ended.

    `path` is where the form was sent to, with its query, and `back` the page on which it was. `fields` are the names
    and values without passwords, `had_password` whether there was a password. `files` are the names of chosen files,
    which are not kept.
    """

    path: str
    back: str
    fields: list[tuple[str, str]]
    files: list[str]
    had_password: bool

    @property
    def is_passwords_alone(self) -> bool:
        """Return whether the person typed nothing but passwords. A hidden field `issue` does not count as typed."""
        return self.had_password and all(name == "issue" for name, _ in self.fields)


def form_owner() -> str:
    """Return the value of a form's hidden field that identifies the signed-in person; empty if nobody is signed in."""
    if not current_user.is_authenticated:
        return ""
    user_id = str(current_user.principal.user_id)
    return f"{user_id}.{resources().vault.token('form', user_id)}"


def owner_of_form() -> int | None:
    """Return the id of the user for whom the form of the current request was made.

    None if the hidden field `form_owner` is missing or empty, or its token for that user is wrong.
    """
    user_id, _, token = request.form.get("form_owner", "").partition(".")
    is_right = user_id.isascii() and user_id.isdecimal() and resources().vault.is_token(token, "form", user_id)
    return int(user_id) if is_right else None


def is_from_here() -> bool:
    """Return whether the form of the current request was on a page of this site, by the browser's header Origin."""
    return _is_ours(request.headers.get("Origin"))


def sent_input() -> KeptInput:
    """Return what the form of the current request sent, without passwords and the contents of files."""
    sent = [(name, value) for name, value in request.form.items(multi=True) if name not in _OWN]
    return KeptInput(
        path=request.full_path.removesuffix("?"),
        back=_page_of_form(),
        fields=[(name, value) for name, value in sent if name not in PASSWORDS],
        files=[file.filename for file in request.files.values() if file.filename],
        had_password=any(name in PASSWORDS for name, _ in sent),
    )


def seal_input(kept: KeptInput, user_id: int) -> str | None:
    """Encrypt the input for this user, to travel in the sign-in form; `open_input` can read it for an hour.

    Return None if the input is longer than `MOST_KEPT` (200,000) characters as JSON: then it is lost.
    """
    facts = {
        "use": "kept input",
        "user_id": user_id,
        "at": resources().clock().isoformat(),
        "path": kept.path,
        "back": kept.back,
        "fields": kept.fields,
        "files": kept.files,
        "had_password": kept.had_password,
    }
    text = json.dumps(facts)
    return resources().vault.seal(text).decode() if len(text) <= MOST_KEPT else None


def open_input(sealed: str) -> tuple[KeptInput, int] | None:
    """Decrypt what `seal_input` returned; return the input and the id of the user for whom it was encrypted.

    Return None if `sealed` is no such text, if its key is no longer in use, or if it is older than an hour
    (`KEPT_FOR`).
    """
    try:
        facts = json.loads(resources().vault.open(sealed.encode()))
    except (SecretUnreadable, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("use") != "kept input":
        return None
    if resources().clock() >= datetime.fromisoformat(facts["at"]) + KEPT_FOR:
        return None
    fields = [(name, value) for name, value in facts["fields"]]
    kept = KeptInput(facts["path"], facts["back"], fields, facts["files"], facts["had_password"])
    return kept, facts["user_id"]


def local_page(target: str | None) -> str | None:
    """Return `target` if it is the path of a page of the portal, with or without a query; None for anything else.

    So a redirect to it is safe: it leads to a page that answers to GET, and to no other site.
    """
    if not target or not _PATH.fullmatch(target) or target.startswith(("/api/", "/static/")):
        return None
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        return None
    try:
        adapter.match(unquote(urlsplit(target).path), method="GET")
    except RequestRedirect:
        return target
    except (HTTPException, ValueError):
        return None
    return target


def _page_of_form() -> str:
    """Return the path of the page with the submitted form: that of the Referer header if it is a page of the portal.

    Else it is the URL to which the form was sent, or "/" if that is no page.
    """
    referrer = request.referrer or ""
    parts = urlsplit(referrer) if _is_ours(referrer) else urlsplit("")
    page = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return local_page(page) or local_page(request.full_path.removesuffix("?")) or "/"


def _is_ours(address: str | None) -> bool:
    try:
        host = urlsplit(address or "").netloc
    except ValueError:
        return False
    return host != "" and host in (request.host, urlsplit(resources().settings.base_url).netloc)
