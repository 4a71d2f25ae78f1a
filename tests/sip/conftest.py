"""Fixtures of the telephony tests: Kamailio, locations that are ordered, and their phone systems.

sipp or a real softphone plays the phone systems.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.jobs.findings import Finding, findings_of
from models.people.rights import Principal
from models.requests.requests import Request
from models.states import Status
from models.telephony.forwarding import Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding, remove_forwarding
from models.telephony.trunks import SipTrunk
from models.telephony.weekly_hours import ALL_WEEK, Hours
from tasks.ports import Ports
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.registrar.trunks import record_of
from tasks.runtime import Runtime
from tests.due_work import advance_requests, sync_registrar
from tests.factories import an_order, fill_pool, make_main, prove_contact, submit_order
from tests.fakes import FakeClock
from tests.sip.baresip import Baresip
from tests.sip.linphone import Linphone
from tests.sip.phones import NETWORK, Phone
from tests.sip.relay import EmbeddedRelay
from tests.sip.sipp import Line
from tests.snapshots import written_once
from tests.web.conftest import back_of
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.subscribers import KamailioSubscribers
from workers.stack.kamailio import EmbeddedKamailio, installed
from workers.stack.ports import free_sip_port
from workers.stack.postgres import EmbeddedPostgres

_NO_SIP = "NO KAMAILIO OR NO SIPP ON PATH: NO TEST OF DIAL TONE HAS RUN. As root on Debian: .make/sip"
_NO_PHONE = (
    "NO BARESIP, LINPHONEC OR RTPENGINE ON PATH: NO TEST WITH A REAL PHONE HAS RUN. As root on Debian: .make/sip"
)
DOMAIN = "sip.example"


@pytest.fixture(scope="session")
def psap_port() -> int:
    """Return a free UDP port of the loopback address, at which a test can answer emergency calls to 110 and 112."""
    return free_sip_port()


@pytest.fixture(scope="session")
def network_port() -> int:
    """Return a free UDP port at `NETWORK`, the address of the telephone network, at which a test can answer calls."""
    return free_sip_port(host=NETWORK)


@pytest.fixture(scope="session")
def kamailio(
    postgres: EmbeddedPostgres, psap_port: int, network_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedKamailio]:
    """Provide one running Kamailio for all tests.

    Without Kamailio or sipp the tests are skipped; on CI (CI=true) they fail.
    """
    if installed() is None or shutil.which("sipp") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(_NO_SIP, pytrace=False)
        pytest.skip(_NO_SIP)
    with run_kamailio(postgres, tmp_path_factory.mktemp("kamailio"), psap_port, network_port) as server:
        yield server


@contextmanager
def run_kamailio(
    postgres: EmbeddedPostgres,
    folder: Path,
    psap_port: int,
    network_port: int,
    *,
    media_relay: str = "",
    interconnect_tls: Path | None = None,
    registrar_url: str | None = None,
) -> Iterator[EmbeddedKamailio]:
    """Run Kamailio on the registrar's database, and yield it, for the time of a `with` block.

    `registrar_url` is the database's URL (None: by its Unix socket). Emergency calls go to the UDP port `psap_port`,
    other calls to the telephone network to `network_port`. `media_relay` is the control address of rtpengine (empty:
    media do not go through a relay). `interconnect_tls` is the folder of certificates with which calls from and to the
    telephone network go over TLS (None: without TLS).
    """
    server = EmbeddedKamailio(
        folder,
        registrar_url=registrar_url or postgres.url("registrar", DatabaseRole.KAMAILIO),
        domain=DOMAIN,
        interconnect=f"{NETWORK}, 127.0.0.3/32",
        network=f"{NETWORK}:{network_port}" + (";transport=tls" if interconnect_tls else ""),
        emergency=f"127.0.0.1:{psap_port}",
        media_relay=media_relay,
        interconnect_tls=interconnect_tls,
        user=postgres.user,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _need(*programs: str) -> None:
    if not all(map(shutil.which, programs)):
        if os.environ.get("CI") == "true":
            pytest.fail(_NO_PHONE, pytrace=False)
        pytest.skip(_NO_PHONE)


class Softphones:
    """Starts softphones, each with its own folder below `folder`; they are ended when `running` is closed."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running

    def baresip(self, phone: Phone, *, tone: int, anonymous: bool = False) -> Baresip:
        """Start baresip with the credentials of the phone's trunk; in calls it plays a tone of `tone` Hz.

        If `anonymous`, it does not register, and hides its number in calls.
        """
        started = Baresip(self._folder / phone.user, phone, tone=tone, anonymous=anonymous)
        self._running.callback(started.end)
        return started

    def linphone(self, phone: Phone, *, tone: int) -> Linphone:
        """Start Linphone with the credentials of the phone's trunk; in calls it plays a tone of `tone` Hz."""
        started = Linphone(self._folder / phone.user, phone, tone=tone)
        self._running.callback(started.end)
        return started


@pytest.fixture
def soft(tmp_path: Path) -> Iterator[Softphones]:
    """Provide a `Softphones`, which starts the softphones baresip and Linphone; they are ended after the test.

    If they are not installed, the test is skipped; on CI (CI=true) it fails.
    """
    _need("baresip", "linphonec")
    with ExitStack() as running:
        yield Softphones(tmp_path, running)


@pytest.fixture
def relay(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[EmbeddedRelay]:
    """Provide a running rtpengine, which relays media.

    If it is not installed, the test is skipped; on CI (CI=true) it fails.
    """
    _need("rtpengine")
    relay = EmbeddedRelay(tmp_path / "relay", postgres.user)
    relay.start()
    yield relay
    relay.stop()


@pytest.fixture
def relayed(
    postgres: EmbeddedPostgres,
    kamailio: EmbeddedKamailio,
    relay: EmbeddedRelay,
    psap_port: int,
    network_port: int,
    tmp_path: Path,
) -> Iterator[Line]:
    """Provide a `Line`, which runs sipp, for a Kamailio that sends the media of calls through rtpengine.

    Runs of sipp that have not ended are killed after the test.
    """
    with run_kamailio(postgres, tmp_path / "sip", psap_port, network_port, media_relay=relay.control) as server:
        line = Line(tmp_path, server.port, server.domain, interconnect=server.interconnect_port)
        yield line
        line.end()


@pytest.fixture
def line(kamailio: EmbeddedKamailio, tmp_path: Path) -> Iterator[Line]:
    """Provide a `Line`, which runs sipp against Kamailio; runs that have not ended are killed after the test."""
    found = Line(tmp_path, kamailio.port, DOMAIN, interconnect=kamailio.interconnect_port)
    yield found
    found.end()


@pytest.fixture
def berlin(sites: Sites) -> Phone:
    """Order a location, and return its phone system, already registered."""
    phone = sites.order()
    phone.register()
    return phone


@pytest.fixture
def hamburg(sites: Sites) -> Phone:
    """Order a second location, and return its phone system, already registered."""
    phone = sites.order()
    phone.register()
    return phone


@dataclass
class Sites:
    """A company whose locations are ordered as in the portal; the workers' code writes their trunks for Kamailio."""

    runtime: Runtime
    line: Line
    main: Account
    manager: Principal
    clock: FakeClock

    def order(self, channels: int = 4, numbers: int = 10) -> Phone:
        """Order a location and run the workers' code; return its phone system, which has not registered yet.

        `channels` is how many calls its trunk can have at once, `numbers` the size of its number block, 1 or 10.
        """
        clock, database = self.runtime.clock, self.runtime.database
        with database.transaction() as session:
            request = submit_order(
                session, self.manager, self.main, an_order(channels=channels, block_size=numbers), clock()
            ).id
        advance_requests(self.runtime)
        with database.transaction() as session:
            done = session.get_one(Request, request)
            assert done.status is Status.COMPLETED, done.reason
            whole = sa.select(SipTrunk).options(selectinload(SipTrunk.blocks), selectinload(SipTrunk.account))
            trunk = record_of(session.scalars(whole.where(SipTrunk.request_id == request)).one(), self.runtime.vault)
            return Phone(self.line, trunk.sip_user, trunk.secret, free_sip_port(), trunk.numbers)

    @contextmanager
    def changing(self, phone: Phone) -> Iterator[SipTrunk]:
        """Yield the trunk of a phone system, so that the `with` block can change it.

        At the end of the block the changes are saved and written to the registrar.
        """
        with self.runtime.database.transaction() as session:
            trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == phone.user)).one()
            yield trunk
            trunk.make_due(self.runtime.clock())
        self.tell()

    def forward(
        self,
        phone: Phone,
        condition: Condition,
        target: str,
        *,
        after_seconds: int | None = None,
        hours: Hours = ALL_WEEK,
        first: str | None = None,
        last: str = "",
    ) -> int:
        """Add a call forwarding to a location as the portal does, write it to the registrar, and return its id.

        It forwards calls to all numbers of the location, or to those from `first` to `last` (empty: to `first` alone).
        `after_seconds` is how long a call rings before it is forwarded (only for the condition "no answer"). `hours` is
        the weekly schedule in which calls are forwarded.
        """
        with self.runtime.database.transaction() as session:
            draft = ForwardingDraft(condition, target, after_seconds, hours, first=first, last=last)
            account = self._account(session, phone)
            id = add_forwarding(session, self.manager, account, draft, self.runtime.clock()).id
        self.tell()
        return id

    def stop_forwarding(self, phone: Phone, id: int) -> None:
        """Remove the call forwarding `id` of a location as the portal does, also from the registrar."""
        with self.runtime.database.transaction() as session:
            remove_forwarding(session, self.manager, self._account(session, phone), id, self.runtime.clock())
        self.tell()

    @staticmethod
    def _account(session: Session, phone: Phone) -> Account:
        return session.scalars(sa.select(Account).join(SipTrunk).where(SipTrunk.sip_user == phone.user)).one()

    def tell(self) -> None:
        """Write due trunks and number blocks to the registrar, as the workers do."""
        sync_registrar(self.runtime)

    def reconcile(self, *, allow_removals: bool = False) -> list[Finding]:
        """Run the scheduled job `registrar`, then make the repairs that it has started; return the job's findings.

        With `allow_removals` the job deletes rows at the registrar that it would otherwise only report.
        """
        run = run_job(self.runtime, JOBS["registrar"], by_hand=True, allow_removals=allow_removals)
        assert run is not None
        for _ in range(2):
            self.tell()
            self.clock.advance(self.runtime.retry.first * 2)
        with self.runtime.database.transaction() as session:
            return list(findings_of(session, run, limit=10))


@pytest.fixture
def sites(
    postgres: EmbeddedPostgres,
    portal_url: str,
    registrar_url: str,
    worker_database: Database,
    clock: FakeClock,
    line: Line,
) -> Iterator[Sites]:
    """Provide a company in Berlin that can order locations: the pool has numbers, and all proofs are given.

    The workers' code writes its trunks to Kamailio's database.
    """
    runtime = back_of(worker_database, clock).runtime
    url = postgres.url("registrar", DatabaseRole.WORKER)
    registrar = KamailioRegistrar(url)
    outside = runtime.ports
    ports = Ports(registrar, outside.mailer, outside.letters, KamailioSubscribers(url), outside.calls)
    runtime = replace(runtime, ports=ports)

    def company() -> tuple[Account, Principal]:
        with worker_database.transaction() as session:
            main, manager = make_main(session)
            fill_pool(session, size=1, count=4, first="30000000")
            fill_pool(session)
            prove_contact(session, main)
        sync_registrar(runtime)
        return main, manager

    main, manager = written_once("company in Berlin", [portal_url, registrar_url], company)
    yield Sites(runtime, line, main, manager, clock)
    registrar.close()
