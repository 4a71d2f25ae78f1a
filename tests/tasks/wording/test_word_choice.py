"""Tests that texts use one word for each thing, British English and one style of dates.

The texts are in the catalogue of translations, in templates and in documents.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from models.calendar_days import BERLIN
from tasks.wording.formats import day_text, euros, last_day_text, moment_text

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "tasks" / "wording" / "translations" / "de" / "LC_MESSAGES" / "messages.po"
TEMPLATES = [*ROOT.glob("web/templates/**/*.html"), *ROOT.glob("tasks/outbox/templates/*")]
PROGRAMS = [file for room in ("tasks", "web") for file in (ROOT / room).rglob("*.py")]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]

AMERICAN = re.compile(
    r"\b(?:colors?|centers?|centered|cancel(?:ed|ing)|travel(?:ed|ing)|label(?:ed|ing)|favorites?"
    r"|favors?|honors?|behaviors?|neighbors?|neighboring|gray|catalogs?|dialogs?|fulfills?|enroll|inquir(?:y|ies)"
    r"|gotten|zip codes?|cell ?phones?|license[ds]?|toward|judgment|artifacts?|program(?:me)?d"
    r"|(?!size|prize|seize|capsize|resize|sizing)[a-z]+iz(?:e|es|ed|ing|ations?))\b",
    re.IGNORECASE,
)
"""Matches American spellings, also of words that no text contains yet."""

INSTEAD = {
    r"\bUSt\b|MwSt|Mehrwertsteuer": "Umsatzsteuer",
    r"kostenpflichtig (?:bestellen|buchen)|verbindlich bestellen|Jetzt kaufen": "zahlungspflichtig bestellen",
    r"Unteraccount|Subaccount|Sub-Account|Nebenkonto|Unterkonto": "Nebenaccount",
    r"Hauptkonto|Hauptaccounts? Konto|Main-Account": "Hauptaccount",
    r"\bEmail\b|\bE-mail\b|\beMail\b|\bMailadresse\b": "E-Mail, E-Mail-Adresse",
    r"Telefonnummer|Telefon-Nr": "Rufnummer",
    r"Kundennr|Kunden-Nr|Kunden-Nummer": "Kundennummer",
    r"\bLogin\b|Kennwort|Log-in|einloggen|ausloggen": "Zugang, Passwort, anmelden, abmelden",
    r"Ansprechpartner": "Ansprechperson",
    r"\bPLZ\b": "Postleitzahl",
    # The title that the help page promises.
    r"(?<!Bestehendes )\bKont(?:o|os|en)\b": "Account",
    r"\bStrasse\b": "Straße",
}
"""Expressions for words that German texts must not use, each with the word to use instead."""

ENGLISH_INSTEAD = {
    r"\bemails?\b|\bE-Mails?\b": "e-mail",
    r"\blog in\b|\blog out\b|\blogged in\b|\bsign-on\b": "sign in, sign out",
    r"\bsubaccounts?\b|\bsub accounts?\b": "sub-account",
    r"\bsales tax\b|\bvalue added tax\b": "VAT",
    r"\bzip code\b|\bpost ?code\b": "postal code",
    r"\bterms of service\b": "terms and conditions",
    r"\bprivacy policy\b": "privacy notice",
}

LOOSE_DATES = re.compile(r"strftime\(|\| ?datetimeformat|\| ?dateformat|flask_babel import [^\n]*format_date")
"""Matches code that formats dates itself, without `tasks.wording.formats`."""
MACHINES = {"web/portal/page/holder_form.py"}
"""Files that may format dates themselves: dates for programs, or dates as people type them into a field."""


def sentences() -> list[tuple[str, str]]:
    """Return pairs of English and German sentence from the catalogue; each plural form is a pair of its own."""
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    found: list[tuple[str, str]] = []
    for message in catalogue:
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        texts = [message.string] if isinstance(message.string, str) else list(message.string or ())
        found += [pair for pair in zip(ids, texts, strict=True) if pair[0]]
    return found


def bare(text: str) -> str:
    """Return the text without placeholders, URLs and names of the API."""
    return re.sub(r"%\(\w+\)s|^Possible are .*|Authorization:|\b[a-z]+_[a-z_]+\b|https?://\S+|/\S+", " ", text)


def test_german_texts_have_one_word_for_a_thing() -> None:
    wrong = [
        (german, good) for bad, good in INSTEAD.items() for _, german in sentences() if re.search(bad, bare(german))
    ]
    assert wrong == []


def test_english_texts_have_one_word_for_a_thing() -> None:
    wrong = [
        (english, good)
        for bad, good in ENGLISH_INSTEAD.items()
        for english, _ in sentences()
        if re.search(bad, bare(english))
    ]
    assert wrong == []


def test_english_is_british() -> None:
    texts = [english for english, _ in sentences()]
    assert [(text, AMERICAN.findall(bare(text))) for text in texts if AMERICAN.search(bare(text))] == []
    for file in DOCUMENTS:
        # Code and addresses are as others spell them.
        text = re.sub(
            r"```.*?```|`[^`]*`|^ {4}.*$|<[^>]+>|\(https?://[^)]*\)", " ", file.read_text(), flags=re.S | re.M
        )
        found = set(AMERICAN.findall(text))
        assert not found, (file.name, found)


@pytest.mark.parametrize("word", ["color", "canceled", "organization", "authorized", "center", "gray", "catalog"])
def test_american_spelling_is_noticed(word: str) -> None:
    assert AMERICAN.search(f"The {word} is here.")
    assert not AMERICAN.search("The colour, cancelled, organisation, centre, grey, catalogue, size, resize and prize.")


def test_code_and_documents_name_the_person_who_acts() -> None:
    nameless = "".join(("who", "ever"))
    ours = [file for room in ("models", "tasks", "web", "workers", "tests") for file in (ROOT / room).rglob("*.py")]
    assert [str(file) for file in (*DOCUMENTS, *ours) if nameless in file.read_text().lower()] == []


def test_dates_are_written_in_one_way() -> None:
    for file in (*TEMPLATES, *PROGRAMS):
        name = str(file.relative_to(ROOT))
        assert name in MACHINES or not LOOSE_DATES.search(file.read_text()), name
    nine = datetime(2026, 3, 2, 9, 5, tzinfo=BERLIN)
    assert moment_text(nine, "de") == "2. März 2026, 09:05 Uhr" and moment_text(nine, "en") == "2 March 2026, 09:05"
    assert day_text(nine, "de") == "2. März 2026" and day_text(nine, "en") == "2 March 2026"
    midnight = datetime(2026, 3, 17, tzinfo=BERLIN)
    assert last_day_text(midnight, "de") == "16. März 2026" and last_day_text(midnight, "en") == "16 March 2026"
    assert euros(123450, "de") == "1.234,50\xa0€" and euros(123450, "en") == "€1,234.50"
