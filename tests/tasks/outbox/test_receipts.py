"""Tests of receipts: each order, link request and bulk file gets one mail at once that confirms it has arrived.

The mail names the agreed prices, and who has to act by when.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from uuid import UUID

import pytest
import sqlalchemy as sa
from pypdf import PdfReader
from sqlalchemy.exc import OperationalError

from models.contracts.catalogue import Product
from models.db.work_queue import WorkKind
from models.jobs.outages import ExternalSystem, Outage
from models.messages.outbox import Message
from models.orders.orders import Contact, OrderDraft, cancel_and_release
from models.people.users import User
from models.requests.requests import Request
from models.states import ProofMethod, Reason, Status
from tasks.claims import LOCKED_AGAIN
from tasks.ports import GatewayUnavailable, Mail
from tests.factories import a_link, an_order, fill_pool, make_account, make_bulk, make_user, sites
from tests.fakes import MailSink
from tests.statements import recorded_statements
from tests.tasks.conftest import Pipeline
from tests.tasks.outbox.test_send import impatient
from tests.tasks.steps.proving import STRANGER, fresh
from tests.workbooks import read_xlsx
from workers.gateways.smtp import SmtpMailer


def plain(text: str) -> str:
    """Return the text with each run of spaces, non-breaking spaces and line breaks replaced by one space."""
    return " ".join(text.replace("\xa0", " ").split())


def receipts(pipeline: Pipeline) -> list[Mail]:
    """Return the mails to the requester that confirm that an order, a link request or a bulk file has arrived."""
    return [mail for mail in pipeline.mailer.sent if mail.recipient_address == pipeline.manager.email
            and ("erhalten" in mail.subject or "received" in mail.subject)]  # fmt: skip


def pdf_text(content: bytes) -> str:
    return plain(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages))


def in_english(pipeline: Pipeline, superuser: sa.Engine) -> None:
    """Set the language of the requester and all other users to English, for mails that are queued from now on."""
    pipeline.manager = replace(pipeline.manager, locale="en")
    # No part of the system changes a person's language.
    with superuser.begin() as connection:
        connection.execute(sa.update(User).values(locale="en"))


def test_an_order_has_a_receipt_at_once_with_price_deadlines_and_pdf(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    pipeline.advance()
    [mail] = receipts(pipeline)
    number = pipeline.request(id).customer_number
    assert number in mail.subject
    text = plain(mail.text)
    for words in (
        "vom 2. März 2026", "Filiale Mitte, Torstr. 1, 10119 Berlin", f"Kundennummer ist {number}",
        f"Bis 16. März 2026 bestätigt {STRANGER.name} die E-Mail-Adresse {STRANGER.email}",
        "Bis 16. März 2026 gibt jemand den Code aus unserem Brief an Torstr. 1, 10119 Berlin",
        "Danach richten wir den Anschluss ein", f"http://portal.example/anfragen/{id}",
        "SIP-Trunk mit 10 Kanälen 29,90 € 29,00 €", "Netto 32,80 € 38,90 €", "Brutto 39,03 € 46,29 €",
        "zuzüglich 19 % Umsatzsteuer 6,23 € 7,39 €", pipeline.main.customer_number, "10 mit der Vorwahl 030 (Berlin)",
    ):  # fmt: skip
        assert words in text, words
    [attached] = mail.attachments
    assert (attached.name, attached.media_type) == (f"Bestellung-{number}.pdf", "application/pdf")
    printed = pdf_text(attached.content)
    for words in (
        f"Bestellung, Kundennummer {number}", "Bestellt am 2. März 2026", "Filiale Mitte", STRANGER.name,
        "SIP-Trunk mit 10 Kanälen 29,90 € 29,00 €", "Brutto 39,03 € 46,29 €", f"http://portal.example/anfragen/{id}",
    ):  # fmt: skip
        assert words in printed, words


def test_a_receipt_speaks_english_to_who_speaks_english(pipeline: Pipeline, superuser: sa.Engine) -> None:
    in_english(pipeline, superuser)
    pipeline.order(fresh())
    pipeline.advance()
    [mail] = receipts(pipeline)
    assert "By 16 March 2026, Nele Neu confirms the e-mail address" in plain(mail.text)
    assert "SIP trunk, 10 channels €29.90 €29.00" in plain(mail.text)
    assert mail.attachments[0].name.startswith("Order-")
    assert "Contact person" in pdf_text(mail.attachments[0].content)


def test_the_pdf_of_an_order_names_the_countries_that_the_order_chooses(pipeline: Pipeline) -> None:
    pipeline.order(an_order(countries=("AT", "870")))
    pipeline.send()
    [mail] = receipts(pipeline)
    assert "Länder für abgehende Anrufe: +870, Deutschland, Österreich" in pdf_text(mail.attachments[0].content)


def test_a_receipt_asks_nothing_of_anybody_if_nothing_is_missing(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    # Before the order is looked at: as soon as the row is there.
    pipeline.send()
    [mail] = receipts(pipeline)
    assert "Sie brauchen nichts zu tun." in plain(mail.text) and "Bis " not in mail.text


def test_a_receipt_that_leaves_before_the_first_check_names_the_days_that_will_hold(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.send()
    [mail] = receipts(pipeline)
    assert mail.text.count("Bis 16. März 2026") == 2
    pipeline.advance()
    assert pipeline.request(id).status is Status.PENDING and len(receipts(pipeline)) == 1


@pytest.mark.parametrize("end", ["completed", "cancelled", "no numbers", "refused"])
def test_a_receipt_that_leaves_late_says_what_is_true_then(pipeline: Pipeline, end: str) -> None:
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("away")]
    draft = {
        "completed": an_order(),
        "cancelled": fresh(),
        "no numbers": an_order(block_size=100),
        "refused": fresh(),
    }[end]
    id = pipeline.order(draft)
    pipeline.advance()
    if end == "cancelled":
        with pipeline.runtime.database.transaction() as session:
            cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    for _ in range(6):
        pipeline.clock.advance(timedelta(minutes=2))
        pipeline.advance()
    [mail] = receipts(pipeline)
    said = {
        "completed": "Der Anschluss ist schon eingerichtet",
        "cancelled": "Die Bestellung ist inzwischen beendet.",
        "no numbers": "Wir füllen den Vorrat auf",
        "refused": "Bis 16. März 2026 bestätigt",
    }[end]
    assert said in plain(mail.text)


def test_an_accepted_order_costs_one_row_in_a_statement_that_is_there_anyway(pipeline: Pipeline) -> None:
    database = pipeline.runtime.database
    with recorded_statements() as ran:
        pipeline.order(an_order())
    [writing] = [statement for statement in ran if "INTO messages" in statement]
    assert "INTO timeline_entries" in writing
    # Nor a hint of its own.
    assert pipeline.told == [WorkKind.VERIFY]
    with database.transaction() as session:
        facts = session.scalars(sa.select(Message.facts)).one()
    assert facts.keys() == {"recipient_name", "path"}


@pytest.mark.usefixtures("changing_products")
def test_receipt_and_confirmation_name_the_price_of_the_order(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Product).values(monthly_cents=99900, orderable=True))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    texts = [plain(mail.text) for mail in pipeline.mailer.sent]
    ours = [text for text in texts if "Brutto 39,03 € 46,29 €" in text]
    assert len(ours) == 2 and not any("999,00" in text for text in texts)
    # The contact, who may have no login, does not learn what the main account pays.
    [theirs] = [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == an_order().contact.email]
    assert "€" not in theirs


def test_a_confirmation_of_an_order_of_before_prices_were_kept_says_nothing_of_them(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(Request).values(price_lines=sa.null()))
    pipeline.advance()
    [done] = [mail for mail in pipeline.mailer.sent if "eingerichtet" in mail.subject
              and mail.recipient_address == pipeline.manager.email]  # fmt: skip
    assert "€" not in done.text and len(receipts(pipeline)) == 1


@pytest.mark.parametrize("method", [ProofMethod.CONSENT, ProofMethod.ADMINISTERS_BOTH])
def test_a_link_request_has_a_receipt_without_prices(pipeline: Pipeline, method: ProofMethod) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = make_account(session, administrator=make_user(session))
    ids = [pipeline.link(a_link(number, method=method)) for number in (account.customer_number, "1000001")]
    pipeline.send()
    first, second = receipts(pipeline)
    said = "stimmt bis 16. März 2026 zu oder lehnt ab" if method is ProofMethod.CONSENT else "Wir prüfen den Nachweis"
    for id, mail in zip(ids, (first, second), strict=True):
        assert said in plain(mail.text) and f"/anfragen/{id}" in mail.text and "€" not in mail.text
        assert mail.attachments == ()
    # An outsider does not learn from it whether there is such an account.
    own = re.compile(rf"{account.customer_number}|1000001|/anfragen/\S+")
    assert own.sub("", plain(first.text)) == own.sub("", plain(second.text))


def send(pipeline: Pipeline, drafts: list[OrderDraft]) -> UUID:
    """Save a bulk file of these orders and submit it; return its id."""
    with pipeline.runtime.database.transaction() as session:
        bulk = make_bulk(session, pipeline.manager, pipeline.main, drafts)
        bulk.send(pipeline.clock.now)
        return bulk.id


def table(mail: Mail) -> list[list[object]]:
    """Return the rows of the workbook that is the mail's only attachment."""
    [attached] = mail.attachments
    assert attached.name == "Eingangsbestaetigung.xlsx"
    return read_xlsx(attached.content)


def test_a_file_has_one_receipt_with_its_list_and_the_sum(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, count=40, first="30000000")
    drafts = [*sites(25), *sites(1)]
    dresden = replace(drafts[0].location, name="Neustadt", postal_code="01097", city="Dresden")
    contact = Contact("=1+1", "kim@example.com", None)
    drafts[24] = replace(drafts[24], location=dresden, area_code="0351", contact=contact)
    id = send(pipeline, drafts)
    for _ in range(4):
        pipeline.advance()
    [mail] = receipts(pipeline)
    text = plain(mail.text)
    for words in (
        "25 von 26", "Filialen.csv", f"/sammelauftrag/{id}", "Dafür ist mindestens bis 16. März 2026 Zeit.",
        "Netto 820,00 € 972,50 €", "und 6 weitere Zeilen.", "Alle Zeilen stehen in der angehängten Tabelle.",
    ):  # fmt: skip
        assert words in mail.subject + text, words
    assert text.count("SIP-Trunk mit 10 Kanälen") == 20
    head, *rows = table(mail)
    assert head[0] == "Kundennummer" and len(rows) == 26
    assert all(re.fullmatch(r"\d{7}", str(row[0])) for row in rows[:25])
    assert rows[24][2:8] == ["Neustadt", drafts[24].location.street, "01097", "Dresden", "=1+1", "kim@example.com"]
    assert rows[0][10:] == [32.8, 38.9]
    assert rows[25][:2] == ["", "schon früher beauftragt, nicht noch einmal"] and rows[25][10] == ""
    assert not [mail for mail in pipeline.mailer.sent if "Bestellung erhalten" in mail.subject]


@pytest.fixture
def real(pipeline: Pipeline, smtp_sink: MailSink) -> Iterator[MailSink]:
    """Let the workers' code send mails by SMTP to a real server that keeps them; yield the server."""
    mailer = SmtpMailer(smtp_sink.url, "Portal <noreply@portal.example>")
    pipeline.runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, mailer=mailer))
    yield smtp_sink
    mailer.close()


def test_a_receipt_that_cannot_be_read_now_is_no_attempt_and_says_nothing_of_the_mail_server(
    pipeline: Pipeline,
) -> None:
    pipeline.order(fresh())
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("down")]
    pipeline.send()
    pipeline.clock.advance(timedelta(minutes=1))
    engine, database = pipeline.runtime.database.engine, pipeline.runtime.database
    sa.event.listen(engine, "begin", impatient)
    try:
        with database.engine.connect() as other:
            other.execute(sa.text("LOCK TABLE accounts"))
            with pytest.raises(OperationalError, match="LockNotAvailable"):
                pipeline.send()
    finally:
        sa.event.remove(engine, "begin", impatient)
    with database.transaction() as session:
        [receipt] = session.scalars(sa.select(Message))
        # One attempt is that of the mail server that was away, and still counts as away.
        assert (receipt.attempts, receipt.lease, receipt.due_at) == (1, None, pipeline.clock.now + LOCKED_AGAIN)
        assert session.get(Outage, ExternalSystem.MAIL) is not None
    pipeline.clock.advance(timedelta(minutes=1))
    pipeline.send()
    assert len(receipts(pipeline)) == 1


def test_a_receipt_that_cannot_be_read_at_all_stops_no_other(pipeline: Pipeline) -> None:
    first, second = pipeline.order(fresh()), pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(Message).where(Message.request_id == first).values(facts={"recipient_name": "Kim"}))
    pipeline.send()
    [mail] = receipts(pipeline)
    assert pipeline.request(second).customer_number in mail.subject
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(Message.attempts).where(Message.request_id == first)).all() == [1]


def test_many_receipts_are_read_with_as_many_statements_as_one(pipeline: Pipeline) -> None:
    counts = []
    for size in (1, 5):
        for _ in range(size):
            pipeline.order(an_order())
        with recorded_statements() as ran:
            pipeline.send()
        counts.append(len(ran))
    assert len(receipts(pipeline)) == 6 and counts[0] == counts[1]


def parts(mail: EmailMessage) -> list[EmailMessage]:
    return [part for part in mail.iter_parts() if isinstance(part, EmailMessage)]


def test_a_receipt_arrives_over_smtp_with_its_pdf_and_a_refused_question_is_told(
    pipeline: Pipeline, real: MailSink
) -> None:
    real.answers[STRANGER.email] = "550 no such user"
    id = pipeline.order(fresh())
    for _ in range(3):
        pipeline.advance()
    mails = {str(mail["Subject"]): mail for to, mail in real.received if to == pipeline.manager.email}
    number = pipeline.request(id).customer_number
    receipt = mails[f"Wir haben Ihre Bestellung erhalten, Kundennummer {number}"]
    assert receipt.get_content_type() == "multipart/mixed" and receipt["Content-Language"] == "de"
    body, attached = parts(receipt)
    assert [part.get_content_type() for part in parts(body)] == ["text/plain", "text/html"]
    assert (attached.get_content_type(), attached.get_filename()) == ("application/pdf", f"Bestellung-{number}.pdf")
    assert "Brutto 39,03 € 46,29 €" in pdf_text(attached.get_content())
    assert not receipt.defects and f"/anfragen/{id}" in parts(body)[0].get_content()
    told = mails[f"Bitte E-Mail-Adresse der Ansprechperson korrigieren, Kundennummer {number}"]
    assert told.get_content_type() == "multipart/alternative"
    assert len(mails) == len(real.received) == 2
    assert pipeline.request(id).reason is Reason.CONTACT_REFUSED
