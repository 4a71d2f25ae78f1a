"""Tests that the auditor of chaos runs finds each fault put into the databases by hand, and nothing else."""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.catalogue import MOBILE_BACKUP
from models.requests.requests import Request
from models.telephony.trunks import SipTrunk
from tests.chaos.auditor import audit, report
from tests.chaos.faults import FAULTS
from tests.chaos.mail_checks import MAY_DOUBLE
from tests.chaos.run_checks import FAILS_PAGES
from tests.due_work import process_due
from tests.factories import MOBILE, an_order
from tests.snapshots import written_once
from tests.tasks.conftest import Pipeline
from tests.tasks.conftest import pipeline as pipeline
from workers.gateways.registrar import KamailioRegistrar, plain_url

LOST = "lost: accepted, and not there"
TOLD = "the API says otherwise than the rows"
UNEXPECTED = "answers that no client expected"
INVENTED = "doubled: there, and never accepted"
NOT_ENDED = "not ended"
DOUBLED = "doubled or missing at the end: contract, trunk, numbers"
ACCOUNTS = "doubled accounts, or accounts in wrong hands"
CHARGES = "charges and channels otherwise than ordered and changed"
SHARED = "numbers with two owners"
DIFFERENT = "registrar differences"
OWED = "mails owed and not sent, or sent and not owed"
TWICE = "mails that came twice without a fault that explains it"
ORDER = "timelines out of order"
STILL = "rows that stand still"
HEALED = "faults that did not heal"
PAGES = "pages that failed without a fault that explains it"


@pytest.fixture
def record(request: pytest.FixtureRequest, portal_url: str, registrar_url: str) -> dict[str, Any]:
    """Provide the record of a run with two completed orders and a change, and databases that agree with it.

    The second order has an option; the change is a change of its tariff. The record is a dictionary in the form that
    `tests/chaos/auditor.py` describes; each test gets a copy that it may change.
    """

    def run() -> dict[str, Any]:
        return _recorded(request.getfixturevalue("pipeline"), portal_url, registrar_url)

    # A copy, because tests change the record.
    return deepcopy(written_once("recorded run", [portal_url, registrar_url], run))


def _recorded(pipeline: Pipeline, portal_url: str, registrar_url: str) -> dict[str, Any]:
    with pipeline.runtime.database.transaction() as session:
        before = list(session.scalars(sa.select(Account.customer_number)))
    ids = [pipeline.order(an_order()), pipeline.order(an_order(option_keys=(MOBILE_BACKUP,), mobile_number=MOBILE))]
    with closing(KamailioRegistrar(registrar_url)) as registrar:
        runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, registrar=registrar))
        for _ in range(3):
            process_due(runtime)
        pipeline.clock.advance(timedelta(minutes=1))
        with runtime.database.transaction() as session:
            trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.request_id == ids[1])).one()
            account, draft = session.get_one(Account, trunk.account_id), ChangeDraft("trunk-50", 30, None, "de")
            change = submit_change(session, pipeline.manager, account, trunk.id, draft, pipeline.clock.now).id
        for _ in range(3):
            process_due(runtime)
    with runtime.database.transaction() as session:
        answers = [
            {
                "id": str(request.id),
                "main": pipeline.main.customer_number,
                "kind": str(request.kind),
                "status": str(request.status),
                "step": str(request.step),
                "reason": request.reason,
                "customer_number": request.customer_number,
            }
            for request in session.scalars(sa.select(Request))
        ]
    mails = [
        {"id": mail.message_id, "to": mail.recipient_address, "at": float(place)}
        for place, mail in enumerate(pipeline.mailer.sent)
    ]
    return {
        "portal": plain_url(portal_url),
        "registrar": plain_url(registrar_url),
        "secret_key": "a key for tests",
        "accounts": before,
        "accepted": [*({"id": str(id), "kind": "order"} for id in ids), {"id": str(change), "kind": "change"}],
        "cancelled": [],
        "unanswered": 0,
        "failed": [],
        "answers": answers,
        "bulks": [],
        "pages": [{"what": "a secret", "began": 11.0, "ended": 11.5, "error": None}],
        "mails": mails,
        "letters": [],
        "faults": [{"name": "database: its host silent", "began": 10.0, "ended": 12.0, "healed": 0.5}],
    }


def wrong(record: dict[str, Any]) -> set[str]:
    """Audit the databases and the record; return the names of the checks that found something wrong."""
    return {name for name, found in audit(record).found.items() if found}


def test_a_quiet_day_leaves_nothing_to_find(record: dict[str, Any]) -> None:
    assert wrong(record) == set()


PORTAL = {
    "a request that waits for nobody": (
        "UPDATE requests SET status = 'held', reason = 'internal_error', ended_at = NULL",
        NOT_ENDED,
    ),
    "a contract that is gone": ("UPDATE contracts SET ended_at = now()", DOUBLED),
    "a charge that is gone": ("DELETE FROM contract_items", CHARGES),
    "a number block that is charged twice": (
        "INSERT INTO contract_items (contract_id, product_key, occurrence, monthly_cents, one_off_cents)"
        " SELECT contract_id, product_key, 2, monthly_cents, one_off_cents FROM contract_items"
        " WHERE product_key LIKE 'block-%'",
        CHARGES,
    ),
    "an option that is charged twice": (
        "INSERT INTO contract_items (contract_id, product_key, occurrence, monthly_cents, one_off_cents)"
        " SELECT contract_id, product_key, 2, monthly_cents, one_off_cents FROM contract_items"
        " WHERE product_key = 'mobile-backup'",
        CHARGES,
    ),
    "an option that nobody ordered": (
        "INSERT INTO contract_items (contract_id, product_key, monthly_cents, one_off_cents)"
        " SELECT id, 'fax2mail', 290, 0 FROM contracts",
        CHARGES,
    ),
    "a price that nobody agreed": ("UPDATE contract_items SET monthly_cents = monthly_cents + 1", CHARGES),
    "a tariff that goes on beside the new one": ("UPDATE contract_items SET ended_at = NULL", CHARGES),
    "a gap between two tariffs": ("UPDATE contract_items SET ended_at = ended_at - interval '1 second'", CHARGES),
    "a change that made no line": ("DELETE FROM contract_items WHERE started_at IS NOT NULL", CHARGES),
    "a change that the trunk does not know": ("UPDATE sip_trunks SET channels = 4", CHARGES),
    "a contract of no order": (
        "INSERT INTO contracts (account_id, started_at) SELECT account_id, started_at FROM contracts",
        CHARGES,
    ),
    "an account that nobody ordered": (
        "WITH drawn AS (INSERT INTO customer_numbers (number) VALUES ('9999999'))"
        " INSERT INTO accounts (customer_number, role, state, name, street, postal_code, city, contact_name,"
        " contact_email, created_at) SELECT '9999999', 'standalone', 'active', name, street, postal_code, city,"
        " contact_name, contact_email, created_at FROM accounts LIMIT 1",
        ACCOUNTS,
    ),
    "two orders of one account": ("UPDATE requests SET account_id = (SELECT max(account_id) FROM requests)", ACCOUNTS),
    "an account that belongs to nobody": (
        "UPDATE accounts SET main_id = NULL, role = 'standalone', origin = NULL, attached_at = NULL"
        " WHERE main_id IS NOT NULL",
        ACCOUNTS,
    ),
    "numbers that are gone": ("UPDATE number_blocks SET trunk_id = NULL, account_id = NULL", DOUBLED),
    "a mail that never left": ("UPDATE messages SET state = 'queued', sent_at = NULL, due_at = now()", OWED),
    "a timeline that goes back": (
        "UPDATE timeline_entries SET at = at - interval '1 day' WHERE code = 'completed'",
        ORDER,
    ),
    "a timeline that goes on": (
        "INSERT INTO timeline_entries (request_id, at, code, facts)"
        " SELECT id, now() + interval '1 year', 'attached', '{}' FROM requests",
        ORDER,
    ),
    "a trunk that nobody writes": ("UPDATE sip_trunks SET due_at = now() - interval '1 minute'", STILL),
}
REGISTRAR = {
    "a trunk that is gone": ("DELETE FROM subscriber", DIFFERENT),
    "a trunk too many": ("INSERT INTO subscriber (username, domain) VALUES ('stranger', 'sip.example')", DIFFERENT),
    "another password": ("UPDATE subscriber SET ha1 = md5('another')", DIFFERENT),
    "a suspension that the portal does not know": (
        "INSERT INTO usr_preferences (uuid, username, domain, attribute, value)"
        " SELECT uuid, username, domain, 'suspended', '1' FROM usr_preferences WHERE attribute = 'channels'",
        DIFFERENT,
    ),
    "a forwarding that the portal does not know": (
        "INSERT INTO usr_preferences (uuid, username, domain, attribute, value)"
        " SELECT uuid, username, domain, 'forward.always.0', '+4930901820 0 10080' FROM usr_preferences"
        " WHERE attribute = 'channels'",
        DIFFERENT,
    ),
    "other channels": ("UPDATE usr_preferences SET value = '99' WHERE attribute = 'channels'", DIFFERENT),
    "a change that the registrar does not know": (
        "UPDATE usr_preferences SET value = '4' WHERE attribute = 'channels'",
        CHARGES,
    ),
    "a preference twice": (
        "INSERT INTO usr_preferences (uuid, username, domain, attribute, value)"
        " SELECT uuid, username, domain, attribute, value FROM usr_preferences WHERE attribute = 'channels'",
        DIFFERENT,
    ),
    "a number twice": (
        "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
        " SELECT alias_username, alias_domain, username, domain FROM dbaliases",
        SHARED,
    ),
}


@pytest.mark.parametrize("what", PORTAL)
def test_what_is_broken_in_the_portal_is_found(record: dict[str, Any], what: str) -> None:
    statement, check = PORTAL[what]
    with psycopg.connect(record["portal"]) as connection:
        connection.execute(statement.encode())
    assert check in wrong(record)


@pytest.mark.parametrize("what", REGISTRAR)
def test_what_is_broken_at_the_registrar_is_found(record: dict[str, Any], what: str) -> None:
    statement, check = REGISTRAR[what]
    with psycopg.connect(record["registrar"]) as connection:
        connection.execute(statement.encode())
    assert check in wrong(record)


def test_what_is_lost_or_invented_is_found(record: dict[str, Any]) -> None:
    nobodys = str(UUID(int=7))
    assert wrong(record | {"accepted": [*record["accepted"], {"id": nobodys, "kind": "order"}]}) == {LOST}
    assert wrong(record | {"accepted": record["accepted"][:1]}) == {INVENTED}
    assert wrong(record | {"accepted": record["accepted"][:2], "unanswered": 1}) == set()
    assert wrong(record | {"failed": ["AssertionError('404')"]}) == {UNEXPECTED}


def test_an_answer_of_the_api_that_lacks_or_stands_twice_or_is_not_as_its_row_is_found(
    record: dict[str, Any],
) -> None:
    first, *others = record["answers"]
    for told in ([], [first, first], [first | {"main": "7654321"}], [first | {"status": "held"}]):
        assert wrong(record | {"answers": [*told, *others]}) == {TOLD}


def test_a_file_that_was_sent_and_is_not_there_is_found(record: dict[str, Any]) -> None:
    assert wrong(record | {"bulks": [str(UUID(int=7))]}) == {LOST}


def test_a_page_that_fails_needs_a_fault_and_another_try(record: dict[str, Any]) -> None:
    [went_through] = record["pages"]
    failed = went_through | {"error": "503"}
    assert wrong(record | {"pages": [failed, went_through]}) == set()
    assert wrong(record | {"pages": [failed]}) == {PAGES}
    for name in ("redis: frozen", "beat: killed", "registrar: silent"):
        assert wrong(record | {"pages": [failed, went_through], "faults": [record["faults"][0] | {"name": name}]}) == {
            PAGES
        }
    late = {"began": 30.0, "ended": 31.0}
    assert wrong(record | {"pages": [failed | late, went_through]}) == {PAGES}


def test_a_mail_that_came_twice_needs_a_fault_that_may_have_kept_it_from_being_recorded(record: dict[str, Any]) -> None:
    first = record["mails"][0]
    others = record["mails"][1:]
    for earlier, later, fault, expected in (
        (11.0, 13.0, "database: its host silent", set()),
        (11.0, 13.0, "worker: stopped and continued", set()),
        (11.0, 13.0, "front: killed in the midst of requests", {TWICE}),
        (11.0, 13.0, "beat: killed", {TWICE}),
        (11.0, 13.0, "redis: stopped and started empty", {TWICE}),
        # The second copy has waited behind thousands of other mails.
        (11.0, 5000.0, "database: its host silent", set()),
        (5000.0, 5002.0, "database: its host silent", {TWICE}),
        (2.0, 13.0, "database: its host silent", {TWICE}),
    ):
        faults = [record["faults"][0] | {"name": fault}]
        copies = [first | {"at": earlier}, first | {"at": later}]
        assert wrong(record | {"mails": [*copies, *others], "faults": faults}) == expected


def test_the_faults_that_explain_something_are_faults_of_the_run() -> None:
    for beginning in (*MAY_DOUBLE, *FAILS_PAGES):
        assert any(name.startswith(beginning) for name in FAULTS), beginning


def test_the_report_counts_and_explains(record: dict[str, Any]) -> None:
    copies = [record["mails"][0] | {"at": 11.0}, record["mails"][0] | {"at": 13.0}]
    broken = record | {"mails": [*copies, *record["mails"][1:]]}
    lines = report(broken, audit(broken)).splitlines()
    assert lines[0] == "accepted: 3 (1 change, 2 order), and 0 files"
    assert lines[1] == "ended: change 1 completed; order 2 completed"
    assert lines[-1].split() == [copies[0]["id"], "2.0", "s", *["database:", "its", "host", "silent"]]


def test_a_letter_that_nobody_sent_is_found(record: dict[str, Any]) -> None:
    assert wrong(record | {"letters": ["one.pdf"]}) == {OWED}


def test_a_mail_that_never_arrived_and_a_fault_that_never_healed_are_found(record: dict[str, Any]) -> None:
    assert wrong(record | {"mails": record["mails"][1:]}) == {OWED}
    for healed in (None, 61.0):
        assert wrong(record | {"faults": [record["faults"][0] | {"healed": healed}]}) == {HEALED}
