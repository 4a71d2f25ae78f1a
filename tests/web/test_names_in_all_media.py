"""Tests that names in any script work in pages, mails and PDFs and at the registrar.

Also names as older versions have stored them, with characters that are refused now.
"""

from __future__ import annotations

import copy
import csv
import email
import io
import os
import re
from dataclasses import astuple, replace
from email.message import EmailMessage
from email.policy import default

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.people.users import User
from models.states import Origin
from models.text_direction import END_ISOLATE, ISOLATE, isolated
from tasks.outbox.letter_layout import letter_pdf
from tasks.ports import Letter, Mail, NotSent
from tasks.settings import Carrier
from tests.due_work import sync_registrar
from tests.factories import NOW, an_order, fill_pool, make_account, prove_contact, submit_order
from tests.fakes import FakeRegistrar
from tests.naughty_strings import NAUGHTY
from tests.printed_text import printed_lines
from tests.web.conftest import ORDER, Back, Front
from tests.web.portal.page.test_portal import sign_in
from tests.workbooks import read_xlsx
from tests.world_names import WORLD_NAMES
from web.text_input import is_storable_text
from workers.gateways.smtp import _ON_THE_WIRE, _mailbox, build_message

ALL = os.environ.get("NAUGHTY_STRINGS") == "all"
STORED = {kind: text for kind, text in NAUGHTY.items() if is_storable_text(text) and text.strip() and len(text) < 201}
"""The naughty strings that a row can contain, by kind: storable text of at most 200 characters."""
RENDERED = (
    list(STORED) if ALL else ["html", "percent format", "encoded header", "mail address", "right to left", "emoji"]
)
"""The kinds of naughty strings with which whole orders are placed."""
SENDER = _mailbox("Kundenportal", "portal@example.com")
HEADERS = {
    "To", "Subject", "From", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version",
    "Content-Type", "Content-Language",
}  # fmt: skip


def received(mail: Mail) -> EmailMessage | None:
    """Return the mail as a mail program parses it; None if it is not sent because a header cannot be built."""
    try:
        content = build_message(mail, SENDER).as_bytes(policy=_ON_THE_WIRE)
    except NotSent:
        return None
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    found = email.message_from_bytes(content, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def one_line(text: str) -> str:
    return " ".join(text.replace(ISOLATE, "").replace(END_ISOLATE, "").split())


def download(front: Front, path: str) -> bytes:
    with front.client.get(path) as answer:
        return bytes(answer.data)


def table_of(front: Front, path: str) -> list[list[str]]:
    text = download(front, path).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))


@pytest.mark.parametrize("kind", STORED)
def test_a_name_in_the_headers_of_a_mail_arrives_as_it_is_or_the_mail_is_refused(kind: str) -> None:
    text = STORED[kind]
    mail = Mail(
        "<0123456789abcdef0123456789abcdef@x>", text, "kim@example.com", "de", one_line(text), text, f"<p>{kind}</p>"
    )
    found = received(mail)
    if found is None:
        assert "\n" in text or "\r" in text or "\t" in text or "=0A" in text
        return
    assert set(found.keys()) == HEADERS
    [to] = found["To"].addresses
    assert to.addr_spec == "kim@example.com" and one_line(to.display_name) == one_line(text)
    assert one_line(str(found["Subject"])) == one_line(text)
    body = found.get_body(("plain",))
    assert body is not None and one_line(body.get_content()) == one_line(text)


def test_exports_hold_every_name_unchanged(front: Front) -> None:
    with front.database.transaction() as session:
        for text in STORED.values():
            account = make_account(session, name=text, contact_name=text, street=text, city=text)
            attach(session, front.main.id, account.id, Origin.LINK, NOW)
        numbers = {account.customer_number: account.name for account in session.scalars(sa.select(Account))}
    sign_in(front, front.manager.email)
    for path in ("/standortverwaltung/export", "/standortverwaltung/vertraege/export"):
        rows, book = table_of(front, f"{path}.csv"), read_xlsx(download(front, f"{path}.xlsx"))
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == len(book)
    rows = table_of(front, "/standortverwaltung/export.csv")
    assert len(rows) == len(STORED) + 2
    for row in rows[1:]:
        # What Excel would take for a formula has an apostrophe in front.
        if row[0] != front.main.customer_number:
            assert [cell.removeprefix("'") for cell in row[2:5]] == [numbers[row[0]].removeprefix("'")] * 3
        assert not any(re.match(r"[=@\t\r-]|\+\D", cell) for cell in row)
    for line in read_xlsx(download(front, "/standortverwaltung/export.xlsx"))[1:]:
        cell, wanted = str(line[2]).replace("\r\n", "\n"), numbers[str(line[0])].replace("\r\n", "\n")
        assert one_line(cell) == one_line(wanted)


def test_names_of_the_world_are_ordered_and_shown_everywhere(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        fill_pool(session, count=2 * len(WORLD_NAMES), first="40000000")
        main = session.get_one(Account, front.main.id)
        for place, name in enumerate(WORLD_NAMES.values()):
            draft = an_order()
            contact = replace(draft.contact, email=f"kim{place}@example.com")
            location = replace(draft.location, street=f"{name} {place + 1}")
            prove_contact(session, main, replace(draft, contact=contact, location=location))
    numbers = {}
    for place, (kind, name) in enumerate(WORLD_NAMES.items()):
        body = copy.deepcopy(ORDER)
        body["location"] |= {"name": name, "street": f"{name} {place + 1}"}
        body["contact"] |= {"name": name, "email": f"kim{place}@example.com"}
        answer = front.post("/orders", body)
        assert answer.status_code == 202, answer.text
        numbers[kind] = answer.get_json()["customer_number"]
    for _ in range(3):
        back.advance()
        sync_registrar(back.runtime)
    sign_in(front, front.manager.email)
    rows = {row[0]: row for row in table_of(front, "/standortverwaltung/export.csv")}
    book = {str(row[0]): row for row in read_xlsx(download(front, "/standortverwaltung/export.xlsx"))}
    mails = {mail.recipient_address: mail for mail in back.mailer.sent}
    receipts = [mail for mail in back.mailer.sent if mail.attachments]
    for place, (kind, name) in enumerate(WORLD_NAMES.items()):
        number = numbers[kind]
        assert rows[number][2] == book[number][2] == name
        assert front.get(f"/accounts/{number}").get_json()["name"] == name
        found = front.client.get("/standortverwaltung", query_string={"suche": name}).text
        assert number in found and isolated(name) in found, kind
        to_contact = received(mails[f"kim{place}@example.com"])
        assert to_contact is not None and one_line(to_contact["To"].addresses[0].display_name) == one_line(name)
        [receipt] = [mail for mail in receipts if number in mail.text]
        sheet = next(file.content for file in receipt.attachments if file.media_type == "application/pdf")
        whole = PdfReader(io.BytesIO(sheet)).pages[0].extract_text() + "".join(printed_lines(sheet))
        assert all(character in whole for character in name if character != "\u200c"), kind
        sender = Mail("<0123456789abcdef@x>", name, "kim@example.com", "de", name, name, f"<p>{name}</p>")
        message = build_message(sender, _mailbox(name, "portal@example.com")).as_bytes(policy=_ON_THE_WIRE)
        shown = email.message_from_bytes(message, policy=default)
        assert shown["From"].addresses[0].display_name == shown["Subject"] == name


@pytest.mark.parametrize("kind", WORLD_NAMES)
def test_a_letter_is_printed_with_names_in_any_script(kind: str) -> None:
    name = WORLD_NAMES[kind]
    letter = Letter(
        "key", (name, "Hauptstr. 1", f"10179 {name}"), "de", f"An {isolated(name)}", f"{isolated(name)}\n\nABCD",
        "1. Januar 2026", "ABCD",
    )  # fmt: skip
    sheet = letter_pdf(letter, Carrier())
    whole = PdfReader(io.BytesIO(sheet)).pages[0].extract_text() + "".join(printed_lines(sheet))
    assert all(character in whole for character in name if character != "\u200c")


def test_whole_orders_with_such_names_leave_mails_letters_and_trunks_whole(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        fill_pool(session, count=2 * len(RENDERED), first="40000000")
        for place, kind in enumerate(RENDERED):
            text = STORED[kind]
            main = session.get_one(Account, front.main.id)
            draft = an_order()
            draft = replace(
                draft,
                location=replace(draft.location, name=text, street=f"Brückenstr. {place + 1}"),
                contact=replace(draft.contact, name=text, email=f"kim{place}@example.com"),
            )
            if place % 2 or kind == "right to left":
                prove_contact(session, main, draft)
            submit_order(session, front.manager, main, draft, NOW)
        session.get_one(Account, front.main.id).name = STORED["arabic"]
        session.get_one(User, front.manager.user_id).name = STORED["emoji"]
    for _ in range(3):
        back.advance()
        sync_registrar(back.runtime)
    assert len(back.mailer.sent) > len(RENDERED) and back.printer.printed
    hidden = STORED["right to left"]
    assert any("110 und 112" in mail.text and hidden in mail.text for mail in back.mailer.sent), "the contact's mail"
    for mail in back.mailer.sent:
        found = received(mail)
        if found is None:
            # A line break in a header, also one that is hidden in an encoded word.
            assert re.search(r"[\r\n\t]|=0A", mail.recipient_name)
            continue
        assert set(found.keys()) == HEADERS and len(found["To"].addresses) == 1
        # A right-to-left name that stood in one isolate with its street or number would change places with them.
        assert not re.search(rf"{ISOLATE}[^{END_ISOLATE}]*[\u0590-\u06ff][^{END_ISOLATE}]*, ", mail.text)
        assert "<script>alert" not in mail.html and "49" not in one_line(mail.subject).split()
        for attachment in mail.attachments:
            if attachment.media_type == "application/pdf":
                assert PdfReader(io.BytesIO(attachment.content)).pages[0].extract_text()
    for letter in back.printer.printed:
        text = PdfReader(io.BytesIO(letter_pdf(letter, Carrier()))).pages[0].extract_text()
        assert letter.code is not None and letter.code in text and ISOLATE not in text
    registrar = back.runtime.ports.registrar
    assert isinstance(registrar, FakeRegistrar) and registrar.writes
    for record in registrar.writes:
        assert all(re.fullmatch(r"[\x21-\x7e ]*", part) for part in re.findall(r"'([^']*)'", repr(astuple(record))))
