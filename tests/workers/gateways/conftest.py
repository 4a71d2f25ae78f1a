"""Fixtures of the gateways' tests: the portal's and Kamailio's databases with the trunks of the demo data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.telephony.forwarding import CallForwarding
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.ports import Ports
from tasks.runtime import Runtime
from tests.factories import make_account
from tests.fakes import FakeClock, FakeMailer, FakePrinter
from tests.snapshots import written_once
from tests.workers.gateways.kamailio_tables import DOMAIN, VAULT, Network, Tables
from tests.workers.gateways.trunk_files import ALIASES, HA1, HA1B, HEADER, SUBSCRIBER, Take
from workers.accounts.customer_import import Finding
from workers.accounts.trunk_import import TrunkImport, TrunkSummary, open_trunks
from workers.demo.seed import seed
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.gateways.subscribers import KamailioSubscribers


@pytest.fixture
def network(
    database: Database,
    owner_database: Database,
    portal_url: str,
    registrar_url: str,
    worker_registrar_url: str,
    clock: FakeClock,
) -> Iterator[Network]:
    """Provide the portal's database with the trunks of the demo data and sixty free number blocks, as a `Network`.

    Kamailio's database has the same trunks and numbers, and a registration at each trunk.
    """
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
    """Return the rows of Kamailio's tables as they are before the test changes them."""
    return network.everything()


@pytest.fixture
def users(network: Network) -> list[str]:
    """Return the SIP users of all trunks in the portal, sorted."""
    with network.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(SipTrunk.sip_user).order_by(SipTrunk.sip_user)))


@pytest.fixture
def forwarding(network: Network) -> str:
    """Return the SIP user of the only trunk in the portal that forwards calls."""
    with network.runtime.database.transaction() as session:
        forwards = sa.select(CallForwarding.account_id)
        return session.scalars(sa.select(SipTrunk.sip_user).where(SipTrunk.account_id.in_(forwards))).one()


@pytest.fixture
def account(network: Network, owner_database: Database) -> Account:
    """Return an account without trunks. Kamailio's database then has two trunks that the portal does not know."""
    network.by_hand(SUBSCRIBER, ["old1", "in-the-clear", "", ""])
    network.by_hand(SUBSCRIBER, ["old2", "", HA1, HA1B])
    network.by_hand(ALIASES, ["old1", 495219999800, 495219999911])
    network.by_hand(ALIASES, ["old2", 4930123456, 4930123456])
    with owner_database.transaction() as session:
        return make_account(session)


@pytest.fixture
def take(network: Network, worker_registrar_url: str, tmp_path: Path) -> Take:
    """Provide a function that writes lines to a CSV file of trunks and imports it.

    Its parameters are the lines and, as keyword, `dry` for a dry run. It returns a summary, which counts the rows and
    what became of them, and all findings: problems of rows, or remarks on them.
    """

    def take(*lines: str, dry: bool = False) -> tuple[TrunkSummary, list[Finding]]:
        file = tmp_path / "trunks.csv"
        file.write_text("\n".join([HEADER, *lines, ""]))
        findings: list[Finding] = []
        clock, database = network.runtime.clock, network.runtime.database
        there = KamailioSubscribers(worker_registrar_url)
        with open_trunks(file) as table:
            run = TrunkImport(database, there, VAULT, clock, DOMAIN, findings.append, lambda _: None, dry=dry)
            return run.run(table), findings

    return take
