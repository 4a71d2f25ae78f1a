"""Tests of deadlines that are shown as a day: all texts name the same day, and the deadline ends with that day."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from models.calendar_days import end_of_day
from models.proofs.proofs import EmailProof
from models.requests.requests import Request
from tests.factories import NOW
from tests.web.api.calls import CONTACT, PDF, a_link, new_link_code, owned, upload
from tests.web.conftest import ORDER, Back, Front
from tests.web.portal.orders.ordering import begin, fill_all
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.forms import invite, link_to

MONTHS = ("Januar", "Februar", "März", "April", "Mai", "Juni")
SAID = re.compile(rf"(\d\d)\.(\d\d)\.(2026)|(\d{{1,2}})\. ({'|'.join(MONTHS)}) (2026)")
SAID_WITH_TIME = re.compile(rf"(?:\d\. (?:{'|'.join(MONTHS)}) 2026, )\d\d:\d\d")


@dataclass
class Deadline:
    """A deadline, and what pages, mails and letters say about it.

    Each of `texts` is the short part of a page, mail or letter that names the deadline's day, and no other day.
    `is_open` is a function that returns True until the deadline has passed.
    """

    texts: list[str]
    is_open: Callable[[], bool]


def days_in(text: str) -> set[date]:
    """Return all days that a German text names, as 16.03.2026 or as 16. März 2026."""
    found = set()
    for day, month, year, only_day, name, its_year in SAID.findall(text):
        found.add(date(int(year or its_year), int(month or MONTHS.index(name) + 1), int(day or only_day)))
    return found


def near(text: str, words: str) -> str:
    """Return the part of a text (HTML or plain) that begins with `words` and ends thirty characters after them.

    Tags are removed. Raises `ValueError` if the text does not contain `words`.
    """
    text = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    place = text.index(words)
    return text[place : place + len(words) + 30]


def an_order(front: Front, back: Back) -> str:
    id: str = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    return id


def proof(front: Front, id: str, kind: str) -> str:
    """Return the state of the request's proof of this kind, such as "letter", as the API shows it."""
    [state] = [one["state"] for one in front.get(f"/requests/{id}").get_json()["proofs"] if one["kind"] == kind]
    return str(state)


def runs(front: Front, back: Back, id: str) -> bool:
    """Run the workers once; return whether the request is still pending after that."""
    back.advance()
    return bool(front.get(f"/requests/{id}").get_json()["status"] == "pending")


def of_an_email(front: Front, back: Back) -> Deadline:
    id = an_order(front, back)
    sign_in(front, front.manager.email)
    path, _ = back.mail_to(CONTACT)
    [mail] = [mail.text for mail in back.mailer.sent if mail.recipient_address == CONTACT]
    [receipt] = [mail.text for mail in back.mailer.sent if mail.recipient_address == front.manager.email]
    page = front.client.get(f"/anfragen/{id}").text
    overview = front.client.get("/standortverwaltung").text
    return Deadline(
        [
            near(mail, "Bitte bestätigen Sie bis"),
            near(front.client.get(path).text, "Möglich bis"),
            near(page, "Erwartet bis"),
            near(page, "Jetzt ist Hanna Palmer an der Reihe"),
            near(overview, "Möglich bis"),
            receipt[receipt.index("Bis ") : receipt.index("E-Mail-Adresse")],
        ],
        lambda: "E-Mail-Adresse bestätigen</h1>" in front.client.get(path).text and runs(front, back, id),
    )


def of_a_letter(front: Front, back: Back) -> Deadline:
    id = an_order(front, back)
    return Deadline(
        [near(back.printer.printed[0].text, "Bitte öffnen Sie bis")], lambda: proof(front, id, "letter") == "open"
    )


def of_a_consent(front: Front, back: Back) -> Deadline:
    account, owner = owned(front)
    id = a_link(front, account.customer_number).get_json()["id"]
    back.advance()
    path, _ = back.mail_to(owner.email)
    texts = [mail.text for mail in back.mailer.sent]
    [mail] = [text for text in texts if "Bitte entscheiden Sie bis" in text]
    [receipt] = [text for text in texts if "stimmt bis" in text]
    return Deadline(
        [
            near(mail, "Bitte entscheiden Sie bis"),
            near(receipt, "stimmt bis"),
            near(front.client.get(path).text, "Möglich bis"),
        ],
        lambda: 'name="decision"' in front.client.get(path).text and runs(front, back, id),
    )


def of_a_link_code(front: Front, back: Back) -> Deadline:
    account, owner = owned(front)
    code = new_link_code(front, account, owner)
    sign_in(front, owner.email)

    def is_open() -> bool:
        id = a_link(front, account.customer_number, "link_code", code=code).get_json()["id"]
        back.advance()
        return str(front.get(f"/requests/{id}").get_json()["status"]) == "completed"

    return Deadline([near(front.client.get("/verknuepfungscode").text, "gültig bis")], is_open)


def of_an_invitation(front: Front, back: Back) -> Deadline:
    sign_in(front, front.manager.email)
    invite(front, "neu@example.com")
    path = link_to(back, "neu@example.com")
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    return Deadline(
        [near(back.mailer.sent[-1].text, "Nehmen Sie die Einladung bis"), near(page, "Gültig bis")],
        lambda: front.client.application.test_client().get(path).status_code == 200,
    )


def of_a_draft(front: Front, back: Back) -> Deadline:
    draft = begin(front)
    summary = fill_all(front, draft)
    drafts = front.client.get("/standortverwaltung/neu/entwuerfe").text

    def is_open() -> bool:
        front.client = front.client.application.test_client()
        sign_in(front, front.manager.email)
        return front.client.get(draft).status_code == 303

    return Deadline([near(summary, "Entwurf ist bis"), near(drafts, "Aufbewahrt bis")], is_open)


def of_an_offer(front: Front, back: Back) -> Deadline:
    draft = begin(front)
    fill_all(front, draft)
    printed = PdfReader(io.BytesIO(front.client.get(f"{draft}/angebot.pdf").data)).pages[0].extract_text()

    def is_open() -> bool:
        return "Ihres Angebots" in front.client.get(f"{draft}/zusammenfassung").text

    return Deadline([near(printed, "gültig bis"), near(printed, "Das Angebot gilt bis")], is_open)


KINDS = (
    of_an_email,
    of_a_letter,
    of_a_consent,
    of_a_link_code,
    of_an_invitation,
    of_a_draft,
    of_an_offer,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_that_is_said_as_a_day_ends_with_that_day(
    front: Front, back: Back, kind: Callable[[Front, Back], Deadline]
) -> None:
    back.clock.now = datetime(2026, 3, 2, 14, 37, tzinfo=UTC)
    found = kind(front, back)
    days = [days_in(text) for text in found.texts]
    assert all(len(said) == 1 for said in days) and len(set.union(*days)) == 1, found.texts
    assert not any(SAID_WITH_TIME.search(text) for text in found.texts), found.texts
    [day] = days[0]
    end = end_of_day(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    back.clock.now = end - timedelta(seconds=1)
    assert found.is_open()
    back.clock.now = end
    assert not found.is_open()


def test_the_review_of_a_document_is_due_with_a_day_and_goes_on_day_by_day(front: Front, back: Back) -> None:
    id = an_order(front, back)
    with front.database.transaction() as session:
        session.execute(sa.update(EmailProof).values(proved_at=NOW))
    upload(front, id, PDF)
    back.advance()
    for days in (3, 4, 5):
        with front.database.transaction() as session:
            until = session.get_one(Request, id).waiting_until
        assert until == end_of_day(NOW + timedelta(days=days))
        back.clock.now = until
        back.advance()
