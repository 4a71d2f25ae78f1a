"""Tests that the downloads of the overview, CSV and workbook, have the rows that the page shows.

No cell is a formula that a spreadsheet would execute.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import date

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from tests.web.conftest import Front
from tests.web.portal.accounts.test_overview import OVERVIEW, signed_in, sub
from tests.workbooks import SHEET, read_xlsx


def test_csv_has_what_is_shown_and_no_formulas(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.accounts.overview_export.EXPORT_PAGE", 2)
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        for place in range(5):
            sub(session, main, name=f"Büro {place}", city="Köln")
        evil = sub(session, main, name='=HYPERLINK("http://evil";"x")', contact_name="@SUM(A1)", city="Köln")
        session.scalars(sa.select(Account).where(Account.customer_number == evil)).one().tags = ["=1", "x"]
        sub(session, main, name="anderswo", city="Bonn")
    answer = signed_in(front).client.get(OVERVIEW + "/export.csv?ort=Köln&sortierung=name")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert re.search(r'filename="standorte-\d{7}-2026-03-02\.csv"', answer.headers["Content-Disposition"])
    assert answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=";"))
    assert rows[0][:4] == ["Kundennummer", "Art", "Name", "Ansprechperson"]
    assert rows[1][:2] == [front.main.customer_number, "Hauptaccount"]
    assert [row[2] for row in rows[3:]] == [f"Büro {place}" for place in range(5)]
    assert rows[2][:4] == [evil, "Nebenaccount", '\'=HYPERLINK("http://evil";"x")', "'@SUM(A1)"]
    assert rows[3][7:] == ["Aktiv", "Bestehendes Konto verknüpft", "02.03.2026", "", ""]
    assert rows[2][11] == "'=1, x"


def test_xlsx_has_what_is_shown_and_no_formulas(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        number = sub(session, main, name="=1+1", city="Köln\x07")
        sub(session, main, city="Bonn")
    answer = signed_in(front).client.get(OVERVIEW + "/export.xlsx?suche=köln")
    rows = read_xlsx(answer.data)
    sheet = zipfile.ZipFile(io.BytesIO(answer.data)).read(SHEET)
    answer.close()
    assert len(rows) == 3
    assert rows[2][:3] == [number, "Nebenaccount", "=1+1"] and b"<f>" not in sheet
    assert rows[2][6] == "Köln"
    assert rows[2][9] == date(2026, 3, 2)
