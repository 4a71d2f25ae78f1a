"""Tests that portal, mails, letters and offers have the same colours, typeface and wordmark.

Also that all pages extend the same base template.
"""

from __future__ import annotations

import re
from pathlib import Path

from models.typefaces import FAMILY
from tasks.outbox import pdf_sheet
from tasks.outbox.render import render
from tasks.settings import Carrier, CarrierPage

ROOT = Path(__file__).parents[4]
CSS = (ROOT / "web" / "static" / "portal.css").read_text()
MAIL = "".join((ROOT / "tasks" / "outbox" / "templates" / name).read_text() for name in ("layout.html", "parts.html"))
PAGES = ROOT / "web" / "templates"
CARRIER = Carrier(
    "Beispiel & Telefon",
    "Musterstraße 1, 10115 Berlin",
    "030 23125000",
    "service@portal.example",
    {CarrierPage.IMPRINT: "https://portal.example/impressum", CarrierPage.HELP: "https://portal.example/hilfe"},
)
PARTS = {"page/live_updates.html", "accounts/overview_live.html", "orders/basket.html"}
"""Templates of parts of pages, with which the server answers scripts; they are no whole documents."""
FACTS = {"recipient_name": "Hanna", "link": "https://portal.example/x/", "email": "hanna@example.com"}


def scheme(css: str) -> dict[str, str]:
    """Return the colours that a style sheet (its text) defines, by name, each as # and six hexadecimal digits."""
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css))
    return {name: "#" + "".join(c * 2 for c in code[1:]) if len(code) == 4 else code for name, code in found.items()}


LIGHT = scheme(CSS.split("@media")[0])
DARK = scheme(CSS.split("@media")[1])


def test_paper_has_the_colours_of_the_pages() -> None:
    names = {"INK": "ink", "QUIET": "quiet", "ACCENT": "primary", "LINE": "line", "TINT": "paper"}
    for name, variable in names.items():
        red, green, blue = getattr(pdf_sheet, name)
        assert f"#{red:02x}{green:02x}{blue:02x}" == LIGHT[variable], name


def test_mails_have_the_colours_of_the_pages() -> None:
    dark, light = MAIL.partition("<style>")[2].partition("</style>")[::2]
    assert set(re.findall(r"#[0-9a-f]{6}", light)) <= set(LIGHT.values())
    assert set(re.findall(r"#[0-9a-f]{6}", dark)) <= set(DARK.values())
    icon = (ROOT / "web" / "static" / "icon.svg").read_text()
    assert LIGHT["primary"] in icon


def test_all_have_one_typeface() -> None:
    assert f'"{FAMILY}"' in re.findall(r"body \{[^}]*\}", CSS)[0] and f"'{FAMILY}'" in MAIL


def test_every_page_has_the_frame_of_the_portal() -> None:
    """Check that only the base template is a whole document, and each other one extends it or is a part of a page."""
    documents = [path.name for path in PAGES.rglob("*.html") if "<html" in path.read_text()]
    assert documents == ["base.html"]
    programs = "".join(file.read_text() for file in (ROOT / "web").rglob("*.py"))
    rendered = set(re.findall(r'render_template\(\s*"([^"]+\.html)"', programs))
    assert len(rendered) > 40
    assert {name for name in rendered if "{% extends" not in (PAGES / name).read_text()} == PARTS


def test_a_mail_says_who_the_carrier_is() -> None:
    mail = render("password_reset", "de", FACTS, CARRIER)
    assert "Beispiel &amp; Telefon Kundenportal</p>" in mail.html and 'href="https://portal.example/hilfe"' in mail.html
    foot = mail.text[mail.text.index("\n--\n") :]
    for words in ("Beispiel & Telefon, Musterstraße 1, 10115 Berlin\n030 23125000, service@portal.example\n",
                  "Impressum: https://portal.example/impressum\nHilfe: https://portal.example/hilfe\n"):  # fmt: skip
        assert words in foot
    for words in ("Musterstraße 1", "030 23125000", "mailto:service@portal.example", ">Impressum</a>"):
        assert words in mail.html
    assert "Imprint: https://portal.example/impressum" in render("password_reset", "en", FACTS, CARRIER).text
    # What is not set is not shown, and leaves no gap.
    plain = render("password_reset", "de", FACTS)
    assert plain.text.endswith("eingegeben hat.\n") and "None" not in plain.text + plain.html
    partly = render("password_reset", "de", FACTS, Carrier(name="Beispiel & Telefon"))
    assert partly.text.endswith("\n\nBeispiel & Telefon\n") and "None" not in partly.text + partly.html
