"""Tests of /dev/mail, which shows mails and letters caught by the embedded stack, only to browsers on its machine."""

from __future__ import annotations

import os
import re
import secrets
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.web.conftest import FrontOf


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Create the folders for mails and for letters, and return them.

    Beside them are private files that must not be shown.
    """
    mails, letters = tmp_path / "mail", tmp_path / "letters"
    mails.mkdir()
    letters.mkdir()
    (tmp_path / "secret_key").write_text("the key")
    (tmp_path / "other.eml").write_text("Subject: outside\n\noutside")
    return mails, letters


@pytest.fixture
def open_front(front_of: FrontOf, folders: tuple[Path, Path]) -> FrontOf:
    """Provide a function that creates a web application which shows the mails and letters in `folders`.

    The function can be given further settings; it returns a test client.
    """
    return partial(front_of, dev_mail_dir=folders[0], dev_letters_dir=folders[1])


def catch(
    folder: Path,
    name: str,
    *,
    to: str = "hanna@example.com",
    subject: str = "Grüße",
    html: str | None = None,
    age: int = 0,
) -> str:
    """Write a mail to the folder as the embedded stack's mail catcher does; return the file's name.

    `html` is the mail's HTML part (None: text only), `age` how many seconds before a fixed time it was written.
    """
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "portal@example.com", to, subject
    mail.set_content("Guten Tag,\n\nöffnen Sie http://127.0.0.1:8000/email/1/abc?a=1&b=2 <bald>\n")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    path = folder / f"{name}.eml"
    path.write_bytes(mail.as_bytes())
    os.utime(path, (1_780_000_000 - age, 1_780_000_000 - age))
    return path.name


def test_the_mails_are_listed_with_the_newest_first(open_front: FrontOf, folders: tuple[Path, Path]) -> None:
    client = open_front()
    assert "Noch keine E-Mails." in client.get("/dev/mail").text
    catch(folders[0], "old", subject="Alt", age=60)
    catch(folders[0], "maxi@example.com.1", subject="<b>Neu</b>", to="Maxi <maxi@example.com>")
    page = client.get("/dev/mail").text
    assert re.findall(r'<a href="/dev/mail/[^"]+">([^<]+)</a></p>', page) == ["&lt;b&gt;Neu&lt;/b&gt;", "Alt"]
    assert "Maxi &lt;maxi@example.com&gt;" in page
    found = client.get("/dev/mail?an=Maxi@").text
    assert "Neu" in found and ">Alt<" not in found
    for number in range(60):
        catch(folders[0], f"many{number}", subject=f"Viele {number}", age=100 + number)
    older = re.search(r'href="(/dev/mail\?ab=50)"', client.get("/dev/mail").text)
    assert older is not None and "Viele 59" in client.get(older[1]).text


def test_a_mail_shows_its_text_its_html_and_its_source(open_front: FrontOf, folders: tuple[Path, Path]) -> None:
    client = open_front()
    evil = (
        '<html><head><title>x</title></head><body><script>alert(1)</script><img src="http://a.example/x"></body></html>'
    )
    name = catch(folders[0], "one", html=evil)
    page = client.get(f"/dev/mail/{name}")
    assert "&lt;bald&gt;" in page.text and "<script>alert" not in page.text
    assert 'href="http://127.0.0.1:8000/email/1/abc?a=1&amp;b=2"' in page.text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    frame = client.get(f"/dev/mail/{name}/html")
    policy = frame.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "sandbox" in policy
    assert "allow-scripts" not in policy and "allow-same-origin" not in policy and "script-src" not in policy
    assert '<base target="_blank">' in frame.text
    source = client.get(f"/dev/mail/{name}/quelle")
    assert source.mimetype == "text/plain" and source.data == (folders[0] / name).read_bytes()
    plain = catch(folders[0], "plain")
    assert "<iframe" not in client.get(f"/dev/mail/{plain}").text
    assert client.get(f"/dev/mail/{plain}/html").status_code == 404


def test_letters_are_there_as_pdf(open_front: FrontOf, folders: tuple[Path, Path]) -> None:
    client = open_front()
    (folders[1] / "0190-1.pdf").write_bytes(b"%PDF-1.7 and more")
    assert 'href="/dev/mail/briefe/0190-1.pdf"' in client.get("/dev/mail").text
    found = client.get("/dev/mail/briefe/0190-1.pdf")
    assert (found.mimetype, found.data) == ("application/pdf", b"%PDF-1.7 and more")
    without = open_front(dev_letters_dir=None)
    assert without.get("/dev/mail").status_code == 200
    assert without.get("/dev/mail/briefe/0190-1.pdf").status_code == 404


def test_no_name_leads_out_of_the_folder(open_front: FrontOf, folders: tuple[Path, Path]) -> None:
    client = open_front()
    (folders[0] / "link.eml").symlink_to(folders[0].parent / "other.eml")
    (folders[0] / ".hidden.eml").write_text("Subject: unfinished\n\n")
    (folders[0] / "folder.eml").mkdir()
    names = ["../other.eml", "%2e%2e/other.eml", "..%2fother.eml", "..%5cother.eml", "/etc/passwd", "link.eml"]
    for name in [
        *names,
        ".hidden.eml",
        "folder.eml",
        "secret_key",
        "../secret_key",
        "none.eml",
        "a%00.eml",
        "a%0a.eml",
    ]:
        for path in (f"/dev/mail/{name}", f"/dev/mail/{name}/html", f"/dev/mail/{name}/quelle"):
            assert client.get(path).status_code in (404, 308), path
        assert client.get(f"/dev/mail/briefe/{name}").status_code == 404
    (folders[0] / "folder.eml").rmdir()
    page = client.get("/dev/mail").text
    assert "outside" not in page and "unfinished" not in page


@pytest.mark.parametrize(
    "settings",
    [
        {"dev_mail_dir": None},
        {"base_url": "https://portal.example", "trusted_proxies": 0},
        {"base_url": "http://portal.example"},
        {"base_url": "https://127.0.0.1:8000", "trusted_proxies": 0},
        {"base_url": "http://10.0.0.1:8000"},
        {"trusted_proxies": 1},
    ],
)
def test_it_is_not_there_in_production(
    open_front: FrontOf, folders: tuple[Path, Path], settings: dict[str, Any]
) -> None:
    name = catch(folders[0], "one")
    client = open_front(secret_key=SecretStr(secrets.token_hex(32)), **settings)
    for path in ("/dev/mail", f"/dev/mail/{name}", f"/dev/mail/{name}/quelle"):
        assert client.get(path).status_code == 404
    assert not any("dev" in str(rule) for rule in client.application.url_map.iter_rules())


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"HTTP_HOST": "portal.example"},
        {"HTTP_HOST": "127.0.0.1.portal.example"},
        {"SERVER_NAME": "0.0.0.0"},
        {"REMOTE_ADDR": "::ffff:192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_FOR": ""},
        {"HTTP_X_FORWARDED_HOST": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_FORWARDED": "for=192.0.2.7"},
        {"HTTP_VIA": "1.1 tunnel"},
        {"HTTP_X_REAL_IP": "192.0.2.7"},
    ],
)
def test_it_answers_only_who_sits_at_this_machine(open_front: FrontOf, environ: dict[str, str]) -> None:
    client = open_front()
    assert client.get("/dev/mail", base_url="http://127.0.0.1:8000").status_code == 200
    assert client.get("/dev/mail", environ_overrides=environ).status_code == 404
