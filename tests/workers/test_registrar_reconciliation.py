"""The registrar job against Kamailio's real tables: whatever is done to them by hand, then they are as our rows say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from models.findings import Finding, findings_of
from models.jobs import JobRun, Outcome
from models.session import Database
from models.telephony import SipTrunk, TrunkState, release_block
from models.vault import Vault
from tasks.jobs import run_job
from tasks.ports import Ports, Subscriber
from tasks.reconcile import JOBS, registrar
from tasks.steps import Runtime
from tasks.sync import write_due
from tests.fakes import FakeClock, FakeMailer, FakePrinter
from workers.demo_data import seed
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.gateways.subscribers import KamailioSubscribers
from workers.stack.ports import free_port

VAULT = Vault("a key for tests")
DOMAIN = "sip.example"
ROWS = (
    "SELECT username, domain, ha1, ha1b, password FROM subscriber",
    "SELECT alias_username, alias_domain, username, domain FROM dbaliases",
    "SELECT username, domain, attribute, value FROM usr_preferences",
)
STRANGERS = """
INSERT INTO subscriber (username, domain) SELECT %s || n, 'sip.example' FROM generate_series(1, %s) AS n
"""


@dataclass
class Network:
    """Our database, Kamailio's, and the job between them."""

    runtime: Runtime
    clock: FakeClock
    url: str

    def by_hand(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Somebody is at Kamailio's database."""
        with psycopg.connect(plain_url(self.url), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def everything(self) -> list[list[tuple[Any, ...]]]:
        """What Kamailio reads."""
        return [sorted(self.by_hand(rows)) for rows in ROWS]

    def run(self, *, dry: bool = False) -> JobRun:
        run = run_job(self.runtime, JOBS["registrar"], lambda: None, dry=dry, by_hand=True)
        assert run is not None and run.outcome is Outcome.DONE
        return run

    def findings(self, run: JobRun) -> list[Finding]:
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=100))

    def write(self) -> None:
        """What a worker does with a hint, until nothing is due any more."""
        for _ in range(3):
            write_due(self.runtime, more_due=lambda: None)
            self.clock.advance(self.runtime.retry.first * 2)

    def mended(self, before: list[list[tuple[Any, ...]]], *found: tuple[str, str]) -> None:
        """A dry run finds these and changes nothing; a run mends them; the next has nothing to do."""
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


@pytest.fixture
def network(database: Database, registrar_url: str, clock: FakeClock) -> Iterator[Network]:
    """The demo data's trunks, in our database and in Kamailio's."""
    writer = KamailioRegistrar(registrar_url)
    calls = KamailioCallRecords(registrar_url)
    ports = Ports(writer, FakeMailer(), FakePrinter(), KamailioSubscribers(registrar_url, page=7), calls)
    runtime = Runtime(database, ports, VAULT, clock, DOMAIN, "http://portal.example", "portal.example")
    seed(database, VAULT, DOMAIN, clock.now, registrar=writer)
    yield Network(runtime, clock, registrar_url)
    writer.close()


@pytest.fixture
def before(network: Network) -> list[list[tuple[Any, ...]]]:
    """Kamailio's tables as they should be."""
    return network.everything()


@pytest.fixture
def users(network: Network) -> list[str]:
    """The trunks' SIP users."""
    with network.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(SipTrunk.sip_user).order_by(SipTrunk.sip_user)))


def test_what_is_the_same_is_no_finding(network: Network, users: list[str]) -> None:
    run = network.run()
    assert (run.found, run.counts) == ({}, {"compared": len(users)})


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("missing_there", "DELETE FROM subscriber WHERE username = %s"),
        ("differs_there", "DELETE FROM dbaliases WHERE username = %s"),
        ("differs_there", "DELETE FROM usr_preferences WHERE username = %s"),
        ("differs_there", "UPDATE subscriber SET ha1 = 'x' WHERE username = %s"),
        ("differs_there", "UPDATE subscriber SET ha1b = 'x' WHERE username = %s"),
        ("differs_there", "UPDATE subscriber SET password = 'in clear' WHERE username = %s"),
        ("differs_there", "UPDATE usr_preferences SET value = '99' WHERE attribute = 'channels' AND username = %s"),
        ("differs_there", "UPDATE usr_preferences SET value = 'x' WHERE attribute = 'provision_key' AND username = %s"),
        ("differs_there", "UPDATE dbaliases SET alias_username = alias_username || '9' WHERE username = %s"),
        ("differs_there", "UPDATE dbaliases SET alias_domain = 'elsewhere' WHERE username = %s"),
        (
            "differs_there",
            "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES (%s, 'sip.example', 'more', '1')",
        ),
        (
            "doubled_there",
            "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
            " SELECT alias_username, alias_domain, username, domain FROM dbaliases WHERE username = %s",
        ),
        (
            "doubled_there",
            "INSERT INTO usr_preferences (username, domain, attribute, value)"
            " SELECT username, domain, attribute, value FROM usr_preferences WHERE username = %s",
        ),
        (
            "differs_there",
            "INSERT INTO usr_preferences (username, domain, attribute, value)"
            " SELECT username, domain, attribute, value || '0' FROM usr_preferences WHERE username = %s",
        ),
    ],
)
def test_what_was_done_to_a_trunk_is_undone(
    network: Network, before: list[Any], users: list[str], kind: str, statement: str
) -> None:
    network.by_hand(statement, users[3])
    network.mended(before, (kind, users[3]))


def test_a_trunk_that_is_gone_without_a_trace_comes_back(network: Network, before: list[Any], users: list[str]) -> None:
    for table in ("subscriber", "dbaliases", "usr_preferences"):
        network.by_hand(f"DELETE FROM {table} WHERE username = ANY(%s)", [users[0], users[-1]])
    network.mended(before, ("missing_there", users[0]), ("missing_there", users[-1]))


def test_a_trunk_without_subscriber_under_a_foreign_key_comes_back(
    network: Network, before: list[Any], users: list[str]
) -> None:
    network.by_hand("DELETE FROM subscriber WHERE username = %s", users[2])
    network.by_hand(
        "UPDATE usr_preferences SET value = 'x' WHERE attribute = 'provision_key' AND username = %s", users[2]
    )
    network.mended(before, ("missing_there", users[2]))


def test_a_number_that_was_given_to_another_trunk_goes_back(
    network: Network, before: list[Any], users: list[str]
) -> None:
    # Once to one that is written before it and once to one that is written after it.
    for taken, given in ((1, 0), (2, 5)):
        network.by_hand("UPDATE dbaliases SET username = %s WHERE username = %s", users[given], users[taken])
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
def test_what_no_trunk_of_ours_has_is_taken_away(
    network: Network, before: list[Any], user: str, statement: str
) -> None:
    network.by_hand(statement, user)
    network.mended(before, ("unknown_there", user))


def test_our_sip_user_in_a_foreign_domain_is_not_ours(network: Network, before: list[Any], users: list[str]) -> None:
    for domain in ("a.example", "z.example"):
        network.by_hand("INSERT INTO subscriber (username, domain, ha1) VALUES (%s, %s, 'x')", users[1], domain)
    network.mended(before, ("unknown_there", users[1]), ("unknown_there", users[1]))


def test_a_stranger_with_one_of_our_numbers_keeps_it_no_longer(
    network: Network, before: list[Any], users: list[str]
) -> None:
    network.by_hand("UPDATE dbaliases SET username = 'zz-stranger' WHERE username = %s", users[0])
    network.mended(before, ("differs_there", users[0]), ("unknown_there", "zz-stranger"))


def test_a_suspended_trunk_is_not_in_the_registrar(network: Network, before: list[Any], users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one().state = TrunkState.SUSPENDED
    without = [[row for row in rows if users[4] not in row] for rows in before]
    network.mended(without, ("still_there", users[4]))


def test_numbers_that_were_released_leave_the_registrar(network: Network, before: list[Any], users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        query = sa.select(SipTrunk).where(SipTrunk.sip_user == users[4]).options(sa.orm.selectinload(SipTrunk.blocks))
        [block] = session.scalars(query).one().blocks
        numbers = block.numbers
        release_block(block, network.clock.now)
    without = [[row for row in rows if row[0] not in numbers] for rows in before]
    network.mended(without, ("differs_there", users[4]))


def test_everything_at_once(network: Network, before: list[Any], users: list[str]) -> None:
    network.by_hand("TRUNCATE dbaliases, usr_preferences")
    network.by_hand("UPDATE subscriber SET ha1 = ''")
    network.by_hand(
        "INSERT INTO subscriber (username, domain) SELECT 's' || n, 'sip.example' FROM generate_series(1, 30) n"
    )
    network.mended(
        before,
        *[("differs_there", user) for user in users],
        *[("unknown_there", f"s{number}") for number in range(1, 31)],
    )


def test_without_the_registrar_the_run_fails_and_says_so(network: Network) -> None:
    away = KamailioSubscribers(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar")
    ports = replace(network.runtime.ports, subscribers=away)
    run = run_job(replace(network.runtime, ports=ports), JOBS["registrar"], lambda: None)
    assert run is not None
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('OperationalError')")


def test_twenty_thousand_subscribers_are_never_in_memory_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of either side stay small; so does what is looked up, settled and written down of each page."""
    monkeypatch.setattr(registrar, "PAGE", 100)
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
    """How many pages there were, and how large the largest was."""

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
        network.by_hand("INSERT INTO subscriber (username, domain) VALUES (%s, 'sip.example')", user)
    found: list[Subscriber] = list(KamailioSubscribers(registrar_url, page=2).read())
    assert [one.address for one in found] == sorted(one.address for one in found)
    assert set(odd) <= {one.sip_user for one in found}
