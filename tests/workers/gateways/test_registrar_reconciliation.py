"""Tests that the job `registrar` repairs every manual change of Kamailio's real tables from the portal's data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.jobs.findings import Finding, findings_of
from models.jobs.jobs import JobRun, Outcome
from models.telephony.forwarding import CallForwarding
from models.telephony.number_pool import release_block
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from models.vault import Vault
from tasks.ports import Ports, Subscriber
from tasks.reconcile import merge_compare as sides
from tasks.reconcile import registrar
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tasks.wording.findings import finding_text
from tests.due_work import sync_registrar
from tests.fakes import FakeClock, FakeMailer, FakePrinter
from tests.snapshots import written_once
from workers.demo.seed import seed
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.gateways.subscribers import KamailioSubscribers
from workers.stack.ports import free_port

VAULT = Vault("a key for tests")
DOMAIN = "sip.example"
ROWS = (
    "SELECT username, domain, ha1, ha1b, password FROM subscriber",
    "SELECT alias_username, alias_domain, username, domain FROM dbaliases",
    "SELECT username, domain, attribute, value, uuid, type FROM usr_preferences",
    "SELECT username, domain, contact, ruid FROM location",
    "SELECT first_number, size FROM own_numbers",
)
Tables = list[list[tuple[Any, ...]]]
STRANGERS = """
INSERT INTO subscriber (username, domain) SELECT %s || n, 'sip.example' FROM generate_series(1, %s) AS n
"""


@dataclass
class Network:
    """The portal's database, Kamailio's database, and methods that run and check the scheduled job `registrar`."""

    runtime: Runtime
    clock: FakeClock
    kamailio: psycopg.Connection

    def by_hand(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Execute a statement directly in Kamailio's database, bypassing the portal, and return its rows."""
        cursor = self.kamailio.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def everything(self) -> Tables:
        """Return the rows of all tables that Kamailio reads, sorted, without row numbers and dates."""
        return [sorted(self.by_hand(rows), key=str) for rows in ROWS]

    def run(self, *, dry: bool = False, allow_removals: bool = False) -> JobRun:
        run = run_job(self.runtime, JOBS["registrar"], dry=dry, by_hand=True, allow_removals=allow_removals)
        assert run is not None and run.outcome is Outcome.DONE
        return run

    def findings(self, run: JobRun) -> list[Finding]:
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=100))

    def write(self) -> None:
        """Write due trunks and number blocks to the registrar, as a worker does, with time enough for retries."""
        for _ in range(3):
            sync_registrar(self.runtime)
            self.clock.advance(self.runtime.retry.first * 2)

    def mended(self, before: Tables, *found: tuple[str, str]) -> list[Finding]:
        """Assert that the job finds exactly `found`, all repaired, and that Kamailio's tables then equal `before`.

        `found` are pairs of kind and subject. A dry run has the same findings and changes nothing; a further run finds
        nothing. Return the findings of the real run.
        """
        spoilt = self.everything()
        dry = self.findings(self.run(dry=True))
        assert self.everything() == spoilt
        real = self.findings(self.run())
        for findings in (dry, real):
            assert sorted((finding.kind, finding.subject) for finding in findings) == sorted(found)
            assert all(finding.repaired for finding in findings)
        self.write()
        assert self.everything() == before
        assert self.run().found == {}
        return real


@pytest.fixture
def network(
    database: Database,
    owner_database: Database,
    portal_url: str,
    registrar_url: str,
    worker_registrar_url: str,
    clock: FakeClock,
) -> Iterator[Network]:
    """Provide the portal's database with the demo data's trunks and sixty free blocks, and Kamailio's with the same."""
    writer = KamailioRegistrar(worker_registrar_url)
    calls = KamailioCallRecords(worker_registrar_url)
    ports = Ports(writer, FakeMailer(), FakePrinter(), KamailioSubscribers(worker_registrar_url, page=20), calls)
    runtime = Runtime(database, ports, VAULT, clock, DOMAIN, "http://portal.example", "portal.example")
    kamailio = psycopg.connect(plain_url(registrar_url), autocommit=True)
    found = Network(runtime, clock, kamailio)

    def write() -> datetime:
        seed(database, VAULT, DOMAIN, clock.now, registrar=writer)
        with owner_database.transaction() as session:
            # Sixty free blocks say as much as the demo's two thousand, which each run would compare.
            few = sa.select(NumberBlock.id).where(NumberBlock.account_id.is_(None)).order_by(NumberBlock.id).limit(60)
            surplus = sa.and_(NumberBlock.account_id.is_(None), NumberBlock.id.not_in(few))
            announced = sa.select(NumberBlock.id).where(surplus)
            session.execute(sa.delete(BlockAnnouncement).where(BlockAnnouncement.block_id.in_(announced)))
            session.execute(sa.delete(NumberBlock).where(surplus))
        found.write()
        found.by_hand(
            "INSERT INTO location (ruid, username, domain, contact)"
            " SELECT username, username, domain, 'sip:' || username || '@192.0.2.7' FROM subscriber"
        )
        return clock.now

    clock.now = written_once("network", [portal_url, registrar_url], write)
    yield found
    writer.close()
    kamailio.close()


@pytest.fixture
def before(network: Network) -> Tables:
    """Return the contents of Kamailio's tables before the test changes anything."""
    return network.everything()


@pytest.fixture
def users(network: Network) -> list[str]:
    """Return the SIP users of all trunks in the portal, sorted."""
    with network.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(SipTrunk.sip_user).order_by(SipTrunk.sip_user)))


@pytest.fixture
def forwarding(network: Network) -> str:
    """Return the SIP user of the only trunk that forwards calls."""
    with network.runtime.database.transaction() as session:
        forwards = sa.select(CallForwarding.account_id)
        return session.scalars(sa.select(SipTrunk.sip_user).where(SipTrunk.account_id.in_(forwards))).one()


def test_what_is_the_same_is_no_finding(network: Network, before: Tables, users: list[str]) -> None:
    run = network.run()
    assert (run.found, run.counts) == ({}, {"compared": len(users), "blocks": len(before[-1])})


FORWARDED = "forward.busy.0"
OF_A_NUMBER = "attribute ~ '^forward[.][0-9]'"
MINE = "WHERE username = %(user)s"
ADD = "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES"
ALIAS = "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        (f"DELETE FROM subscriber {MINE}", "missing_there", ["secret"]),
        (f"UPDATE subscriber SET ha1 = 'x' {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET ha1b = 'x' {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET ha1 = ha1b, ha1b = ha1 {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET password = 'in clear' {MINE}", "differs_there", ["secret"]),
        (f"DELETE FROM dbaliases {MINE}", "differs_there", ["numbers"]),
        (f"DELETE FROM dbaliases {MINE} AND alias_username LIKE '%%7'", "differs_there", ["numbers"]),
        (f"UPDATE dbaliases SET alias_username = alias_username || '9' {MINE}", "differs_there", ["numbers"]),
        (f"UPDATE dbaliases SET alias_domain = 'elsewhere' {MINE}", "differs_there", ["numbers"]),
        (f"{ALIAS} VALUES ('+4989123', 'sip.example', %(user)s, 'sip.example')", "differs_there", ["numbers"]),
        (
            f"{ALIAS} SELECT alias_username, alias_domain, username, domain FROM dbaliases {MINE}",
            "doubled_there",
            ["doubled"],
        ),
        (
            f"{ALIAS} SELECT alias_username, 'elsewhere', username, domain FROM dbaliases {MINE}",
            "differs_there",
            ["numbers"],
        ),
        (
            f"DELETE FROM usr_preferences {MINE}",
            "differs_there",
            ["secret", "provision_key", "channels", "postal_code", "forwardings"],
        ),
        (f"{ADD} (%(user)s, 'sip.example', 'more', '1')", "differs_there", ["preferences"]),
        (f"{ADD} (%(user)s, 'sip.example', 'deny.0', '252')", "differs_there", ["destinations"]),
        (
            f"UPDATE usr_preferences SET attribute = 'forward.busy.7' {MINE} AND attribute = '{FORWARDED}'",
            "differs_there",
            ["forwardings"],
        ),
        (
            f"{ADD} (%(user)s, 'sip.example', 'forward.always.0', '+4930999 0 10080')",
            "differs_there",
            ["forwardings"],
        ),
        (f"DELETE FROM usr_preferences {MINE} AND {OF_A_NUMBER}", "differs_there", ["forwardings"]),
        (
            f"UPDATE usr_preferences SET value = left(value, -1) || '1' {MINE} AND {OF_A_NUMBER}",
            "differs_there",
            ["forwardings"],
        ),
    ],
)
def test_what_was_done_to_a_trunk_is_undone(
    network: Network, before: Tables, forwarding: str, statement: str, kind: str, what: list[str]
) -> None:
    network.by_hand(statement, {"user": forwarding})
    [found] = network.mended(before, (kind, forwarding))
    assert found.facts["what"] == what
    assert forwarding in finding_text(found, "de")


COPY = (
    "INSERT INTO usr_preferences (uuid, username, domain, attribute, value) SELECT uuid, username, domain, attribute,"
)
OF_A_NAME = f"{MINE} AND attribute = %(name)s"


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        (f"DELETE FROM usr_preferences {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET value = '99' {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET value = '' {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET attribute = 'unknown' {OF_A_NAME}", "differs_there", ["{}", "preferences"]),
        (f"UPDATE usr_preferences SET uuid = 'unknown' {OF_A_NAME}", "differs_there", ["preferences"]),
        (f"UPDATE usr_preferences SET type = 1 {OF_A_NAME}", "differs_there", ["preferences"]),
        (f"{COPY} value FROM usr_preferences {OF_A_NAME}", "doubled_there", ["doubled"]),
        (f"{COPY} '98' FROM usr_preferences {OF_A_NAME}", "differs_there", ["{}"]),
    ],
)
def test_what_was_done_to_a_preference_is_undone(
    network: Network, before: Tables, users: list[str], forwarding: str, statement: str, kind: str, what: list[str]
) -> None:
    others = [user for user in users if user != forwarding]
    names = dict(zip(["channels", "postal_code", "provision_key"], others, strict=False)) | {FORWARDED: forwarding}
    for name, user in names.items():
        network.by_hand(statement, {"user": user, "name": name})
    found = network.mended(before, *[(kind, user) for user in names.values()])
    words = {user: "forwardings" if name == FORWARDED else name for name, user in names.items()}
    for finding in found:
        assert finding.facts["what"] == [part.format(words[finding.subject]) for part in what]


def test_the_registrar_itself_has_no_subscriber_and_no_block_twice(network: Network) -> None:
    for table, columns in (("subscriber", "username, domain"), ("own_numbers", "first_number, size")):
        with pytest.raises(psycopg.errors.UniqueViolation):
            network.by_hand(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1")


@pytest.mark.parametrize("column", ["username = 'zz-nobody'", "domain = 'elsewhere'"])
@pytest.mark.parametrize(
    ("table", "kind"),
    [("subscriber", "missing_there"), ("dbaliases", "differs_there"), ("usr_preferences", "differs_there")],
)
def test_rows_that_were_given_to_nobody_come_back(
    network: Network, before: Tables, users: list[str], table: str, kind: str, column: str
) -> None:
    network.by_hand(f"UPDATE {table} SET {column} WHERE username = %s", [users[5]])
    stranger = "zz-nobody" if "nobody" in column else users[5]
    network.mended(before, (kind, users[5]), ("unknown_there", stranger))


def test_preferences_that_were_given_to_another_trunk_come_back(
    network: Network, before: Tables, users: list[str], forwarding: str
) -> None:
    others = [user for user in users if user != forwarding]
    for name, other in zip(["channels", "postal_code", "provision_key", FORWARDED], others, strict=False):
        facts = {"user": forwarding, "name": name, "other": other}
        network.by_hand(f"UPDATE usr_preferences SET username = %(other)s {OF_A_NAME}", facts)
    network.mended(before, *[("differs_there", user) for user in [forwarding, *others[:4]]])


def test_a_number_that_leads_to_another_trunk_too_leads_to_one(
    network: Network, before: Tables, users: list[str]
) -> None:
    for user in (users[8], "zz-nobody"):
        network.by_hand(
            f"{ALIAS} SELECT alias_username, alias_domain, %s, domain FROM dbaliases WHERE username = %s",
            [user, users[2]],
        )
    network.mended(before, ("differs_there", users[8]), ("unknown_there", "zz-nobody"))


def test_trunks_that_have_each_others_numbers_get_their_own_back(
    network: Network, before: Tables, users: list[str]
) -> None:
    ring = dict(zip(users[:4], [*users[1:4], users[0]], strict=True))
    network.by_hand(
        "UPDATE dbaliases SET username = others.next FROM unnest(%s::text[], %s::text[]) AS others (user_name, next)"
        " WHERE username = others.user_name",
        [list(ring), list(ring.values())],
    )
    network.mended(before, *[("differs_there", user) for user in ring])


@pytest.mark.parametrize(
    "address", ["'zz-nobody', 'sip.example'", "%(user)s, 'elsewhere'", "%(user)s, NULL", "%(user)s, ''", "'', ''"]
)
def test_a_phone_that_is_registered_as_nobody_is_registered_no_more(
    network: Network, before: Tables, users: list[str], address: str
) -> None:
    for number in (1, 2):
        network.by_hand(
            f"INSERT INTO location (ruid, username, domain, contact) VALUES ('{number}', {address}, 'sip:x@192.0.2.1')",
            {"user": users[0]},
        )
    subject = address.split(",")[0].strip("'").replace("%(user)s", users[0])
    [found] = network.mended(before, ("unknown_there", subject))
    assert found.facts["what"] == ["registration"]
    assert finding_text(found, "en").endswith("(registration of a phone); we do not.")


def test_a_closed_trunk_is_not_registered(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one().state = TrunkState.CLOSED
    for table in ("subscriber", "dbaliases", "usr_preferences"):
        network.by_hand(f"DELETE FROM {table} WHERE username = %s", [users[4]])
    network.mended([[row for row in rows if users[4] not in row] for rows in before], ("still_there", users[4]))


@pytest.mark.parametrize(
    ("statement", "kinds", "number"),
    [
        ("DELETE FROM own_numbers WHERE first_number = %(first)s", ["missing"], "first"),
        ("UPDATE own_numbers SET size = 7 WHERE first_number = %(first)s", ["missing"], "first"),
        ("UPDATE own_numbers SET first_number = 4989123 WHERE first_number = %(first)s", ["missing", "unknown"], ""),
        ("INSERT INTO own_numbers VALUES (4989123, 10)", ["unknown"], "other"),
        ("INSERT INTO own_numbers VALUES (%(first)s + 1, 1)", ["unknown"], ""),
        ("INSERT INTO own_numbers VALUES (-1, 0), (9223372036854775807, 1)", ["unknown", "unknown"], ""),
    ],
)
def test_the_numbers_that_are_ours_are_told_again(
    network: Network, before: Tables, statement: str, kinds: list[str], number: str
) -> None:
    first = before[-1][20][0]
    network.by_hand(statement, {"first": first})
    found = network.run(dry=True)
    assert found.found == Counter(f"block_{kind}_there" for kind in kinds)
    said = finding_text(network.findings(found)[0], "de")
    assert {"first": f"+{first}", "other": "+4989123"}.get(number, "+") in said
    subjects = [(finding.kind, finding.subject) for finding in network.findings(found)]
    network.mended(before, *subjects)


def test_so_many_strange_numbers_are_more_likely_our_mistake(
    network: Network, before: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "MOST_REMOVED", 3)
    network.by_hand("INSERT INTO own_numbers SELECT n, 1 FROM generate_series(1, 4) AS n")
    network.by_hand(STRANGERS, ["s", 2])
    [finding] = network.findings(network.run())
    assert (finding.kind, finding.facts["count"], finding.repaired) == ("too_many_unknown_blocks", 4, False)
    assert "4 Rufnummernblöcke, die nicht von uns sind" in finding_text(finding, "de")
    network.by_hand("DELETE FROM own_numbers WHERE first_number = 1")
    strangers = [*[("block_unknown_there", f"+{first}") for first in (2, 3, 4)]]
    network.mended(before, *strangers, ("unknown_there", "s1"), ("unknown_there", "s2"))


def test_after_an_older_backup_was_restored_nothing_is_removed(
    network: Network, before: Tables, users: list[str], portal_url: str
) -> None:
    newer = users[:2]
    with closing(Database(portal_url)) as superuser, superuser.transaction() as session:
        session.execute(sa.text("SET LOCAL session_replication_role = replica"))
        trunks = sa.select(SipTrunk.id).where(SipTrunk.sip_user.in_(newer))
        session.execute(
            sa.update(NumberBlock).where(NumberBlock.trunk_id.in_(trunks)).values(account_id=None, trunk_id=None)
        )
        session.execute(sa.delete(SipTrunk).where(SipTrunk.sip_user.in_(newer)))
    network.by_hand(STRANGERS, ["s", 2])
    strangers = network.everything()
    run = network.run()
    assert sorted((finding.subject, finding.repaired) for finding in network.findings(run)) == [
        (user, False) for user in sorted(newer)
    ]
    assert run.found == {"forgotten_here": 2}
    assert "ältere Sicherung" in finding_text(network.findings(run)[0], "de")
    assert network.everything() == strangers != before
    # Somebody has looked, and knows that nobody uses them.
    allowed = network.run(allow_removals=True)
    assert allowed.found == {"forgotten_here": 2, "unknown_there": 2}
    assert allowed.unrepaired == 0
    assert network.run().found == {}


def test_more_than_a_small_share_of_strangers_is_more_likely_our_mistake(network: Network, before: Tables) -> None:
    few = sides.FEW_REMOVED
    network.by_hand(STRANGERS, ["s", few + 1])
    strangers = network.everything()
    run = network.run()
    assert run.found == {"too_many_unknown": 1}
    assert network.everything() == strangers
    network.by_hand("DELETE FROM subscriber WHERE username = 's1'")
    assert network.run().found == {"unknown_there": few}
    assert network.everything() == before


def test_all_that_is_gone_is_provisioned_afresh(network: Network, before: Tables, users: list[str]) -> None:
    network.by_hand("TRUNCATE subscriber, dbaliases, usr_preferences, own_numbers")
    # The phones stay registered, and are no finding.
    run = network.run()
    assert run.found == {"missing_there": len(users), "block_missing_there": len(before[-1])}
    network.write()
    assert network.everything() == before
    assert network.run().found == {}


def test_a_trunk_that_is_gone_without_a_trace_comes_back(network: Network, before: Tables, users: list[str]) -> None:
    for table in ("subscriber", "dbaliases", "usr_preferences"):
        network.by_hand(f"DELETE FROM {table} WHERE username = ANY(%s)", [[users[0], users[-1]]])
    network.mended(before, ("missing_there", users[0]), ("missing_there", users[-1]))


def test_a_trunk_without_subscriber_under_a_foreign_key_comes_back(
    network: Network, before: Tables, users: list[str]
) -> None:
    network.by_hand("DELETE FROM subscriber WHERE username = %s", [users[2]])
    network.by_hand(
        "UPDATE usr_preferences SET value = 'x' WHERE attribute = 'provision_key' AND username = %s", [users[2]]
    )
    network.mended(before, ("missing_there", users[2]))


def test_a_number_that_was_given_to_another_trunk_goes_back(network: Network, before: Tables, users: list[str]) -> None:
    # Given once to a trunk that is written before the owner, and once to one that is written after it.
    for taken, given in ((1, 0), (2, 5)):
        network.by_hand("UPDATE dbaliases SET username = %s WHERE username = %s", [users[given], users[taken]])
    network.mended(before, *[("differs_there", users[place]) for place in (0, 1, 2, 5)])


@pytest.mark.parametrize("user", ["a-stranger", "t000000000000", "zz", "Ä", "t1'; --"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO subscriber (username, domain, ha1) VALUES (%s, 'sip.example', 'x')",
        "INSERT INTO dbaliases (username, domain, alias_username) VALUES (%s, 'sip.example', '+49301')",
        "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES (%s, 'sip.example', 'channels', '9')",
    ],
)
def test_what_no_trunk_of_ours_has_is_taken_away(network: Network, before: Tables, user: str, statement: str) -> None:
    network.by_hand(statement, [user])
    network.mended(before, ("unknown_there", user))


def test_our_sip_user_in_a_foreign_domain_is_not_ours(network: Network, before: Tables, users: list[str]) -> None:
    for domain in ("a.example", "z.example"):
        network.by_hand("INSERT INTO subscriber (username, domain, ha1) VALUES (%s, %s, 'x')", [users[1], domain])
    network.mended(before, ("unknown_there", users[1]), ("unknown_there", users[1]))


def test_a_stranger_with_one_of_our_numbers_keeps_it_no_longer(
    network: Network, before: Tables, users: list[str]
) -> None:
    network.by_hand("UPDATE dbaliases SET username = 'zz-stranger' WHERE username = %s", [users[0]])
    network.mended(before, ("differs_there", users[0]), ("unknown_there", "zz-stranger"))


def test_a_closed_trunk_is_not_in_the_registrar(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one().state = TrunkState.CLOSED
    without = [[row for row in rows if users[4] not in row] for rows in before]
    network.mended(without, ("still_there", users[4]))


def test_a_suspended_trunk_has_one_row_more(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one()
        trunk.suspend(SuspendedBy.CUSTOMER, network.clock.now)
        trunk.rest()
    [channels] = [row for row in before[2] if row[0] == users[4] and row[2] == "channels"]
    before[2] = sorted([*before[2], (*channels[:2], "suspended", "1", *channels[4:])], key=str)
    before[3] = [row for row in before[3] if row[0] != users[4]]
    network.mended(before, ("differs_there", users[4]))


def test_numbers_that_were_released_leave_the_registrar(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        query = sa.select(SipTrunk).where(SipTrunk.sip_user == users[4]).options(sa.orm.selectinload(SipTrunk.blocks))
        [block] = session.scalars(query).one().blocks
        numbers = block.numbers
        release_block(block, network.clock.now)
    without = [[row for row in rows if row[0] not in numbers] for rows in before]
    network.mended(without, ("differs_there", users[4]))


def test_everything_at_once(network: Network, before: Tables, users: list[str]) -> None:
    network.by_hand("TRUNCATE dbaliases, usr_preferences")
    network.by_hand("UPDATE subscriber SET ha1 = ''")
    network.by_hand(
        "INSERT INTO subscriber (username, domain) SELECT 's' || n, 'sip.example' FROM generate_series(1, 15) n"
    )
    network.mended(
        before,
        *[("differs_there", user) for user in users],
        *[("unknown_there", f"s{number}") for number in range(1, 16)],
    )


def test_without_the_registrar_the_run_fails_and_says_so(network: Network) -> None:
    away = KamailioSubscribers(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar")
    ports = replace(network.runtime.ports, subscribers=away)
    run = run_job(replace(network.runtime, ports=ports), JOBS["registrar"])
    assert run is not None
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('OperationalError')")


def test_twenty_thousand_subscribers_are_never_in_memory_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect pages of at most 100 rows on both sides, also in each look-up, repair and list of findings."""
    monkeypatch.setattr(sides, "PAGE", 100)
    with network.runtime.database.transaction() as session:
        session.execute(sa.text(MANY), {"count": 10_000, "domain": DOMAIN, "secret": VAULT.seal("geheim")})
    network.by_hand(
        "INSERT INTO subscriber (username, domain) SELECT 'x' || n, 'sip.example' FROM generate_series(1, 20000) n"
    )
    pages = Pages()
    monkeypatch.setattr(psycopg.ServerCursor, "fetchmany", pages.spy(psycopg.ServerCursor.fetchmany))
    monkeypatch.setattr(registrar, "_read", pages.spy(registrar._read))
    monkeypatch.setattr(KamailioSubscribers, "look_up", pages.spy(KamailioSubscribers.look_up))

    run = network.run(dry=True)

    assert run.found == {"missing_there": 10_000, "too_many_unknown": 1}
    assert run.counts["compared"] == 30_013
    assert pages.count > 20_000 / 100
    assert pages.largest <= 100
    assert len(network.findings(run)) == 100


class Pages:
    """Counts the pages that watched functions return, and keeps the size of the largest."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0

    def spy(self, real: Any) -> Any:
        def watched(*arguments: Any, **named: Any) -> Any:
            page = real(*arguments, **named)
            self.count += 1
            self.largest = max(self.largest, len(page))
            return page

        return watched


MANY = """
WITH somebody AS (SELECT account_id, contract_id FROM sip_trunks LIMIT 1)
INSERT INTO sip_trunks (account_id, contract_id, sip_user, domain, secret, channels, state, created_at, attempts)
SELECT account_id, contract_id, 'u' || n, :domain, :secret, 2, 'active', now(), 0
FROM somebody, generate_series(1, :count) AS n
"""


def test_the_registrars_rows_come_in_the_order_of_their_bytes(network: Network, registrar_url: str) -> None:
    odd = ["Zz", "aa", "t-1", "t1", "ä", "t_1", "T1", ""]
    for user in odd:
        network.by_hand("INSERT INTO subscriber (username, domain) VALUES (%s, 'sip.example')", [user])
    found: list[Subscriber] = list(KamailioSubscribers(registrar_url, page=2).read())
    assert [one.address for one in found] == sorted(one.address for one in found)
    assert set(odd) <= {one.sip_user for one in found}
