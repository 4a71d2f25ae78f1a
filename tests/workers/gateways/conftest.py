"""Fixtures of the gateways' tests: Kamailio's database with the trunks of the demo data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.telephony.forwarding import CallForwarding
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.ports import Ports
from tasks.runtime import Runtime
from tests.fakes import FakeClock, FakeMailer, FakePrinter
from tests.snapshots import written_once
from tests.workers.gateways.kamailio_tables import DOMAIN, VAULT, Network, Tables
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
    """Provide the portal's database with the trunks of the demo data and sixty free number blocks.

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
    """Return the rows of Kamailio's tables as they are before the test changes any."""
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
