"""Tests that right-to-left names do not move the text beside them, on pages and in mails.

Also names that older versions have stored.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.users import User
from models.schema import metadata
from models.text_cutting import shortened
from models.text_direction import END_ISOLATE, ISOLATE, isolated
from tests.web.conftest import ORDER, Back, Front
from tests.web.whole_portal import WholePortal, whole_portal

NAME = "שלום 7 مرحبا"
ISOLATED = f"{ISOLATE}{NAME}{END_ISOLATE}"
_PEOPLES_TEXTS = {
    "accounts": ("name", "street", "city", "contact_name"),
    "users": ("name",),
    "invitations": ("name",),
    "contract_holders": ("name", "street", "city"),
    "directory_entries": ("name",),
    "address_documents": ("name",),
    "logins": ("user_agent",),
    "bulks": ("file_name",),
    "messages": ("recipient_name",),
    "api_tokens": ("name",),
}


def give_names(portal_front: Front) -> None:
    """Write the right-to-left name `NAME` into every column for a text that people type."""
    with portal_front.database.engine.begin() as connection:
        for table, columns in _PEOPLES_TEXTS.items():
            values = dict.fromkeys(columns, NAME)
            connection.execute(sa.update(metadata.tables[table]).values(values))


class _Texts(HTMLParser):
    """Collects the texts and attributes of an HTML page in `texts`, and the values of its form fields in `values`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.values: list[str] = []
        self._in_textarea = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in_textarea = tag == "textarea"
        for name, value in attributes:
            (self.values if name == "value" else self.texts).append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_textarea = False

    def handle_data(self, data: str) -> None:
        (self.values if self._in_textarea else self.texts).append(data)


def not_isolated(page: str) -> list[str]:
    """Return the faulty texts of a page (HTML): right-to-left texts that are not isolated, and field values that are.

    Isolated means: between the invisible characters FSI and PDI.
    """
    found = _Texts()
    found.feed(page)
    rest = [text.replace(ISOLATED, "").replace(isolated(NAME.lower()), "") for text in found.texts]
    wrong = [text.strip() for text in rest if re.search("[\u0590-\u08ff]", text)]
    return wrong + [value for value in found.values if ISOLATE in value]


def walked(portal: WholePortal) -> tuple[list[tuple[str, str]], int]:
    """Open all pages as all visitors. Return path and text of each fault, and how many pages show the name isolated.

    A fault is a right-to-left text outside the invisible characters FSI and PDI, or a value of a form field that has
    them.
    """
    wrong, seen = [], 0
    for visitor, path in portal.paths():
        answer = portal.visitors[visitor].get(path)
        if answer.mimetype == "text/html":
            seen += ISOLATED in answer.text
            wrong += [(path, text) for text in not_isolated(answer.text)]
    return wrong, seen


def test_a_right_to_left_name_is_isolated_on_every_page(front: Front, back: Back) -> None:
    portal = whole_portal(front, back)
    give_names(front)
    wrong, seen = walked(portal)
    assert wrong == []
    assert seen > 60
    # What was searched for stands in the field as it was typed, and isolated in the sentence about it.
    staff = portal.visitors["staff"]
    for path in (f"/backoffice/suche?suche={NAME}", f"/backoffice?suche={NAME}"):
        page = staff.get(path).text
        assert not_isolated(page) == [] and f'value="{NAME}"' in page
    found = staff.get("/backoffice/suche?suche=לאנמצא").text
    assert f"{ISOLATE}לאנמצא{END_ISOLATE}" in found


def test_a_right_to_left_name_is_isolated_in_mails_and_printed_without_marks(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        session.get_one(Account, front.main.id).name = NAME
        session.get_one(User, front.manager.user_id).name = NAME
    front.post("/orders", ORDER)
    back.advance()
    assert back.mailer.sent and back.printer.printed
    in_mails = 0
    for mail in back.mailer.sent:
        assert mail.recipient_name in (NAME, ORDER["contact"]["name"])
        for text in (mail.subject, mail.text):
            in_mails += ISOLATED in text
            assert NAME not in text.replace(ISOLATED, "")
        assert not_isolated(mail.html) == []
    assert in_mails > 1


def test_isolation_and_shortening() -> None:
    assert isolated("Łódź Σ Жук 柏林 👍") == "Łódź Σ Жук 柏林 👍"
    assert isolated("٣ شارع") == f"{ISOLATE}٣ شارع{END_ISOLATE}"
    assert isolated(isolated(NAME)) == ISOLATED
    assert [shortened(text, 3) for text in ("abc", "abcd", "abe\u0301", "a👩‍👩‍👧", "🇩🇪🇫🇷")] == [
        "abc",
        "abc",
        "ab",
        "a",
        "🇩🇪",
    ]
    assert shortened("e" + "\u0301" * 9, 3) == "e\u0301\u0301"
    assert shortened("", 0) == ""
