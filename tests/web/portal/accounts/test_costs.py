"""Tests of the page that lists what each location costs in a month.

It adds up the costs, and marks planned changes. Its downloads have the same rows. Users see the costs of those
contracts only that they may see.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.contracts import ContractItem
from models.people.rights import Role
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_main, make_user
from tests.statements import recorded_statements
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, come_in, get, make_site, make_trunk
from tests.web.portal.changes.contract_changes import plain
from tests.workbooks import read_xlsx

COSTS = "/standortverwaltung/kosten"


def add_line(front: Front, trunk: int, key: str, monthly: int, one_off: int = 0, **days: datetime | None) -> None:
    """Add a line to the contract of the trunk with the id `trunk`.

    `key` is its product, `monthly` and `one_off` are its prices in cents. `days` are values of its columns `started_at`
    and `ended_at`.
    """
    with front.database.transaction() as session:
        contract = session.get_one(SipTrunk, trunk).contract_id
        prices = {"product_key": key, "monthly_cents": monthly, "one_off_cents": one_off}
        session.add(ContractItem(contract_id=contract, **prices, **days))


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location whose contract began on 2 March 2026, with a tariff and, until 10 March, a number block."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER)
    add_line(front, site.trunk, "trunk-10", 3100, 2900)
    add_line(front, site.trunk, "block-10", 290, ended_at=NOW + timedelta(days=9))
    return site


def rows_of(page: str) -> list[str]:
    """Return the text of each row of the table on the page (HTML)."""
    return [plain(row) for row in re.findall("<tr>\n(.*?)</tr>", page, re.DOTALL)]


def listed(page: str) -> list[str]:
    """Return the customer numbers in the table on the page (HTML), from top to bottom."""
    return re.findall(r'<span class="number">(\d{7})</span>', page)


def test_a_month_shows_what_runs_what_changes_and_the_sum(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    assert f'href="{COSTS}"' in get(front, "/standortverwaltung")
    page = get(front, COSTS)
    number = site.account.customer_number
    assert "Kosten im März 2026" in page and "Dieser Monat läuft noch" in page
    # 30 of 31 days: from 2 March; the block until 10 March.
    assert rows_of(page) == [
        f"Filiale Köln {number}"
        " SIP-Trunk mit 10 Kanälen, 30 von 31 Tagen: 30,00 € SIP-Trunk mit 10 Kanälen, einmalig: 29,00 €"
        " Rufnummernblock mit 10 Nummern, 9 von 31 Tagen: 0,85 €"
        " SIP-Trunk mit 10 Kanälen: neu ab 2. März 2026 Rufnummernblock mit 10 Nummern: neu ab 2. März 2026"
        " Rufnummernblock mit 10 Nummern: entfällt ab 11. März 2026 vorgemerkt"
        " 59,85 €"
    ]
    assert "Zusammen, netto 59,85 € zuzüglich 19 % Umsatzsteuer 11,37 € Brutto 71,22 €" in plain(page)
    april = get(front, COSTS + "?monat=2026-04")
    assert rows_of(april) == [f"Filiale Köln {number} SIP-Trunk mit 10 Kanälen: 31,00 € – 31,00 €"]
    assert "Dieser Monat hat noch nicht begonnen" in april
    before = get(front, COSTS + "?monat=2026-02")
    assert "In diesem Monat lief kein Vertrag." in before and listed(before) == []
    assert "Nichts entspricht Ihrer Suche." in get(front, COSTS + "?suche=nirgends")
    dashboard = plain(get(front, site.path))
    assert "Kosten im März 2026 : 59,85 € netto" in dashboard
    [link] = re.findall(rf'href="({COSTS}\?[^"]*)"', get(front, site.path))
    assert rows_of(get(front, link.replace("&amp;", "&"))) == rows_of(page)


def test_what_is_planned_is_marked_and_reckoned_with(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        draft = ChangeDraft("trunk-50", 50, date(2026, 5, 11), "de")
        submit_change(session, front.manager, account, site.trunk, draft, NOW)
    come_in(front, front.manager.email)
    [row] = rows_of(get(front, COSTS + "?monat=2026-05"))
    assert "SIP-Trunk mit 10 Kanälen, 10 von 31 Tagen: 10,00 € SIP-Trunk mit 50 Kanälen, 21 von 31 Tagen" in row
    assert "SIP-Trunk mit 50 Kanälen, einmalig: 99,00 € vorgemerkt" in row
    assert "SIP-Trunk mit 10 Kanälen: entfällt ab 11. Mai 2026 vorgemerkt" in row
    assert "SIP-Trunk mit 50 Kanälen: neu ab 11. Mai 2026 vorgemerkt" in row
    [row] = rows_of(get(front, COSTS + "?monat=2026-06"))
    assert "SIP-Trunk mit 50 Kanälen: 99,90 € vorgemerkt – 99,90 €" in row


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "1999-12", "2100-01", "2027-04", "2026", "x", "२०२६-०३", "2026-03 ", "'"]
)
def test_an_unknown_month_is_not_found(front: Front, site: Site, month: str) -> None:
    come_in(front, front.manager.email)
    for path in (COSTS, COSTS + "/export.csv", COSTS + "/export.xlsx"):
        assert front.client.get(path, query_string={"monat": month}).status_code == 404
    for cursor in ("x", "WyIxIl0"):
        get(front, f"{COSTS}?nach={cursor}", 404)
    page = get(front, COSTS + "?monat=2027-03")
    assert 'rel="next"' not in page and "2027-04" not in page
    assert "1999-12" not in get(front, COSTS + "?monat=2000-01")


def test_files_hold_what_is_shown_and_their_rows_add_up(
    front: Front, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.portal.accounts.costs.EXPORT_PAGE", 2)
    monkeypatch.setattr("web.portal.accounts.costs.PAGE", 2)
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        trunks = []
        for place in range(4):
            account = make_account(session, name="=1+1" if place == 0 else f"Filiale {place}")
            attach(session, main.id, account.id, Origin.ORDER, NOW)
            trunks.append(make_trunk(session, account, f"t9{place:011}"))
    for trunk in trunks:
        add_line(front, trunk, "trunk-50", 9990, started_at=datetime.fromisoformat("2026-03-17T23:00+00:00"))
    come_in(front, front.manager.email)
    path, seen = COSTS, []
    while path:
        page = get(front, path)
        assert "Zusammen, netto 240,33 €" in plain(page)
        seen += listed(page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == 5 and seen == sorted(seen)
    answer = front.client.get(COSTS + "/export.csv?monat=2026-03")
    main_number = front.main.customer_number
    assert f'filename="kosten-{main_number}-2026-03.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=";"))
    assert rows[0] == [
        "Kundennummer", "Name", "Ort", "Produkt", "Erster Tag", "Letzter Tag", "Tage", "Monatspreis, netto",
        "Anteil des Monats, netto", "Einmalig, netto", "Zusammen, netto", "Änderungen",
    ]  # fmt: skip
    lines, sums = rows[1:-3], rows[-3:]
    assert [row for row in lines if row[0] == site.account.customer_number] == [
        [site.account.customer_number, "Filiale Köln", "Bielefeld", *cells]
        for cells in (
            ["SIP-Trunk mit 10 Kanälen", "02.03.2026", "31.03.2026", "30", "31,00", "30,00", "29,00", "59,00",
             "neu ab 2. März 2026"],
            ["Rufnummernblock mit 10 Nummern", "02.03.2026", "10.03.2026", "9", "2,90", "0,85", "0,00", "0,85",
             "neu ab 2. März 2026, entfällt ab 11. März 2026 (vorgemerkt)"],
        )
    ]  # fmt: skip
    assert "'=1+1" in {row[1] for row in lines}
    cents = sum(int(row[10].replace(",", "")) for row in lines)
    assert [(row[0], row[10]) for row in sums] == [
        ("Zusammen, netto", "240,33"), ("zuzüglich 19 % Umsatzsteuer", "45,66"), ("Brutto", "285,99")
    ]  # fmt: skip
    assert cents == 24033
    book = front.client.get(COSTS + "/export.xlsx?monat=2026-03")
    cells = read_xlsx(book.data)
    book.close()
    assert [[as_text(cell, place) for place, cell in enumerate(row)] for row in cells] == [
        [cell.removeprefix("'") if place == 1 else cell for place, cell in enumerate(row)] for row in rows
    ]


def as_text(cell: Any, column: int) -> str:
    """Return the text that the CSV file has for a cell of the workbook. `column` is the cell's index, from 0 on."""
    if isinstance(cell, float):
        return f"{cell:.0f}" if column == 6 else f"{cell:.2f}".replace(".", ",")
    return f"{cell:%d.%m.%Y}" if isinstance(cell, date) else str(cell)


def test_each_person_sees_the_costs_of_the_contracts_that_they_see(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        other = make_account(session, name="Filiale Bonn")
        attach(session, main.id, other.id, Origin.LINK, NOW)
        make_trunk(session, other, "t900000000001")
        stranger, foreign = make_main(session, name="Andere Firma")
        make_trunk(session, session.get_one(Account, stranger.id), "t900000000002")
        local = make_user(session)
        join(session, local, main, Role.LOCAL_MEMBER)
    both = sorted([site.account.customer_number, other.customer_number])
    for email, numbers in (
        (front.manager.email, both),
        (site.administrator.email, [site.account.customer_number]),
        (foreign.email, [stranger.customer_number]),
    ):
        come_in(front, email)
        assert f'href="{COSTS}"' in get(front, "/standortverwaltung/kosten")
        for query in ("", f"?konto={front.main.customer_number}", f"?suche={front.main.customer_number[:1]}"):
            assert set(listed(get(front, COSTS + query))) <= set(numbers)
        assert listed(get(front, COSTS)) == numbers
        assert {row.split(";")[0] for row in front.client.get(COSTS + "/export.csv").text.splitlines()[1:-3]} <= set(
            numbers
        )
    for email in (site.member.email, local.email):
        come_in(front, email)
        for path in (COSTS, COSTS + "/export.csv", COSTS + "/export.xlsx"):
            get(front, path, 404)
        assert COSTS not in front.client.get("/rufweiterleitung").text


def test_the_number_of_statements_does_not_grow(front: Front) -> None:
    come_in(front, front.manager.email)
    counts = []
    for more in (3, 60):
        with front.database.transaction() as session:
            for place in range(more):
                account = make_account(session)
                attach(session, front.main.id, account.id, Origin.ORDER, NOW)
                make_trunk(session, account, f"t{more:02}{place:010}")
        with recorded_statements() as statements:
            get(front, COSTS)
        counts.append(len(statements))
    assert counts[0] == counts[1] < 15, counts
