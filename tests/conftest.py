"""Fixtures of all tests, with real servers: PostgreSQL, Redis, RabbitMQ and a mail server.

All but the mail server are started once for each test process.
"""

from __future__ import annotations

import gc
import logging
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from models.contracts.catalogue import PRICE_LIST, Product
from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from models.db.session import Database
from models.schema import metadata
from tasks.logs import configure_logging
from tests.emptying import Emptying
from tests.factories import prepare
from tests.fakes import FakeClock, MailSink
from tests.lock_order import check_lock_order
from tests.made_once import made_once
from tests.rabbitmq import RabbitMQ, forgotten_queues, skip_without_rabbitmq
from workers.gateways.registrar import ensure_schema
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.redis import EmbeddedRedis

# Tables that are filled once when the database is prepared; tests only read them.
_REFERENCE = {"area_codes", "high_risk_prefixes", "known_places", "products"}
_TESTS = Path(__file__).parent
# The folders of the tests that take long, with all that is below them.
_LONG = {"browser", "faults", "sip", "workers"}
# The files whose tests share what takes seconds to start or build, by the name of what they share.
_IN_ONE_PROCESS = {
    "tests/workers/test_rabbitmq.py": "RabbitMQ",
    "tests/web/test_rabbitmq_away.py": "RabbitMQ",
    "tests/workers/test_wheel.py": "wheel",
    "tests/workers/backup/test_backup.py": "server with two full databases",
    "tests/workers/commands/test_roles_command.py": "server without roles",
    "tests/models/db/test_replication.py": "server without its standby",
}


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Distributes tests among the processes of pytest-xdist: test by test, but a group of files to one process.

    `_IN_ONE_PROCESS` has the group of each file that belongs to one. pytest-xdist's own mark for this, `xdist_group`,
    cannot be used: pytest-xdist 3.8 cannot read it with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _IN_ONE_PROCESS.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling:
    """Return the scheduler that distributes the tests among the processes.

    Fails if a file named in `_IN_ONE_PROCESS` is missing.
    """
    assert [file for file in _IN_ONE_PROCESS if not (_TESTS.parent / file).is_file()] == []
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of slow folders first, and mix these folders' tests evenly.

    Then tests that mostly wait run beside tests that compute, and no core is idle.
    """
    folders = [item.path.relative_to(_TESTS).parts[0] for item in items]
    total, seen = Counter(folders), Counter[str]()
    turns: dict[pytest.Item, tuple[bool, float]] = {}
    for item, folder in zip(items, folders, strict=True):
        long = folder in _LONG
        turns[item] = not long, seen[folder] / total[folder] if long else 0
        seen[folder] += 1
    items.sort(key=turns.__getitem__)


def pytest_collection_finish() -> None:
    """Exempt the objects that exist after collection from garbage collection: they stay until the end anyway.

    Looking through hundreds of thousands of them again and again takes a tenth of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


check_lock_order()

# How long a case takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _logging() -> None:
    """Configure logging as every program does.

    Without this, structlog prints all local variables of a traceback, which takes seconds.
    """
    configure_logging("console")
    # The tests' mail server tells every word of a conversation.
    logging.getLogger("mail.log").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Provide a running PostgreSQL server with the databases `standorte` (migrated, reference data) and `registrar`.

    Each part under test connects as its own role, with the same privileges as in production. The data directory is made
    once for all processes of pytest-xdist, and each process copies it. The server is stopped after the last test.
    """
    made, data = made_once(tmp_path_factory, "postgres", _make_data), tmp_path_factory.mktemp("postgres") / "data"
    # With the owner, who is another user where root runs the tests.
    subprocess.run(["cp", "-a", made, data], check=True)
    server = EmbeddedPostgres(data, fsync=False)
    server.start()
    yield server
    server.stop()


def _make_data(directory: Path) -> None:
    server = EmbeddedPostgres(directory, fsync=False)
    server.start(("standorte", "registrar"))
    try:
        create_roles(server.url("postgres", driver=""), {"standorte": PORTAL_ROLES, "registrar": REGISTRAR_ROLES})
        prepare(server.url("standorte", DatabaseRole.OWNER))
        ensure_schema(server.url("registrar", DatabaseRole.OWNER))
        with psycopg.connect(server.url("postgres", driver=""), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def superuser(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine that connects to the portal's database as a superuser.

    Only a superuser may delete rows in any order, and entries of the audit log.
    """
    engine = sa.create_engine(postgres.url("standorte"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def _session_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    database = Database(postgres.url("standorte", DatabaseRole.OWNER), pool_size=20)
    yield database
    database.close()


@pytest.fixture(scope="session")
def _session_worker_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    database = Database(postgres.url("standorte", DatabaseRole.WORKER), pool_size=20)
    yield database
    database.close()


@pytest.fixture(scope="session")
def emptying(postgres: EmbeddedPostgres) -> Iterator[Emptying]:
    """Provide an object that empties all tables of the portal's database except for the reference data."""
    tables = [table.name for table in metadata.tables.values() if table.name not in _REFERENCE]
    # What is known from the start was never asked.
    asked = "DELETE FROM known_places WHERE asked_at IS NOT NULL"
    emptying = Emptying(postgres.url("standorte", driver=""), tables, [asked])
    yield emptying
    emptying.close()


@pytest.fixture
def database(_session_database: Database, emptying: Emptying) -> Iterator[Database]:
    """Provide the portal's database, connected as its owner, with reference data only (price list, area codes, towns).

    All other tables are emptied after the test.
    """
    yield _session_database
    emptying.empty()


@pytest.fixture
def owner_database(_session_database: Database, database: Database) -> Database:
    """Return the portal's database, connected as its owner.

    It is for tests whose fixture `database` connects as another role, but which change what only the owner may change.
    """
    return _session_database


@pytest.fixture
def worker_database(_session_worker_database: Database, database: Database) -> Database:
    """Return the portal's database, connected with the role of the workers; it is emptied after the test."""
    return _session_worker_database


@pytest.fixture
def portal_url(postgres: EmbeddedPostgres, database: Database) -> str:
    """Return a URL of the portal's database that connects as superuser.

    After the test the database is emptied, except for the reference data.
    """
    return postgres.url("standorte")


@pytest.fixture
def changing_products(owner_database: Database) -> Iterator[None]:
    """Let the test change the price list; restore it after the test."""
    yield
    with owner_database.transaction() as session:
        for row in PRICE_LIST:
            session.execute(sa.update(Product).where(Product.key == row["key"]).values(row))


@pytest.fixture(scope="session")
def _registrar_emptying(postgres: EmbeddedPostgres) -> Iterator[Emptying]:
    tables = ["subscriber", "dbaliases", "usr_preferences", "location", "own_numbers", "refusals", "calls"]
    emptying = Emptying(postgres.url("registrar", driver=""), tables)
    yield emptying
    emptying.close()


@pytest.fixture
def registrar_url(postgres: EmbeddedPostgres, _registrar_emptying: Emptying) -> Iterator[str]:
    """Provide a URL of the registrar's database that connects as superuser; the database is emptied after the test."""
    yield postgres.url("registrar")
    _registrar_emptying.empty()


@pytest.fixture
def worker_registrar_url(postgres: EmbeddedPostgres, registrar_url: str) -> str:
    """Return a URL of the registrar's database that connects with the workers' role; it is emptied after the test."""
    return postgres.url("registrar", DatabaseRole.WORKER)


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_redis: EmbeddedRedis) -> str:
    """Return the URL of a real Redis server, database 0."""
    return _redis.url(0)


@pytest.fixture(scope="session")
def _rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    skip_without_rabbitmq()
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    server.start()
    yield server
    server.stop_all()


@pytest.fixture
def rabbitmq(_rabbitmq: RabbitMQ) -> Iterator[RabbitMQ]:
    """Provide a real RabbitMQ without queues. A test may stop it; it is started again after the test."""
    with forgotten_queues(_rabbitmq):
        yield _rabbitmq


@pytest.fixture
def smtp_sink() -> Iterator[MailSink]:
    """Provide a running SMTP server that keeps every mail it receives; it is stopped after the test."""
    sink = MailSink()
    sink.start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def session_clock() -> FakeClock:
    """Return the clock for objects that are created once for all tests of a process."""
    return FakeClock()


@pytest.fixture
def clock(session_clock: FakeClock) -> FakeClock:
    """Return the clock of the whole process, reset to its initial time. It stands still unless the test advances it."""
    session_clock.reset()
    return session_clock
