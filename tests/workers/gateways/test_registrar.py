"""Tests of the gateway to the registrar on Kamailio's real tables, which the tests read with Kamailio's queries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from threading import Barrier
from typing import Any

import psycopg
import pytest

from models.db.roles import DatabaseRole
from models.telephony.weekly_hours import ALL_WEEK
from tasks.ports import Block, Forwarding, GatewayError, GatewayRefused, GatewayUnavailable, NumberTaken, TrunkRecord
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.stack.ports import free_port

TRUNK = TrunkRecord("order-1", "t000000000001", "sip.example", "Geheim-123", 4, ("+4930200", "+4930201"), "10179")
OTHER = TrunkRecord("order-2", "t000000000002", "sip.example", "Geheim-456", 2, ("+4930300",), "33602")
TABLES = ("subscriber", "dbaliases", "usr_preferences")


@pytest.fixture
def registrar(worker_registrar_url: str) -> Iterator[KamailioRegistrar]:
    """Provide the gateway to the registrar, connected to Kamailio's database as the workers' role."""
    gateway = KamailioRegistrar(worker_registrar_url)
    yield gateway
    gateway.close()


class Kamailio:
    """Reads Kamailio's database in tests: rows of a query, and a trunk's numbers and preferences."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}

    def numbers(self, user: str) -> list[str]:
        found = self.rows("SELECT alias_username FROM dbaliases WHERE username = %s ORDER BY 1", user)
        return [number for (number,) in found]

    def preferences(self, user: str) -> dict[str, str]:
        return dict(self.rows("SELECT attribute, value FROM usr_preferences WHERE username = %s", user))


@pytest.fixture
def kamailio(registrar_url: str) -> Kamailio:
    """Return a reader of Kamailio's database."""
    return Kamailio(registrar_url)


def test_a_trunk_is_a_subscriber_with_its_numbers_and_channels(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    assert registrar.put_trunks([TRUNK, OTHER]) == [None, None]
    assert kamailio.rows("SELECT username, domain, password FROM subscriber ORDER BY 1") == [
        ("t000000000001", "sip.example", ""),
        ("t000000000002", "sip.example", ""),
    ]
    assert kamailio.numbers(TRUNK.sip_user) == ["+4930200", "+4930201"]
    assert kamailio.numbers(OTHER.sip_user) == ["+4930300"]
    assert kamailio.preferences(TRUNK.sip_user) == {
        "provision_key": "order-1",
        "channels": "4",
        "postal_code": "10179",
        # A hash of HA1, so that it reveals no more than the HA1 in the same database.
        "secret_issue": sha256(TRUNK.ha1.encode()).hexdigest()[:16],
    }


def test_a_phone_that_knows_the_password_gets_in(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    # The worked example of RFC 2617, section 3.5, with its expected response.
    registrar.put_trunks([TrunkRecord("rfc", "Mufasa", "testrealm@host.com", "Circle Of Life", 1, (), "10179")])
    [(ha1, ha1b)] = kamailio.rows("SELECT ha1, ha1b FROM subscriber")
    assert ha1 == "939e7578ed9e3c518a452acee763bce9"
    ha2 = hashlib.md5(b"GET:/dir/index.html").hexdigest()
    challenge = f"{ha1}:dcd98b7102dd2f0e8b11d0f600bfb0c093:00000001:0a4f113b:auth:{ha2}"
    assert hashlib.md5(challenge.encode()).hexdigest() == "6629fae49393a05397450978507c4ef1"
    # HA1B, Kamailio's second hash, for phones that send user@domain as their name.
    assert ha1b == hashlib.md5(b"Mufasa@testrealm@host.com:testrealm@host.com:Circle Of Life").hexdigest()


def test_the_password_is_nowhere_in_clear(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    kamailio.rows(
        "INSERT INTO subscriber (username, domain, password) VALUES (%s, %s, %s)",
        TRUNK.sip_user,
        TRUNK.domain,
        TRUNK.secret,
    )
    assert registrar.put_trunks([TRUNK]) == [None]
    assert TRUNK.secret not in str(kamailio.everything())


def test_put_twice_changes_nothing(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_trunks([TRUNK, OTHER])
    before = kamailio.everything()
    assert registrar.put_trunks([OTHER, TRUNK]) == [None, None]
    assert registrar.put_trunks([TRUNK]) == [None]
    assert kamailio.everything() == before


def test_what_was_registered_before_a_suspension_or_with_another_secret_is_gone_and_nothing_else(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    registrar.put_trunks([TRUNK, OTHER])
    for trunk in (TRUNK, OTHER):
        phone = (trunk.sip_user, trunk.sip_user, trunk.domain)
        kamailio.rows("INSERT INTO location (ruid, username, domain) VALUES (%s, %s, %s)", *phone)
    registered = "SELECT username FROM location ORDER BY 1"
    registrar.put_trunks([TRUNK, OTHER])
    assert len(kamailio.rows(registered)) == 2
    registrar.put_trunks([replace(TRUNK, suspended=True), OTHER])
    assert kamailio.rows(registered) == [(OTHER.sip_user,)]
    assert kamailio.preferences(TRUNK.sip_user)["suspended"] == "1"
    assert kamailio.numbers(TRUNK.sip_user) == list(TRUNK.numbers)
    registrar.put_trunks([TRUNK])
    assert "suspended" not in kamailio.preferences(TRUNK.sip_user)
    registrar.put_trunks([TRUNK, replace(OTHER, secret="another")])
    assert kamailio.rows(registered) == []


def test_what_has_changed_replaces_what_was(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_trunks([TRUNK, OTHER])
    [before] = kamailio.rows("SELECT ha1 FROM subscriber WHERE username = %s", TRUNK.sip_user)
    changed = replace(TRUNK, secret="Neu-789", channels=10, numbers=("+4930201", "+4930202"))
    assert registrar.put_trunks([changed]) == [None]
    assert kamailio.numbers(TRUNK.sip_user) == ["+4930201", "+4930202"]
    assert kamailio.preferences(TRUNK.sip_user) == changed.preferences
    assert kamailio.rows("SELECT ha1 FROM subscriber WHERE username = %s", TRUNK.sip_user) != [before]
    assert kamailio.numbers(OTHER.sip_user) == ["+4930300"]


def test_forwardings_are_told_by_condition_and_stretch_of_the_week(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    busy = Forwarding("busy", "+4930300", None, ((0, 480), (1080, 10080)))
    no_answer = Forwarding("no_answer", "+491511", 20, ALL_WEEK)
    registrar.put_trunks([replace(TRUNK, forwardings=(busy, no_answer))])
    assert kamailio.preferences(TRUNK.sip_user) == {
        **TRUNK.preferences,
        "forward.busy.0": "+4930300 0 480",
        "forward.busy.1080": "+4930300 0 10080",
        "forward.no_answer.0": "+491511 20 10080",
    }
    registrar.put_trunks([replace(TRUNK, forwardings=(no_answer,))])
    assert kamailio.preferences(TRUNK.sip_user) == {**TRUNK.preferences, "forward.no_answer.0": "+491511 20 10080"}


def test_a_forwarding_of_numbers_is_told_with_its_id(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    numbers = (999999999999900, 999999999999999)
    desk = Forwarding("not_registered", "+491511", None, ((0, 480), (10079, 10080)), numbers, id=10**12)
    assert registrar.put_trunks([replace(TRUNK, forwardings=(desk,))]) == [None]
    said = "not_registered 999999999999900 999999999999999"
    assert kamailio.preferences(TRUNK.sip_user) == {
        **TRUNK.preferences,
        "forward.1000000000000.0": f"+491511 0 480 {said}",
        "forward.1000000000000.10079": f"+491511 0 10080 {said}",
    }


def test_a_number_that_was_given_up_can_go_to_another_trunk(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_trunks([TRUNK])
    registrar.put_trunks([replace(TRUNK, numbers=("+4930200",))])
    assert registrar.put_trunks([replace(OTHER, numbers=("+4930201",))]) == [None]
    assert kamailio.numbers(OTHER.sip_user) == ["+4930201"]


@pytest.mark.parametrize(
    "thief",
    [
        replace(TRUNK, key="order-9", secret="Fremd-1", channels=30),
        replace(TRUNK, key="order-9", sip_user="t999999999999", numbers=("+4930999", "+4930201")),
    ],
    ids=["sip user", "number"],
)
def test_what_belongs_to_another_order_is_refused_and_the_others_are_written(
    registrar: KamailioRegistrar, kamailio: Kamailio, thief: TrunkRecord
) -> None:
    registrar.put_trunks([TRUNK])
    before = kamailio.everything()
    refused, written = registrar.put_trunks([thief, OTHER])
    assert isinstance(refused, GatewayRefused)
    assert isinstance(refused, NumberTaken) == (thief.sip_user != TRUNK.sip_user)
    assert written is None
    assert kamailio.numbers(OTHER.sip_user) == ["+4930300"]
    kept = kamailio.everything()
    assert {table: rows[: len(before[table])] for table, rows in kept.items()} == before
    assert "t999999999999" not in str(kept)


@pytest.mark.parametrize(
    "second",
    [replace(OTHER, numbers=TRUNK.numbers), replace(OTHER, sip_user=TRUNK.sip_user)],
    ids=["number", "sip user"],
)
def test_of_two_in_one_batch_that_want_the_same_one_gets_it(
    registrar: KamailioRegistrar, kamailio: Kamailio, second: TrunkRecord
) -> None:
    answers = registrar.put_trunks([TRUNK, second])
    assert [type(answer) for answer in answers] == [
        type(None),
        NumberTaken if second.sip_user != TRUNK.sip_user else GatewayRefused,
    ]
    assert kamailio.numbers(TRUNK.sip_user) == ["+4930200", "+4930201"]
    assert kamailio.preferences(TRUNK.sip_user) == TRUNK.preferences


def test_what_the_tables_cannot_hold_takes_no_other_down(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    too_long = replace(TRUNK, domain="sip." + "x" * 80)
    with_a_nul = replace(TRUNK, numbers=("+4930\x00",))
    answers = registrar.put_trunks([too_long, with_a_nul, OTHER])
    assert [type(answer) for answer in answers] == [GatewayRefused, GatewayRefused, type(None)]
    assert kamailio.rows("SELECT username FROM subscriber") == [(OTHER.sip_user,)]


def test_numbers_that_two_trunks_hold_of_each_other_come_home(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_trunks([TRUNK, OTHER])
    swapped = "CASE username WHEN %s THEN %s ELSE %s END"
    kamailio.rows(f"UPDATE dbaliases SET username = {swapped}", TRUNK.sip_user, OTHER.sip_user, TRUNK.sip_user)
    refused, written = registrar.put_trunks([TRUNK, OTHER])
    assert (type(refused), written) == (NumberTaken, None)
    assert registrar.put_trunks([TRUNK]) == [None]
    assert kamailio.numbers(TRUNK.sip_user) == list(TRUNK.numbers)
    assert kamailio.numbers(OTHER.sip_user) == list(OTHER.numbers)


def test_a_trunk_that_moves_has_no_old_location_although_one_number_is_refused(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    registrar.put_trunks([TRUNK, OTHER])
    moved = replace(TRUNK, numbers=("+4930201", *OTHER.numbers), postal_code="80331")
    for _ in range(2):
        [refused] = registrar.put_trunks([moved])
        assert isinstance(refused, NumberTaken)
        assert kamailio.numbers(TRUNK.sip_user) == ["+4930201"]
        assert kamailio.preferences(TRUNK.sip_user) == TRUNK.preferences | {"postal_code": "80331"}
    # Of a subscriber that another system has written, too.
    kamailio.rows("DELETE FROM usr_preferences WHERE username = %s", TRUNK.sip_user)
    foreign = "INSERT INTO usr_preferences (uuid, username, domain, attribute, value) VALUES ('', %s, %s, %s, '10179')"
    for name in ("postal_code", "rpid"):
        kamailio.rows(foreign, TRUNK.sip_user, TRUNK.domain, name)
    registrar.put_trunks([moved])
    assert kamailio.preferences(TRUNK.sip_user) == {"postal_code": "80331", "rpid": "10179"}
    registrar.put_trunks([replace(OTHER, numbers=("+4930301",))])
    assert registrar.put_trunks([moved]) == [None]
    assert kamailio.numbers(TRUNK.sip_user) == ["+4930201", "+4930300"]
    assert kamailio.preferences(TRUNK.sip_user) == moved.preferences


def test_blocks_are_told_once_and_as_they_are(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_blocks([Block(493030, 10), Block(493020, 1)])
    kamailio.rows("UPDATE own_numbers SET size = 100 WHERE first_number = 493020")
    for _ in range(2):
        registrar.put_blocks([Block(493020, 1), Block(493040, 10)])
    assert kamailio.rows("SELECT * FROM own_numbers ORDER BY 1") == [(493020, 1), (493030, 10), (493040, 10)]


def test_two_workers_with_the_same_trunk_write_it_once(registrar_url: str, kamailio: Kamailio) -> None:
    gateways = [KamailioRegistrar(registrar_url) for _ in range(4)]
    barrier = Barrier(len(gateways), timeout=30)

    def put(gateway: KamailioRegistrar) -> list[Any]:
        gateway.ping()
        barrier.wait(10)
        return [*gateway.put_trunks([TRUNK, OTHER]), *gateway.put_trunks([OTHER, TRUNK])]

    with ThreadPoolExecutor(len(gateways)) as workers:
        assert list(workers.map(put, gateways)) == [[None] * 4] * len(gateways)
    for gateway in gateways:
        gateway.close()
    counts = {table: len(rows) for table, rows in kamailio.everything().items()}
    assert counts == {"subscriber": 2, "dbaliases": 3, "usr_preferences": 8}


def test_without_its_database_it_is_unavailable_for_all() -> None:
    away = KamailioRegistrar(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar")
    assert [type(answer) for answer in away.put_trunks([TRUNK, OTHER])] == [GatewayUnavailable] * 2
    with pytest.raises(GatewayUnavailable):
        away.ping()
    with pytest.raises(GatewayUnavailable):
        away.put_blocks([Block(493020, 1)])


def test_a_lost_connection_is_made_again(registrar: KamailioRegistrar, kamailio: Kamailio) -> None:
    registrar.put_trunks([TRUNK])
    kamailio.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    [lost] = registrar.put_trunks([OTHER])
    assert isinstance(lost, GatewayUnavailable)
    assert kamailio.numbers(OTHER.sip_user) == []
    assert registrar.put_trunks([OTHER]) == [None]
    registrar.ping()


def test_a_server_that_has_become_read_only_refuses_no_trunk(
    registrar: KamailioRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateways.registrar._OPTIONS", "-c default_transaction_read_only=on")
    for records in ([TRUNK], [TRUNK, OTHER]):
        assert [type(answer) for answer in registrar.put_trunks(records)] == [GatewayUnavailable] * len(records)
    registrar.close()
    monkeypatch.undo()
    assert registrar.put_trunks([TRUNK]) == [None]


FAULTS = {
    "privilege": ("REVOKE INSERT ON dbaliases FROM {worker}", "GRANT INSERT ON dbaliases TO {worker}"),
    "table": ("ALTER TABLE usr_preferences RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO usr_preferences"),
    "column": ("ALTER TABLE location RENAME domain TO realm", "ALTER TABLE location RENAME realm TO domain"),
    "sequence": (
        "ALTER SEQUENCE dbaliases_id_seq MAXVALUE 2 RESTART WITH 2",
        "ALTER SEQUENCE dbaliases_id_seq NO MAXVALUE",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_an_operator_has_broken_and_mends_refuses_no_trunk(
    registrar: KamailioRegistrar, kamailio: Kamailio, fault: str
) -> None:
    broken, mended = (statement.format(worker=DatabaseRole.WORKER) for statement in FAULTS[fault])
    kamailio.rows(broken)
    try:
        for records in ([TRUNK], [TRUNK, OTHER]):
            assert [type(answer) for answer in registrar.put_trunks(records)] == [GatewayUnavailable] * len(records)
    finally:
        kamailio.rows(mended)
    assert registrar.put_trunks([TRUNK, OTHER]) == [None, None]


def test_an_id_that_another_row_has_already_holds_up_only_its_trunk(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    registrar.put_trunks([TRUNK])
    # As after a restore that left the sequence behind.
    kamailio.rows("SELECT setval('subscriber_id_seq', 1, false)")
    assert [type(answer) for answer in registrar.put_trunks([OTHER])] == [GatewayError]
    assert registrar.put_trunks([OTHER]) == [None]


def test_a_rule_of_the_tables_refuses_the_trunk_that_breaks_it(
    registrar: KamailioRegistrar, kamailio: Kamailio
) -> None:
    kamailio.rows("ALTER TABLE dbaliases ADD CONSTRAINT of_berlin CHECK (alias_username NOT LIKE '+49303%%')")
    try:
        written, refused = registrar.put_trunks([TRUNK, OTHER])
    finally:
        kamailio.rows("ALTER TABLE dbaliases DROP CONSTRAINT of_berlin")
    assert (written, type(refused)) == (None, GatewayRefused)


def test_a_row_that_somebody_holds_takes_no_other_down(
    registrar: KamailioRegistrar, kamailio: Kamailio, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrar.put_trunks([TRUNK])
    registrar.close()
    monkeypatch.setattr("workers.gateways.registrar._OPTIONS", "-c statement_timeout=5s -c lock_timeout=200ms")
    with psycopg.connect(plain_url(registrar_url)) as somebody:
        somebody.execute("SELECT * FROM usr_preferences FOR UPDATE")
        held, written = registrar.put_trunks([replace(TRUNK, channels=99), OTHER])
    # No outage: only this trunk has to be tried again.
    assert type(held) is GatewayError
    assert written is None
    assert registrar.put_trunks([replace(TRUNK, channels=99)]) == [None]


def test_after_a_few_held_rows_no_other_is_tried(
    registrar: KamailioRegistrar, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lock the rows of eight trunks and write all: three fail, the others are left for later without a try.

    Each try would wait for the lock until its time limit.
    """
    trunks = [replace(TRUNK, key=f"many{place}", sip_user=f"many{place}", numbers=()) for place in range(8)]
    assert registrar.put_trunks(trunks) == [None] * 8
    registrar.close()
    monkeypatch.setattr("workers.gateways.registrar._OPTIONS", "-c statement_timeout=5s -c lock_timeout=50ms")
    with psycopg.connect(plain_url(registrar_url)) as somebody:
        somebody.execute("SELECT * FROM usr_preferences FOR UPDATE")
        answers = registrar.put_trunks([replace(trunk, channels=99) for trunk in trunks])
    assert [str(answer) for answer in answers] == ["LockNotAvailable"] * 3 + ["left_for_later"] * 5
