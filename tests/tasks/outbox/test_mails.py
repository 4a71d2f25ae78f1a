"""Tests of every kind of mail as its reader gets it, in both languages, as text and HTML, also with hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest
import sqlalchemy as sa

from models.messages.outbox import Message
from models.people.users import User
from models.values import LOCALES, Locale
from tasks.outbox.render import render
from tasks.ports import Mail
from tasks.wording.link_rights import link_rights
from tests.tasks.conftest import Pipeline
from tests.tasks.outbox.every_mail import HOSTILE, TEMPLATES, Sent, send_all

ABOUT_LOGINS = {"password_reset", "login_changed", "login_created", "login_erased", "new_sign_in"}


LEADS_NOWHERE = {"order_completed_contact"}
"""The templates of mails without links, to people who may have no login."""


CHOOSE_WORDS = {
    "last_used", "kind", "reminder", "until", "template", "role", "refusal", "bulk_id", "scopes", "maker", "what",
}  # fmt: skip


class Page(HTMLParser):
    """An HTML mail as it is parsed: its visible text (`words`), language, tags, and the URLs of its links."""

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
    """Return the text with each run of spaces and line breaks replaced by one space."""
    return " ".join(text.split())


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest) -> Locale:
    """Provide the language of all people in the test. Each test runs once for each language."""
    spoken: Locale = request.param
    return spoken


_sent: dict[Locale, Sent] = {}


@pytest.fixture
def sent(request: pytest.FixtureRequest, locale: Locale) -> Sent:
    """Send every kind of mail, and provide what was sent.

    The mails are sent once for each language and test process, because it takes seconds.
    """
    if locale not in _sent:
        _sent[locale] = send_all(request.getfixturevalue("pipeline"), locale, request.getfixturevalue("superuser"))
    return _sent[locale]


@pytest.fixture
def mails(sent: Sent) -> list[tuple[Mail, dict[str, Any]]]:
    """Provide the sent mails as pairs of a mail and the variables of its template."""
    return sent.mails


def test_text_and_html_tell_the_same(mails: list[tuple[Mail, dict[str, Any]]], locale: Locale) -> None:
    for mail, facts in mails:
        page = Page(mail.html)
        # The others only choose words.
        for value in (value for name, value in facts.items() if name not in CHOOSE_WORDS):
            for shown in map(plain, map(str, value if isinstance(value, list) else [value])):
                if facts["template"] in LEADS_NOWHERE:
                    assert not page.links
                if shown == facts["link"] and facts["template"] not in LEADS_NOWHERE:
                    assert page.links == [shown] and shown in mail.text
                else:
                    assert (shown in plain(mail.text)) == (shown in plain(page.words)), (mail.subject, shown)
        # A login may be of several accounts.
        if facts["template"] not in ABOUT_LOGINS:
            number = facts["customer_number"]
            assert number in mail.text and number in page.words and number in mail.subject
        assert page.language == mail.locale == locale


def test_a_mail_speaks_one_language(mails: list[tuple[Mail, dict[str, Any]]], locale: Locale) -> None:
    greeting, other_greeting = ("Guten Tag", "Hello") if locale == "de" else ("Hello", "Guten Tag")
    other: Locale = "en" if locale == "de" else "de"
    for mail, facts in mails:
        assert plain(mail.text).startswith(f"{greeting} {HOSTILE},")
        assert other_greeting not in mail.text + mail.html
        assert render(facts["template"], other, facts).subject != mail.subject


def test_everybody_is_told_in_their_own_language(pipeline: Pipeline, superuser: sa.Engine) -> None:
    send_all(pipeline, "de", superuser, others="en")
    with pipeline.runtime.database.transaction() as session:
        logins = sa.select(Message.template, Message.locale, User.locale)
        told = session.execute(logins.join(User, User.email == Message.recipient_address)).all()
    assert {template for template, written, spoken in told if written != spoken} == set()
    read_in_english = {template for template, _, spoken in told if spoken == "en"}
    assert {"consent_asked", "detach_planned", "high_risk_allowed", "numbers_released"} <= read_in_english


def test_the_mails_of_a_link_say_what_it_gives(mails: list[tuple[Mail, dict[str, Any]]], locale: Locale) -> None:
    rights = link_rights(locale)
    told = {facts["template"] for mail, facts in mails if rights.may[0] in plain(mail.text)}
    assert told == {"consent_asked", "link_completed", "link_completed_owner", "switch_completed_owner"}
    for mail, _ in (known for known in mails if known[1]["template"] in told):
        for said in (*rights.may, *rights.may_not):
            assert said in plain(mail.text) and said in plain(Page(mail.html).words)


def test_who_has_left_a_main_account_reads_that_it_knew_the_sip_password(
    mails: list[tuple[Mail, dict[str, Any]]], locale: Locale
) -> None:
    said = "Passwort Ihres SIP-Trunks" if locale == "de" else "password of your SIP trunk"
    told = {facts["template"] for mail, facts in mails if said in plain(mail.text) and said in plain(mail.html)}
    assert told == {"detach_completed_owner", "switch_completed_owner"}


def test_a_completion_mail_leads_to_the_account_itself(mails: list[tuple[Mail, dict[str, Any]]]) -> None:
    account = {
        "order_completed", "link_completed", "link_completed_owner", "detach_completed_owner", "change_completed",
        "switch_completed_owner",
        "numbers_completed", "move_completed",
    }  # fmt: skip
    for _, facts in (known for known in mails if known[1]["template"].endswith(("completed", "completed_owner"))):
        own = facts["link"].endswith(f"/standortverwaltung/{facts['customer_number']}")
        assert own == (facts["template"] in account), facts["template"]
    told = {facts["template"] for _, facts in mails if facts.get("holder_name") == HOSTILE}
    assert told == {"detach_completed", "detach_completed_owner"}


def test_a_subject_is_one_line_whatever_it_tells(mails: list[tuple[Mail, dict[str, Any]]], locale: Locale) -> None:
    for mail, facts in mails:
        assert re.fullmatch(r"[^\x00-\x1f]{10,90}", mail.subject)
        broken = {**facts, "customer_number": "1\r\nBcc: all@example.com"}
        assert len(render(facts["template"], locale, broken).subject.splitlines()) == 1


def test_names_do_no_harm(mails: list[tuple[Mail, dict[str, Any]]]) -> None:
    for mail, facts in mails:
        page = Page(mail.html)
        assert "script" not in page.tags
        assert f"{HOSTILE}," in page.words
        assert not re.search("&lt;|&amp;|&#", mail.text + page.words), facts["template"]


def test_no_sip_password_leaves(sent: Sent) -> None:
    assert any(sent.trunks[0].sip_user in mail.text for mail, _ in sent.mails)
    for mail, facts in sent.mails:
        for trunk in sent.trunks:
            assert trunk.secret not in f"{mail.subject}{mail.text}{mail.html}{facts}"


def test_codes_and_links_stand_in_the_mail_and_not_in_the_database(sent: Sent) -> None:
    secret = [(mail, facts) for mail, facts in sent.mails if "code" in facts]
    coded, linked = (
        {"email_code", "consent_asked", "main_consent_asked"},
        {"password_reset", "invitation", "login_created"},
    )
    assert {facts["template"] for _, facts in secret} == coded | linked
    for mail, facts in secret:
        assert (facts["code"] in mail.text) == (facts["template"] in coded) and facts["link"] in mail.text
        assert facts["code"] not in sent.stored and facts["code"].replace(" ", "") not in sent.stored
        assert facts["link"].rpartition("/")[2] not in sent.stored


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_fact_that_is_missing_is_an_error_and_no_gap(template: str) -> None:
    for locale in LOCALES:
        with pytest.raises(jinja2.UndefinedError):
            render(template, locale, {"customer_number": "1234567"})


def test_a_letter_has_whole_paragraphs_and_the_code(sent: Sent) -> None:
    [letter] = sent.letters
    paragraphs = letter.text.strip().split("\n\n")
    # The printer breaks the lines; only the link is on a line of its own.
    assert {paragraph.count("\n") for paragraph in paragraphs} == {0, 1}
    assert [paragraph.splitlines()[1] for paragraph in paragraphs if "\n" in paragraph] == [
        "http://portal.example/brief"
    ]
    assert re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", letter.text)
