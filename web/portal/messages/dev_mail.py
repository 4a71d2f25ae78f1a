"""/dev/mail: what the embedded stack's mail catcher and printer have kept, to be read in the browser.

Whoever sees it sees every code. So it is there only if DEV_MAIL_DIR says where the mails are, only with a base URL
that means this machine, and answers only what this machine asks, under a name that means it (another site could have
its own name point here).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, render_template, request

from tasks.settings import is_loopback
from web.resources import resources

dev_mail = Blueprint("dev_mail", __name__, url_prefix="/dev/mail")

PAGE = 50
_MAIL, _LETTER = re.compile(r"[A-Za-z0-9@_-][A-Za-z0-9.@_-]*\.eml"), re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.pdf")

# The mail's own HTML: it may look as it likes, and do nothing. Its links open beside it.
_HTML_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_PAGE_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Caught:
    """A file, and what its head says. `at`: when it was caught."""

    name: str
    to: str
    subject: str
    at: datetime


@dev_mail.before_request
def only_from_here() -> None:
    """Not found for whoever is not at this machine."""
    caller, host = request.remote_addr or "", urlsplit(f"//{request.host}").hostname or ""
    if not (is_loopback(caller) and is_loopback(host) and is_loopback(request.environ.get("SERVER_NAME", ""))):
        abort(404)


@dev_mail.get("")
def overview() -> str:
    """The mails, the newest first, and the letters; `an` finds those to an address."""
    wanted = request.args.get("an", "").strip().lower()
    start = max(0, request.args.get("ab", 0, type=int))
    found = [path for path in _files(_mails(), "*.eml", _MAIL) if wanted in path.name.lower()]
    letters = resources().settings.dev_letters_dir
    printed = _files(letters, "*.pdf", _LETTER) if letters is not None else []
    return render_template(
        "messages/dev_mail/overview.html",
        mails=[_caught(path) for path in found[start : start + PAGE]],
        letters=[(path.name, _changed(path)) for path in printed[:PAGE]],
        wanted=wanted,
        older=start + PAGE if len(found) > start + PAGE else None,
        newer=max(0, start - PAGE) if start else None,
    )


@dev_mail.get("/<name>")
def show(name: str) -> Response:
    """One mail: its head, its text, and its HTML in a frame that can do nothing."""
    path = _file(_mails(), name, _MAIL)
    mail = _parsed(path)
    page = render_template(
        "messages/dev_mail/mail.html",
        caught=_caught(path),
        sender=mail["From"],
        text=_body(mail, "plain"),
        html=_body(mail, "html"),
    )
    return Response(page, headers={"Content-Security-Policy": _PAGE_CSP})


@dev_mail.get("/<name>/html")
def html(name: str) -> Response:
    """The mail's HTML, for the frame. Nothing in it runs, and nothing is loaded from elsewhere."""
    found = _body(_parsed(_file(_mails(), name, _MAIL)), "html")
    if found is None:
        abort(404)
    # Inside the frame the portal would refuse to be shown.
    found = re.sub(r"(<head\b[^>]*>)", r'\1<base target="_blank">', found, count=1, flags=re.IGNORECASE)
    return Response(found, headers={"Content-Security-Policy": _HTML_CSP}, mimetype="text/html")


@dev_mail.get("/<name>/quelle")
def source(name: str) -> Response:
    """The mail as it was sent."""
    return Response(_file(_mails(), name, _MAIL).read_bytes(), content_type="text/plain; charset=utf-8")


@dev_mail.get("/briefe/<name>")
def letter(name: str) -> Response:
    """A printed letter."""
    letters = resources().settings.dev_letters_dir
    if letters is None:
        abort(404)
    return Response(_file(letters, name, _LETTER).read_bytes(), mimetype="application/pdf")


def _mails() -> Path:
    folder = resources().settings.dev_mail_dir
    assert folder is not None
    return folder


def _files(folder: Path, pattern: str, allowed: re.Pattern[str]) -> list[Path]:
    """The files of these names in the folder, the newest first."""
    found = [path for path in folder.glob(pattern) if allowed.fullmatch(path.name) and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _file(folder: Path, name: str, allowed: re.Pattern[str]) -> Path:
    """A file in this very folder; not found for every other name, and for links that lead out of it."""
    path = folder / name
    if not allowed.fullmatch(name) or path.is_symlink() or not path.is_file():
        abort(404)
    return path


def _caught(path: Path) -> Caught:
    with path.open("rb") as file:
        head = BytesHeaderParser(policy=policy.default).parse(file)
    return Caught(path.name, str(head["To"] or ""), str(head["Subject"] or ""), _changed(path))


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _parsed(path: Path) -> EmailMessage:
    with path.open("rb") as file:
        mail = BytesParser(policy=policy.default).parse(file)
    assert isinstance(mail, EmailMessage)
    return mail


def _body(mail: EmailMessage, kind: str) -> str | None:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else None
