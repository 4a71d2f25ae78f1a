"""The pages at /dev/mail: mails and letters that the embedded stack (for development) caught instead of sending them.

The pages show every code. So they are served only if DEV_MAIL_DIR is set and the base URL is local. The request must
come from this machine under a local host name, and no proxy or tunnel may have forwarded it. The host name is checked
so that no other website can reach the pages by pointing its own name at this machine.
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
from web.proxied_requests import was_forwarded
from web.resources import resources

dev_mail = Blueprint("dev_mail", __name__, url_prefix="/dev/mail")

PAGE = 50
_MAIL, _LETTER = re.compile(r"[A-Za-z0-9@_-][A-Za-z0-9.@_-]*\.eml"), re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.pdf")

# The mail's HTML may have styles but runs nothing; its links open in a new tab.
_HTML_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_PAGE_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """A mail that the development mail catcher has saved; `name` is its file name, `at` the time of saving."""

    name: str
    to: str
    subject: str
    at: datetime


@dev_mail.before_request
def only_from_here() -> None:
    """Abort with 404 unless the request comes from this machine, under a local host name, and was not forwarded."""
    if was_forwarded():
        abort(404)
    caller, host = request.remote_addr or "", urlsplit(f"//{request.host}").hostname or ""
    if not (is_loopback(caller) and is_loopback(host) and is_loopback(request.environ.get("SERVER_NAME", ""))):
        abort(404)


@dev_mail.get("")
def overview() -> str:
    """Show a page of the caught mails, newest first, and the printed letters.

    The query parameter `an` is a part of the recipient's address to filter by, `ab` how many mails to skip.
    """
    wanted = request.args.get("an", "").strip().lower()
    start = max(0, request.args.get("ab", 0, type=int))
    found = [path for path in _files(_mails(), "*.eml", _MAIL) if wanted in path.name.lower()]
    letters = resources().settings.dev_letters_dir
    printed = _files(letters, "*.pdf", _LETTER) if letters is not None else []
    return render_template(
        "messages/dev_mail/overview.html",
        mails=[_parse_mail(path) for path in found[start : start + PAGE]],
        letters=[(path.name, _changed(path)) for path in printed[:PAGE]],
        wanted=wanted,
        older=start + PAGE if len(found) > start + PAGE else None,
        newer=max(0, start - PAGE) if start else None,
    )


@dev_mail.get("/<name>")
def show(name: str) -> Response:
    """Show the caught mail with this file name: its headers, its text, and its HTML in a sandboxed frame.

    Abort with 404 if there is no such mail.
    """
    path = _file(_mails(), name, _MAIL)
    mail = _parsed(path)
    page = render_template(
        "messages/dev_mail/mail.html",
        caught=_parse_mail(path),
        sender=mail["From"],
        text=_body(mail, "plain"),
        html=_body(mail, "html"),
    )
    return Response(page, headers={"Content-Security-Policy": _PAGE_CSP})


@dev_mail.get("/<name>/html")
def html(name: str) -> Response:
    """Return the HTML of a mail, to be shown in a frame.

    A Content-Security-Policy forbids scripts and loading from elsewhere; links in the mail open in a new tab. Abort
    with 404 if there is no such mail, or the mail has no HTML.
    """
    found = _body(_parsed(_file(_mails(), name, _MAIL)), "html")
    if found is None:
        abort(404)
    # In a new tab, because the portal forbids being shown in a frame.
    found = re.sub(r"(<head\b[^>]*>)", r'\1<base target="_blank">', found, count=1, flags=re.IGNORECASE)
    return Response(found, headers={"Content-Security-Policy": _HTML_CSP}, mimetype="text/html")


@dev_mail.get("/<name>/quelle")
def source(name: str) -> Response:
    """Return the mail with this file name as it was sent, headers included, as text; 404 if there is none."""
    return Response(_file(_mails(), name, _MAIL).read_bytes(), content_type="text/plain; charset=utf-8")


@dev_mail.get("/briefe/<name>")
def letter(name: str) -> Response:
    """Return the printed letter with this file name as PDF. Abort with 404 if there is none."""
    letters = resources().settings.dev_letters_dir
    if letters is None:
        abort(404)
    return Response(_file(letters, name, _LETTER).read_bytes(), mimetype="application/pdf")


def _mails() -> Path:
    folder = resources().settings.dev_mail_dir
    assert folder is not None
    return folder


def _files(folder: Path, pattern: str, allowed: re.Pattern[str]) -> list[Path]:
    """Return the files in the folder that match the glob `pattern` and whose name matches `allowed`, newest first."""
    found = [path for path in folder.glob(pattern) if allowed.fullmatch(path.name) and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _file(folder: Path, name: str, allowed: re.Pattern[str]) -> Path:
    """Return the path of the file `name` in the folder.

    Abort with 404 unless the name matches `allowed` and the path is a regular file, not a symbolic link.
    """
    path = folder / name
    if not allowed.fullmatch(name) or path.is_symlink() or not path.is_file():
        abort(404)
    return path


def _parse_mail(path: Path) -> CaughtMail:
    with path.open("rb") as file:
        head = BytesHeaderParser(policy=policy.default).parse(file)
    return CaughtMail(path.name, str(head["To"] or ""), str(head["Subject"] or ""), _changed(path))


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
