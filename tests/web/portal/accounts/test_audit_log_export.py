"""Tests of downloading an account's audit log as CSV and as workbook.

The account's own administrators get all entries, users of the main account only the actions of its people.
"""

from __future__ import annotations

import csv
import io

import pytest
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.people.audit_log import AuditEvent, record, record_of_carrier
from models.people.rights import Action, Role
from models.people.users import User, principal_of
from tasks.wording.labels import role_text
from tests.factories import NOW, make_staff
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, make_site
from tests.workbooks import read_xlsx


@pytest.fixture
def site(front: Front) -> Site:
    """Create a linked location whose audit log has entries by the manager, the location's administrator and staff."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
        people = [
            session.get_one(User, front.manager.user_id),
            session.get_one(User, site.administrator.id),
            make_staff(session),
        ]
        people[1].name = "=cmd|Kim"
        for person in people * 3:
            acting, account = principal_of(session, person), session.get_one(Account, site.account.id)
            record(session, acting, account, AuditEvent.SECRET_SEEN, Action.VIEW, NOW, {"sip_user": "t1"})
            session.flush()
    return site


def download(front: Front, site: Site, form: str = "csv") -> TestResponse:
    """Download the location's audit log as the signed-in user; return the answer. `form` is "csv" or "xlsx"."""
    return front.client.get(f"{site.path}/protokoll/export.{form}")


def rows_of(answer: TestResponse) -> list[list[str]]:
    """Return the rows of the CSV file in the answer, with the headings in the first row."""
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=";"))


def test_the_local_team_gets_the_whole_log(front: Front, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.accounts.audit_log_export.EXPORT_PAGE", 4)
    come_in(front, site.administrator.email)
    page = get(front, f"{site.path}/protokoll")
    assert_valid(page)
    assert f'href="{site.path}/protokoll/export.csv"' in page and f'href="{site.path}/protokoll/export.xlsx"' in page
    answer = download(front, site)
    assert f"protokoll-{site.account.customer_number}-2026-03-02.csv" in answer.headers["Content-Disposition"]
    head, *rows = rows_of(answer)
    assert head == ["Zeit", "Person", "Über den Hauptaccount", "Aktion", "Was getan wurde"]
    # The one that reads the log has just signed in.
    assert rows.pop(0)[3] == "signed_in"
    assert len(rows) == 9
    said = "Hat sich das SIP-Passwort von t1 anzeigen lassen."
    assert rows[0] == ["2026-03-02 09:00:00+01:00", "Unser Kundenservice", "", "secret_seen", said]
    # Not a formula.
    assert rows[1][1:3] == ["'=cmd|Kim", ""]
    assert rows[2][1:3] == [front.manager.name, front.main.customer_number]


def test_the_main_account_gets_what_its_people_did(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    _, *rows = rows_of(download(front, site))
    assert {(row[1], row[2]) for row in rows} == {(front.manager.name, front.main.customer_number)}
    answer = download(front, site, "xlsx")
    assert len(read_xlsx(answer.data)) == 1 + len(rows)
    answer.close()


def test_what_the_carrier_took_over_is_said_in_words(front: Front, site: Site) -> None:
    taken = {"sip_user": "old1", "channels": 8, "product": "trunk-10", "monthly_cents": 1750, "day": "2019-04-01"}
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        for deed, facts in (
            (AuditEvent.ACCOUNT_CREATED, {"imported": True}),
            (AuditEvent.TRUNK_TAKEN_OVER, taken),
            (AuditEvent.TRUNK_ADOPTED, {"sip_user": "old1"}),
            (AuditEvent.USER_ENTERED, {"user_id": site.member.id, "role": "local_member"}),
            (AuditEvent.ACCOUNT_UPDATED, {"contact": True}),
            (AuditEvent.ACCOUNT_UPDATED, {"contact": False, "name": "Neu", "before": "Alt"}),
            (AuditEvent.ACCOUNT_UPDATED, {"contact": True, "name": "Neu", "before": "Alt"}),
        ):
            record_of_carrier(session, account, deed, NOW, facts)
            session.flush()
    come_in(front, site.administrator.email)
    _, _, *rows = rows_of(download(front, site))
    member = role_text(Role.LOCAL_MEMBER, "de")
    assert [(row[1], row[4]) for row in rows[:7]] == [
        (
            "Unser Kundenservice",
            "Hat aus der Kundenliste des Anbieters den Namen „Neu“ übernommen, vorher „Alt“,"
            " und eine andere Ansprechperson.",
        ),
        ("Unser Kundenservice", "Hat aus der Kundenliste des Anbieters den Namen „Neu“ übernommen, vorher „Alt“."),
        ("Unser Kundenservice", "Hat aus der Kundenliste des Anbieters eine andere Ansprechperson übernommen."),
        ("Unser Kundenservice", f"Hat {site.member.name} eingetragen (Rolle: {member})."),
        ("Unser Kundenservice", "Hat den SIP-Trunk old1 in die Verwaltung des Portals genommen."),
        ("Unser Kundenservice", "Hat den SIP-Trunk old1 übernommen, dessen Vertrag seit dem 1. April 2019 läuft."),
        ("Unser Kundenservice", "Hat den Account aus der Kundenliste des Anbieters übernommen."),
    ]


def test_a_local_member_and_an_outsider_get_none(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    assert download(front, site).status_code == 404
    assert front.client.get("/standortverwaltung/9999999/protokoll/export.csv").status_code == 404
