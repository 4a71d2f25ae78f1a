"""Tests that sign-ins, refused sign-ins and actions, and uses of API tokens are recorded in the audit log.

Each entry can be read only by those whom it concerns. A limited number of entries a day keeps anybody from flooding a
company's log.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.people.audit_log import OF_ACCESS, AuditEntry, AuditEvent
from models.people.rights import Role, Scope
from models.people.sign_in_log import MOST_REFUSALS_A_DAY, Refused, begin_access_log, network_of, note_refused_sign_in
from models.people.users import User
from models.states import Origin
from tests.factories import NOW, PASSWORD, give_app, join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.statements import recorded_statements
from tests.tasks.reconcile.test_plans import nodes
from tests.web.api.calls import a_link, owned
from tests.web.conftest import ORDER, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import come_in, make_site
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.forms import NEW, post

WRONG = "not the password at all"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/130.0"


@pytest.fixture(autouse=True)
def browser(front: Front) -> None:
    """In each test, let the client send Firefox's User-Agent and a public IP address."""
    front.client.environ_base.update({"REMOTE_ADDR": "203.0.113.77", "HTTP_USER_AGENT": FIREFOX})


HERE = {"browser": "Firefox, Windows", "network": "203.0.113.0/24"}


def access(front: Front, *deeds: AuditEvent) -> list[tuple[AuditEvent, int | None, int | None, dict[str, Any]]]:
    """Return the entries about access in the audit log, the oldest first: event, user id, account's id and facts.

    `deeds` are the events to return; none: all events about access.
    """
    query = sa.select(AuditEntry).where(AuditEntry.deed.in_(deeds or OF_ACCESS)).order_by(AuditEntry.id)
    with front.database.transaction() as session:
        return [(one.deed, one.user_id, one.account_id, one.facts) for one in session.scalars(query)]


def try_password(front: Front, email: str, password: str = WRONG) -> int:
    """Submit the sign-in form with this e-mail address and password; return the status of the answer."""
    return post(front.client, "/anmelden", email=email, password=password).status_code


def log_page(front: Front, number: str, part: str = "") -> str:
    """Return the text of the page of the audit log of the account with this customer number.

    `part` is appended to the page's path, such as a query string. Fails unless the page is valid HTML.
    """
    page = front.client.get(f"/standortverwaltung/{number}/protokoll{part}")
    assert page.status_code == 200
    assert_valid(page.text)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text.partition("<main")[2]))


def test_a_sign_in_is_in_the_log_of_each_account_of_the_person(front: Front) -> None:
    me = front.manager.user_id
    with front.database.transaction() as session:
        other = make_account(session)
        join(session, session.get_one(User, me), other, Role.LOCATION_MANAGER)
    assert sign_in(front, front.manager.email)[0] == 302
    said = {"by": "password", **HERE}
    assert access(front) == [(AuditEvent.SIGNED_IN, me, account, said) for account in (front.main.id, other.id)]
    assert post(front.client, "/abmelden", "/anmeldung").status_code == 302
    signed_out = access(front, AuditEvent.SIGNED_OUT)
    assert signed_out[0] == (AuditEvent.SIGNED_OUT, me, front.main.id, {"what": "here", **HERE})
    assert len(signed_out) == 2


def test_the_log_says_with_what_somebody_has_signed_in(front: Front) -> None:
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
        staff = make_staff(session)
    sign_in(front, front.manager.email)
    assert access(front, AuditEvent.SIGNED_IN)[0][3] == {"by": "code", **HERE}
    come_in(front, staff.email)
    # Staff without an account have no account's log.
    assert access(front, AuditEvent.SIGNED_IN)[1][1:3] == (staff.id, None)


def test_the_page_the_export_and_their_parts(front: Front) -> None:
    number = front.main.customer_number
    try_password(front, front.manager.email)
    sign_in(front, front.manager.email)
    signed_in = "Hat sich mit dem Passwort angemeldet (Firefox, Windows, 203.0.113.0/24)."
    refused = "Eine Anmeldung mit diesem Zugang wurde abgewiesen: falsches Passwort, oder der Zugang ist gesperrt"
    everything = log_page(front, number)
    assert signed_in in everything and refused in everything
    assert signed_in in log_page(front, number, "?teil=zugriffe")
    deeds = log_page(front, number, "?teil=handlungen")
    assert signed_in not in deeds and refused not in deeds
    assert front.client.get(f"/standortverwaltung/{number}/protokoll?teil=anderes").status_code == 404
    exported = f"/standortverwaltung/{number}/protokoll/export.csv"
    file = front.client.get(exported).text
    assert f"signed_in;{signed_in}" in file and "sign_in_refused" in file
    assert "signed_in" not in front.client.get(exported + "?teil=handlungen").text
    assert front.client.get(exported + "?teil=anderes").status_code == 404
    # The few latest entries on the dashboard are not all about sign-ins.
    assert signed_in not in front.client.get(f"/standortverwaltung/{number}").text


def test_a_dashboard_does_not_read_thousands_of_sign_ins(front: Front, superuser: sa.Engine) -> None:
    sign_in(front, front.manager.email)
    with superuser.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO audit_entries (account_id, user_id, by_staff, deed, facts, at)"
            " SELECT account_id, user_id, by_staff, deed, facts, at FROM audit_entries, generate_series(1, 3000)"
        )
        connection.exec_driver_sql("ANALYZE audit_entries")
    plans: list[dict[str, Any]] = []

    def explain(connection: sa.Connection, cursor: Any, statement: str, values: Any, *_: object) -> None:
        if "FROM audit_entries" in statement and "NOT IN" in statement:
            [[plan]] = cursor.connection.cursor().execute(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchall()
            plans.append(plan[0]["Plan"])

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        assert front.client.get(f"/standortverwaltung/{front.main.customer_number}").status_code == 200
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)
    [plan] = plans
    ways = {node.get("Index Name") for node in nodes(plan) if node.get("Alias") == "audit_entries"}
    assert ways == {"ix_audit_entries_without_access"}


def test_sign_ins_of_a_local_team_are_not_for_the_main_account(front: Front) -> None:
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
    come_in(front, site.administrator.email)
    come_in(front, front.manager.email)
    assert "angemeldet" not in log_page(front, site.account.customer_number)


def test_a_wrong_password_is_in_the_log_without_the_password(front: Front) -> None:
    assert try_password(front, front.manager.email) == 422
    [(deed, user_id, account_id, facts)] = access(front)
    assert (deed, user_id, account_id) == (AuditEvent.SIGN_IN_REFUSED, front.manager.user_id, front.main.id)
    assert facts == {"why": "password", **HERE}


def test_an_unknown_name_leaves_nothing_and_learns_nothing(front: Front) -> None:
    runs = []
    for email in ("nobody@example.com", front.manager.email):
        page = front.client.get("/anmelden").text
        with recorded_statements() as ran:
            form = {"csrf_token": csrf(page), "email": email, "password": WRONG}
            assert front.client.post("/anmelden", data=form).status_code == 422
        same = [re.sub(r"^(RELEASE|ROLLBACK TO) |INSERT INTO \w+ .*", "", text, flags=re.DOTALL) for text in ran]
        runs.append((same, sum(text.startswith("INSERT") for text in ran)))
    assert runs[0] == runs[1] and runs[0][1] == 1
    assert [user_id for _, user_id, _, _ in access(front)] == [front.manager.user_id]
    with front.database.transaction() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM messages")) == 0


def test_the_last_try_that_is_allowed_says_so(front: Front) -> None:
    assert [try_password(front, front.manager.email) for _ in range(11)] == [422] * 10 + [429]
    assert [bool(facts.get("is_last")) for _, _, _, facts in access(front)] == [False] * 9 + [True]
    front.client.application.extensions["limiter"].copy().pop().limiter.storage.reset()
    sign_in(front, front.manager.email)
    assert "Das war der letzte Versuch, der vorerst erlaubt war." in log_page(front, front.main.customer_number)


def test_nobody_floods_a_log_with_wrong_passwords(front: Front, clock: FakeClock) -> None:
    def flood() -> None:
        for _ in range(MOST_REFUSALS_A_DAY + 3):
            for limiter in front.client.application.extensions["limiter"]:
                limiter.limiter.storage.reset()
            clock.now += timedelta(seconds=1)
            assert try_password(front, front.manager.email) == 422

    flood()
    found = access(front)
    assert len(found) == MOST_REFUSALS_A_DAY
    assert [bool(facts.get("is_full")) for _, _, _, facts in found].index(True) == MOST_REFUSALS_A_DAY - 1
    clock.now = NOW + timedelta(days=2)
    try_password(front, front.manager.email)
    assert len(access(front)) == MOST_REFUSALS_A_DAY + 1


def test_many_tries_of_one_kind_do_not_hide_those_of_another(front: Front) -> None:
    with front.database.transaction() as session:
        for turn in range(MOST_REFUSALS_A_DAY + 3):
            at = NOW + timedelta(seconds=turn)
            note_refused_sign_in(session, front.manager.email, Refused.PROOF, None, at)
    assert len(access(front)) == MOST_REFUSALS_A_DAY
    assert try_password(front, front.manager.email) == 422
    *_, (_, _, _, last) = access(front)
    assert last == {"why": "password", **HERE}


def test_a_wrong_second_factor_and_a_wrong_own_password(front: Front) -> None:
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    form = {"csrf_token": form_token(front.client), "email": front.manager.email, "password": PASSWORD}
    half = front.client.post("/anmelden", data=form)
    wrong = {"csrf_token": csrf(half.text), "code": "000 000"}
    assert front.client.post("/anmelden/faktor", data=wrong).status_code == 422
    come_in(front, front.manager.email)
    assert post(front.client, "/anmeldung/passwort", current=WRONG, password=NEW).status_code == 422
    assert [facts["why"] for _, _, _, facts in access(front, AuditEvent.SIGN_IN_REFUSED)] == ["factor", "own_password"]


def test_a_login_that_was_tried_as_a_proof_is_in_its_companys_log(front: Front) -> None:
    account, owner = owned(front)
    proof = {"email": owner.email, "password": WRONG}
    assert a_link(front, account.customer_number, "credentials", **proof).status_code == 202
    assert access(front, AuditEvent.SIGN_IN_REFUSED) == [
        (AuditEvent.SIGN_IN_REFUSED, owner.id, account.id, {"why": "proof"})
    ]


def test_the_use_of_a_token_is_written_once_a_day_and_for_a_new_network(front: Front, clock: FakeClock) -> None:
    def use(address: str, after: timedelta) -> list[str]:
        clock.now = NOW + after
        front.client.environ_base["REMOTE_ADDR"] = address
        assert front.get("/requests").status_code == 200
        return [facts["network"] for _, _, _, facts in access(front, AuditEvent.TOKEN_USED)]

    once = ["192.0.2.0/24"]
    assert use("192.0.2.1", timedelta()) == once
    assert use("192.0.2.1", timedelta(minutes=1)) == once
    assert use("192.0.2.99", timedelta(minutes=10)) == once
    twice = [*once, "198.51.100.0/24"]
    assert use("198.51.100.1", timedelta(minutes=20)) == twice
    assert use("192.0.2.1", timedelta(minutes=30)) == twice
    assert use("192.0.2.1", timedelta(days=1)) == [*twice, *once]
    assert access(front)[0][1:3] == (front.manager.user_id, front.main.id)
    sign_in(front, front.manager.email)
    assert "Hat das API-Token „test“ verwendet (198.51.100.0/24)." in log_page(front, front.main.customer_number)


def test_an_order_costs_no_statement_more_for_the_log(front: Front) -> None:
    assert front.post("/orders", ORDER).status_code == 202
    with recorded_statements() as ran:
        assert front.post("/orders", ORDER).status_code == 202
    assert not [text for text in ran if "audit_entries" in text]


def test_a_token_is_refused_a_right_in_its_accounts_log(front: Front) -> None:
    front.token = front.token_with(Scope.READ)
    assert front.post("/orders", ORDER).status_code == 403
    [(_, user_id, account_id, facts)] = access(front, AuditEvent.RIGHT_REFUSED)
    assert (user_id, account_id) == (front.manager.user_id, front.main.id)
    assert facts == {"action": "POST /api/v1/orders"}


def refused(front: Front) -> list[str]:
    """Return what the audit log says was refused for lack of a right, such as "GET /backoffice", the oldest first."""
    return [facts["action"] for _, _, _, facts in access(front, AuditEvent.RIGHT_REFUSED)]


def test_a_page_for_which_the_right_lacks_is_in_the_log(front: Front) -> None:
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id))
        manager = make_user(session)
        join(session, manager, site.account, Role.LOCATION_MANAGER)
    number = site.account.customer_number
    come_in(front, manager.email)
    pages = {
        f"/benutzer/{number}/api-token": f"GET /benutzer/{number}/api-token",
        f"{site.path}/sip/{site.trunk}/ziele": f"GET /standortverwaltung/{number}/sip/…/ziele",
        "/backoffice": "GET /backoffice",
    }
    for path in pages:
        assert front.client.get(path).status_code == 404, path
    assert refused(front) == list(pages.values())
    come_in(front, site.member.email)
    assert front.client.get(site.path).status_code == 404
    assert refused(front)[3:] == [f"GET /standortverwaltung/{number}"]
    come_in(front, site.administrator.email)
    assert f"Wurde abgewiesen, weil das Recht dazu fehlt: GET /benutzer/{number}/api-token." in log_page(front, number)


def test_no_other_company_and_no_sister_account_reads_whose_number_it_was(front: Front) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        site, sister, foreign = make_site(session, main), make_account(session), make_account(session)
        attach(session, main.id, sister.id, Origin.LINK, NOW)
        # An accountant of two companies, and of two sites of one of them.
        accountant, alone = make_user(session), make_user(session)
        for account in (main, site.account, sister, foreign):
            join(session, accountant, account, Role.LOCATION_MANAGER)
        join(session, alone, sister, Role.LOCAL_MEMBER)
        join(session, alone, foreign, Role.LOCATION_MANAGER)
    come_in(front, accountant.email)
    path = f"/benutzer/{site.account.customer_number}/api-token"
    assert front.client.get(path).status_code == 404
    assert {account for _, _, account, _ in access(front, AuditEvent.RIGHT_REFUSED)} == {main.id, site.account.id}
    assert front.client.get("/backoffice").status_code == 404
    told = access(front, AuditEvent.RIGHT_REFUSED)[2:]
    assert {account for _, _, account, _ in told} == {main.id, site.account.id, sister.id, foreign.id}
    come_in(front, alone.email)
    for number in (site.account.customer_number, "9999999"):
        assert front.client.get(f"/backoffice/kunden/{number}").status_code == 404
    assert access(front, AuditEvent.RIGHT_REFUSED)[2:] == told


def test_what_a_person_cannot_see_is_in_nobodys_log(front: Front) -> None:
    with front.database.transaction() as session:
        foreign = make_site(session, make_account(session))
    come_in(front, front.manager.email)
    paths = [foreign.path, f"{foreign.path}/sip/{foreign.trunk}/passwort", f"{foreign.path}/protokoll"]
    paths += [f"/benutzer/{foreign.account.customer_number}/api-token", "/standortverwaltung/9999999"]
    answers = [front.client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {404}
    assert refused(front) == []


def test_nobody_floods_a_log_with_what_is_refused(front: Front, clock: FakeClock) -> None:
    front.token = front.token_with(Scope.READ)

    def order() -> TestResponse:
        clock.now += timedelta(seconds=1)
        return front.post("/orders", ORDER)

    assert {order().status_code for _ in range(MOST_REFUSALS_A_DAY + 3)} == {403}
    assert len(refused(front)) == MOST_REFUSALS_A_DAY


def test_until_the_last_step_of_an_upgrade_nothing_is_added(front: Front, owner_database: Database) -> None:
    begin_access_log(owner_database, begun=False)
    try:
        assert try_password(front, front.manager.email) == 422
        with recorded_statements() as ran:
            sign_in(front, front.manager.email)
        assert front.get("/requests").status_code == 200
        assert front.client.get("/backoffice").status_code == 404
        assert access(front) == []
        # The statement that would add the entry asks, and no other.
        assert [text.split()[0] for text in ran if "access_log_begun" in text] == ["INSERT"]
    finally:
        begin_access_log(owner_database)
    assert post(front.client, "/abmelden", "/anmeldung").status_code == 302
    assert [deed for deed, *_ in access(front)] == [AuditEvent.SIGNED_OUT]


def test_signed_out_elsewhere(front: Front) -> None:
    come_in(front, front.manager.email)
    assert post(front.client, "/anmeldung/andere/beenden", password=PASSWORD).status_code == 303
    assert access(front, AuditEvent.SIGNED_OUT)[0][3] == {"what": "others", **HERE}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("", ""),
    ],
)
def test_the_log_names_a_network_and_no_address(address: str, network: str) -> None:
    assert network_of(address) == network
