"""Tests that the auditor of chaos runs finds each fault put into the databases by hand, and nothing else."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.chaos.auditor import CHECKS, audit
from tests.due_work import process_due
from tests.factories import an_order
from tests.tasks.conftest import Pipeline
from tests.tasks.conftest import pipeline as pipeline
from workers.gateways.registrar import KamailioRegistrar, plain_url

LOST, UNEXPECTED, INVENTED, NOT_ENDED, DOUBLED, SHARED, DIFFERENT, OWED, TWICE, ORDER, STILL, HEALED = CHECKS


@pytest.fixture
def record(pipeline: Pipeline, portal_url: str, registrar_url: str) -> dict[str, Any]:
    """Provide the record of a run with two orders that went through, and databases that fit it."""
    ids = [pipeline.order(an_order()) for _ in range(2)]
    with closing(KamailioRegistrar(registrar_url)) as registrar:
        runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, registrar=registrar))
        for _ in range(3):
            process_due(runtime)
    mails = [
        {"id": mail.message_id, "to": mail.recipient_address, "at": float(place)}
        for place, mail in enumerate(pipeline.mailer.sent)
    ]
    return {
        "portal": plain_url(portal_url),
        "registrar": plain_url(registrar_url),
        "secret_key": "a key for tests",
        "accepted": [{"id": str(id), "kind": "order"} for id in ids],
        "cancelled": [],
        "unanswered": 0,
        "failed": [],
        "mails": mails,
        "letters": [],
        "faults": [{"name": "database: a fault", "began": 10.0, "ended": 12.0, "healed": 0.5}],
    }


def wrong(record: dict[str, Any]) -> set[str]:
    """Audit the databases and return the names of the checks that found something wrong."""
    return {name for name, found in audit(record).items() if found}


def test_a_quiet_day_leaves_nothing_to_find(record: dict[str, Any]) -> None:
    assert wrong(record) == set()


PORTAL = {
    "a request that waits for nobody": (
        "UPDATE requests SET status = 'held', reason = 'internal_error', ended_at = NULL",
        NOT_ENDED,
    ),
    "a contract that is gone": ("UPDATE contracts SET ended_at = now()", DOUBLED),
    "a charge that is gone": ("DELETE FROM contract_items", DOUBLED),
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
    assert wrong(record | {"accepted": record["accepted"][:1], "unanswered": 1}) == set()
    assert wrong(record | {"failed": ["AssertionError('404')"]}) == {UNEXPECTED}


def test_a_mail_that_came_twice_needs_a_fault(record: dict[str, Any]) -> None:
    first = record["mails"][0] | {"at": 11.0}
    others = record["mails"][1:]
    for at, fault, expected in (
        (13.0, "database: a fault", set()),
        (13.0, "redis: a fault", {TWICE}),
        (5000.0, "database: a fault", {TWICE}),
    ):
        faults = [record["faults"][0] | {"name": fault}]
        assert wrong(record | {"mails": [first, first | {"at": at}, *others], "faults": faults}) == expected


def test_a_letter_that_nobody_sent_is_found(record: dict[str, Any]) -> None:
    assert wrong(record | {"letters": ["one.pdf"]}) == {OWED}


def test_a_mail_that_never_arrived_and_a_fault_that_never_healed_are_found(record: dict[str, Any]) -> None:
    assert wrong(record | {"mails": record["mails"][1:]}) == {OWED}
    for healed in (None, 61.0):
        assert wrong(record | {"faults": [record["faults"][0] | {"healed": healed}]}) == {HEALED}
