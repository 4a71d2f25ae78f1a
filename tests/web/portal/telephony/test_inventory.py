"""Tests of the three tables that list the numbers, trunks and contracts of all locations.

A search finds a number in every spelling, also inside a block. The downloads have the rows that the page shows.
"""

from __future__ import annotations

import csv
import io
import re
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.contracts.contracts import Contract, ContractItem
from models.people.users import User
from models.states import Origin
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_main
from tests.statements import recorded_statements
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import make_trunk
from tests.web.portal.accounts.test_overview import signed_in
from tests.web.portal.page.test_portal import csrf
from tests.workbooks import read_xlsx

TABLES = "/standortverwaltung"


@pytest.fixture
def company(front: Front) -> list[str]:
    """Create six sub-accounts of the client's main account, and one of another customer's main account.

    Each has 100 numbers, a trunk and a contract. Return their customer numbers; the last one is that of the other
    customer's sub-account.
    """
    with front.database.transaction() as session:
        mains = [session.get_one(Account, front.main.id)] * 6 + [make_main(session)[0]]
        numbers = []
        for place, main in enumerate(mains):
            account = make_account(session, name=f"Filiale {place}", city="Köln" if place % 2 else "Bonn")
            attach(session, main.id, account.id, Origin.LINK, NOW)
            trunk = make_trunk(session, account, f"t{place:012d}")
            contract = session.get_one(SipTrunk, trunk).contract_id
            items = {"product_key": "trunk-10", "monthly_cents": 2990, "one_off_cents": 0}
            session.add(ContractItem(contract_id=contract, **items))
            block = {"area_code": "0221", "first_number": 49221700000 + place * 100, "size": 100, "trunk_id": trunk}
            session.add(NumberBlock(account_id=account.id, available_from=NOW, **block))
            numbers.append(account.customer_number)
        return numbers


def get(front: Front, path: str, status: int = 200) -> str:
    """Return the HTML of the page of a table, at the path /standortverwaltung + `path`.

    Fails unless it has this status and valid HTML.
    """
    answer = front.client.get(TABLES + path)
    assert answer.status_code == status
    assert_valid(answer.text)
    return answer.text


def listed(page: str) -> list[str]:
    """Return the customer numbers in the rows of the table on the page (HTML), from top to bottom."""
    return re.findall(r'<th scope="row"><a href="/standortverwaltung/(\d{7})">', page)


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("rufnummern", ["0221 7000-00 … -99", "100", "t000000000000"]),
        ("trunks", ["t000000000000", "sip.example", "4", "Eingerichtet"]),
        ("vertraege", ["SIP-Trunk mit 10 Kanälen", "02.03.2026", "29,90"]),
    ],
)
def test_each_table_lists_what_the_company_has(
    front: Front, company: list[str], monkeypatch: pytest.MonkeyPatch, kind: str, cells: list[str]
) -> None:
    monkeypatch.setattr("web.portal.telephony.inventory.PAGE", 4)
    path, seen = f"/{kind}", []
    signed_in(front)
    while path:
        page = get(front, path)
        if listed(page) and company[0] in listed(page):
            assert all(cell in page for cell in cells)
        seen += listed(page)
        following = re.search(r'href="/standortverwaltung([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == sorted(company[:6])
    for cursor in ('["\\ud800", 1]', '["1234567", -1]', "[" * 20_000, "x"):
        get(front, f"/{kind}?nach={urlsafe_b64encode(cursor.encode()).decode()}", 404)
    assert "Nichts entspricht Ihrer Suche." in get(front, f"/{kind}?suche=nirgends")


@pytest.mark.parametrize(
    "typed",
    [
        "0221 / 700-342", "+49 221 700342", "0049221700342", "(0221) 70 03 42", "+49 (0)221 700342", "17003 4",
        "700342",
    ],
)  # fmt: skip
def test_a_number_inside_a_block_is_found_in_every_spelling(front: Front, company: list[str], typed: str) -> None:
    page = get(signed_in(front), "/rufnummern?suche=" + typed.replace("+", "%2B"))
    assert listed(page) == [company[3]]
    assert f'value="{typed}"' in page


def test_words_and_digits_narrow_together(front: Front, company: list[str]) -> None:
    signed_in(front)
    assert listed(get(front, "/rufnummern?suche=koeln 0221 7003")) == [company[3]]
    assert listed(get(front, "/rufnummern?suche=bonn 0221 7003")) == []
    assert listed(get(front, "/trunks?suche=0000000005")) == [company[5]]
    assert listed(get(front, f"/vertraege?suche=kanälen {company[2]}")) == [company[2]]


def test_the_number_of_statements_does_not_grow(front: Front, company: list[str]) -> None:
    signed_in(front)
    counts: dict[str, set[int]] = {}
    for more in (0, 40):
        with front.database.transaction() as session:
            main = session.get_one(Account, front.main.id)
            for place in range(more):
                account = make_account(session)
                attach(session, main.id, account.id, Origin.LINK, NOW)
                make_trunk(session, account, f"t9{place:011d}")
        for path in ("/rufnummern?suche=0221", "/trunks", "/vertraege"):
            with recorded_statements() as statements:
                get(front, path)
            counts.setdefault(path, set()).add(len(statements))
    assert all(len(found) == 1 and max(found) < 15 for found in counts.values()), counts


@pytest.mark.parametrize("kind", ["rufnummern", "trunks", "vertraege"])
def test_files_hold_what_is_shown(front: Front, company: list[str], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("web.portal.telephony.inventory.EXPORT_PAGE", 2)
    signed_in(front)
    found = {"rufnummern": "0221 700", "trunks": "t0000", "vertraege": "trunk"}[kind]
    answer = front.client.get(f"{TABLES}/{kind}/export.csv?suche=köln {found}")
    assert re.search(rf'filename="{kind}-\d{{7}}-2026-03-02\.csv"', answer.headers["Content-Disposition"])
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=";"))
    assert rows[0][:3] == ["Kundennummer", "Name", "Ort"]
    assert [row[0] for row in rows[1:]] == sorted([company[1], company[3], company[5]])
    assert {row[2] for row in rows[1:]} == {"Köln"}
    book = front.client.get(f"{TABLES}/{kind}/export.xlsx?suche=köln {found}")
    assert read_xlsx(book.data) == rows
    book.close()


@pytest.mark.parametrize("kind", ["rufnummern", "trunks", "vertraege"])
def test_of_two_main_accounts_each_page_and_file_stays_with_its_own(
    front: Front, company: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("web.portal.telephony.inventory.PAGE", 4)
    with front.database.transaction() as session:
        other = make_main(session)[0]
        join(session, session.get_one(User, front.manager.user_id), other)
    signed_in(front)
    page = get(front, f"/{kind}?konto={front.main.customer_number}&suche=filiale")
    # Meanwhile another tab selects the other account.
    assert listed(get(front, f"/{kind}?konto={other.customer_number}")) == []
    following = re.search(r'href="/standortverwaltung([^"]+)" rel="next"', page)
    assert following is not None
    assert listed(page) + listed(get(front, following[1].replace("&amp;", "&"))) == sorted(company[:6])
    get(front, f"/{kind}?konto={other.customer_number}")
    file = re.search(r'href="/standortverwaltung([^"]+)">CSV', page)
    assert file is not None and company[0] in front.client.get(TABLES + file[1].replace("&amp;", "&")).text
    assert f'<input type="hidden" name="konto" value="{front.main.customer_number}">' in page


def test_what_has_ended_is_no_contract_any_more(front: Front, company: list[str]) -> None:
    with front.database.transaction() as session:
        contract = session.get_one(Contract, 1)
        contract.started_at, contract.ended_at = NOW - timedelta(days=1), NOW
    signed_in(front)
    assert company[0] not in listed(get(front, "/vertraege"))


def test_the_tables_in_english(front: Front, company: list[str]) -> None:
    page = get(signed_in(front), "/vertraege")
    front.client.post("/sprache/en", data={"csrf_token": csrf(page)})
    page = get(front, "/vertraege")
    assert "Contracts of all locations" in page and "SIP trunk, 10 channels" in page and "€29.90" in page
