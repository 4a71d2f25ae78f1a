"""Tests that changes in the portal, or by SQL in the registrar's database, apply from the next SIP message on."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from models.vault import new_sip_secret
from tests.sip.conftest import Sites
from tests.sip.phones import Phone, call_in
from workers.gateways.registrar import plain_url


def test_a_new_secret_counts_at_once_also_while_registered(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    old = berlin.secret
    berlin.secret = new_sip_secret()
    with sites.changing(berlin) as trunk:
        trunk.secret = sites.runtime.vault.seal(berlin.secret)
    call_in(sites.line, berlin.numbers[0], gets=480)
    hamburg.answer()
    berlin.call(hamburg.numbers[0])
    berlin.register()
    berlin.secret = old
    berlin.register(gets=403)
    berlin.call(hamburg.numbers[0], gets=403)


def test_fewer_channels_count_at_once(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    with sites.changing(berlin) as trunk:
        trunk.channels = 1
    hamburg.answer()
    held = berlin.hold(hamburg.numbers[0])
    berlin.call(hamburg.numbers[0], gets=503)
    held.hang_up()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM subscriber",
        "UPDATE subscriber SET ha1 = 'x'",
        "DELETE FROM dbaliases",
        "UPDATE dbaliases SET alias_username = alias_username || '0'",
        "UPDATE usr_preferences SET value = '0' WHERE attribute = 'channels'",
        "DELETE FROM usr_preferences WHERE attribute = 'channels'",
        "UPDATE usr_preferences SET value = 'x' WHERE attribute = 'provision_key'",
        "UPDATE dbaliases SET username = CASE username WHEN %(berlin)s THEN %(hamburg)s ELSE %(berlin)s END",
        "UPDATE dbaliases SET username = 'nobody'",
        "INSERT INTO usr_preferences (username, domain, attribute, value)"
        " SELECT username, domain, 'forward.always.0', '+4989123 0 10080' FROM subscriber",
        "INSERT INTO usr_preferences (username, domain, attribute, value)"
        " SELECT username, domain, 'request_uri', 'contact' FROM subscriber",
        "TRUNCATE subscriber, dbaliases, usr_preferences, own_numbers",
    ],
)
def test_what_was_damaged_by_hand_is_mended(
    sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str, damage: str
) -> None:
    by_hand(registrar_url, damage, berlin=berlin.user, hamburg=hamburg.user)
    assert sites.reconcile(allow_removals=True)
    assert not sites.reconcile()
    # The repair did not end any registration.
    hamburg.answer()
    berlin.call(hamburg.numbers[0])


def test_numbers_that_were_forgotten_are_ours_again(sites: Sites, berlin: Phone, registrar_url: str) -> None:
    [[free]] = by_hand(registrar_url, "SELECT '+' || max(first_number) FROM own_numbers")
    by_hand(registrar_url, "TRUNCATE own_numbers")
    assert {finding.kind for finding in sites.reconcile()} == {"block_missing_there"}
    berlin.call(free, gets=404)


def test_a_phone_that_was_registered_by_hand_does_not_ring(
    sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str
) -> None:
    by_hand(registrar_url, "UPDATE location SET username = 'nobody' WHERE username = %(user)s", user=hamburg.user)
    by_hand(
        registrar_url,
        "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
        " VALUES ('+4989123456', 'sip.example', 'nobody', 'sip.example')",
    )
    by_hand(
        registrar_url,
        "INSERT INTO usr_preferences (username, domain, attribute, value)"
        " VALUES ('nobody', 'sip.example', 'channels', '1')",
    )
    hamburg.answer()
    call_in(sites.line, "+4989123456")
    [finding] = sites.reconcile()
    assert (finding.kind, finding.facts["what"]) == ("unknown_there", ["numbers", "preferences", "registration"])
    assert not finding.repaired
    assert sites.reconcile(allow_removals=True)
    call_in(sites.line, "+4989123456", gets=404)
    assert by_hand(registrar_url, "SELECT FROM location WHERE username = 'nobody'") == []


def by_hand(registrar_url: str, statement: str, **values: str) -> list[tuple[Any, ...]]:
    """Execute a statement directly in Kamailio's database, bypassing the portal, and return its rows."""
    with psycopg.connect(plain_url(registrar_url)) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []
