"""Every mail as its reader gets it: in both languages, complete, in text and HTML, whatever people are called."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import jinja2
import pytest
import sqlalchemy as sa

from models.messages import Message, message_id
from models.orders import Contact, Location
from models.people import User
from models.values import LOCALES, Locale
from tasks.mail import render
from tasks.ports import Mail
from tests.factories import a_link, an_order, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline

FOLDERS = sorted(entry.name for entry in resources.files("tasks.mail").iterdir() if entry.is_dir())
TEMPLATES = [name for name in FOLDERS if not name.startswith("__")]
HOSTILE = "<script>alert('x')</script> & \"Söhne\""
PORTAL = "http://portal.example/standortverwaltung"


class Page(HTMLParser):
    """What a mail program shows of HTML, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.language: str | None = None
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "html":
            self.language = dict(attrs)["lang"]
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data: str) -> None:
        self.words += data


def plain(text: str) -> str:
    """Without the line breaks that only look good."""
    return " ".join(text.split())


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest) -> Locale:
    """The language that everybody speaks."""
    spoken: Locale = request.param
    return spoken


@pytest.fixture
def mails(pipeline: Pipeline, locale: Locale) -> list[tuple[Mail, Message]]:
    """What leaves for an order and a link of people with names that mean harm: each mail, and what it tells."""
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner, name=HOSTILE)
        main, pipeline.manager = make_main(session, name=HOSTILE)
        session.execute(sa.update(User).values(name=HOSTILE, locale=locale))
    place, contact = Location(HOSTILE, HOSTILE, "10179", f"Berlin {HOSTILE}"), Contact(HOSTILE, "c@example.com", None)
    pipeline.order(an_order(locale=locale, location=place, contact=contact), main)
    pipeline.link(replace(a_link(account, email=owner.email), locale=locale), main=main)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        told = {
            message_id(message.request_id, message.template, message.recipient_address, "portal.example"): message
            for message in session.scalars(sa.select(Message))
        }
    sent = [(mail, told.pop(mail.message_id)) for mail in pipeline.mailer.sent]
    assert sent and not told
    return sent


def test_every_mail_there_is_has_been_sent(mails: list[tuple[Mail, Message]]) -> None:
    assert {message.template for _, message in mails} == set(TEMPLATES)


def test_text_and_html_tell_the_same(mails: list[tuple[Mail, Message]], locale: Locale) -> None:
    for mail, message in mails:
        page = Page(mail.html)
        facts = [fact for value in message.facts.values() for fact in (value if isinstance(value, list) else [value])]
        for fact in facts:
            shown = plain(str(fact))
            if shown == PORTAL:
                assert page.links == [PORTAL] and PORTAL in mail.text
            else:
                assert (shown in plain(mail.text)) == (shown in plain(page.words)), (message.template, shown)
        number = message.facts["customer_number"]
        assert number in mail.text and number in page.words and number in mail.subject
        assert page.language == mail.locale == locale


def test_a_mail_speaks_one_language(mails: list[tuple[Mail, Message]], locale: Locale) -> None:
    greeting, other_greeting = ("Guten Tag", "Hello") if locale == "de" else ("Hello", "Guten Tag")
    other: Locale = "en" if locale == "de" else "de"
    for mail, message in mails:
        assert mail.text.startswith(f"{greeting} {HOSTILE},\n")
        assert other_greeting not in mail.text + mail.html
        assert render(message.template, other, message.facts).subject != mail.subject


def test_a_subject_is_one_line_whatever_it_tells(mails: list[tuple[Mail, Message]], locale: Locale) -> None:
    for mail, message in mails:
        assert re.fullmatch(r"[^\x00-\x1f]{10,90}", mail.subject)
        broken = {**message.facts, "customer_number": "1\r\nBcc: all@example.com"}
        assert len(render(message.template, locale, broken).subject.splitlines()) == 1


def test_names_do_no_harm(mails: list[tuple[Mail, Message]]) -> None:
    for mail, message in mails:
        page = Page(mail.html)
        assert "script" not in page.tags
        assert f"{HOSTILE}," in page.words
        assert not re.search("&lt;|&amp;|&#", mail.text + page.words), message.template


def test_no_sip_password_leaves(mails: list[tuple[Mail, Message]], pipeline: Pipeline) -> None:
    [trunk] = pipeline.registrar.trunks.values()
    assert any(trunk.sip_user in mail.text for mail, _ in mails)
    for mail, message in mails:
        assert trunk.secret not in f"{mail.subject}{mail.text}{mail.html}{message.facts}"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_fact_that_is_missing_is_an_error_and_no_gap(template: str) -> None:
    for locale in LOCALES:
        with pytest.raises(jinja2.UndefinedError):
            render(template, locale, {"customer_number": "1234567"})
