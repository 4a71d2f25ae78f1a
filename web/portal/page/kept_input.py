"""Keeps the input of a form that was sent after the session had ended, until the user has signed in again.

Each form has a hidden field that names the user it was made for (`form_owner`). The input is stored nowhere: it travels
encrypted in the sign-in form. It is shown to no other user, and sent only when the user presses a button again.
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
    """The input of a form that was refused because the user's session had ended.

    `path` is the URL path to which the form was sent, `back` the path of the page that contains the form, both with
    their query. `fields` are pairs of a field's name and value, without passwords. `files` are the names of the chosen
    files; their contents are not kept. `had_password` says whether a password was typed.
    """

    path: str
    back: str
    fields: list[tuple[str, str]]
    files: list[str]
    had_password: bool

    @property
    def is_passwords_alone(self) -> bool:
        """Return whether the user typed passwords and nothing else.

        The hidden field `issue`, in forms about a SIP password, does not count as typed.
        """
        return self.had_password and all(name == "issue" for name, _ in self.fields)


def form_owner() -> str:
    """Return the value of the hidden field `form_owner`: the signed-in user's id and a token for that id.

    Empty if nobody is signed in. `owner_of_form` reads and checks the value.
    """
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
    """Return whether the browser's Origin header says that the submitted form was on a page of this portal."""
    return _is_ours(request.headers.get("Origin"))


def sent_input() -> KeptInput:
    """Return the input of the form in the current request, without passwords and the contents of files."""
    sent = [(name, value) for name, value in request.form.items(multi=True) if name not in _OWN]
    return KeptInput(
        path=request.full_path.removesuffix("?"),
        back=_page_of_form(),
        fields=[(name, value) for name, value in sent if name not in PASSWORDS],
        files=[file.filename for file in request.files.values() if file.filename],
        had_password=any(name in PASSWORDS for name, _ in sent),
    )


def seal_input(kept: KeptInput, user_id: int) -> str | None:
    """Return the input of a form as encrypted text, for a hidden field of the sign-in form of the user `user_id`.

    `open_input` can decrypt it for an hour. Return None if the input has more than `MOST_KEPT` (200,000) characters as
    JSON; it is then not kept.
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

    Return None if `sealed` is anything else, if it is older than an hour (`KEPT_FOR`), or if the key with which it was
    encrypted is no longer in use.
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
    """Return `target` if it is the path of a page of the portal, and so safe to redirect to; otherwise None.

    The path may have a query, and its page must answer to GET. URLs of other sites, of the API and of static files give
    None.
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
    """Return the path, with its query, of the page that contained the submitted form.

    This is the path in the Referer header if that is a page of the portal. Otherwise it is the URL to which the form
    was sent if that answers to GET, or else "/".
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
