"""The real parts that tests stand on: PostgreSQL and Redis of their own, started once for each test process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from models.contracts.catalogue import Product, load_price_list
from models.db.session import Database
from models.schema import metadata
from tests.factories import prepare
from tests.fakes import FakeClock, MailSink
from workers.gateways.registrar import ensure_schema
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.redis import EmbeddedRedis

# Filled once with the template; tests only read them.
_REFERENCE = {"area_codes", "products"}
# The folders of the tests that take long.
_LONG = {"browser", "faults", "sip", "workers"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first, those that wait evenly among those that compute, so that no core stands idle."""
    folders = [item.path.parent.name for item in items]
    total, seen = Counter(folders), Counter[str]()
    turns: dict[pytest.Item, tuple[bool, float]] = {}
    for item, folder in zip(items, folders, strict=True):
        long = folder in _LONG
        turns[item] = not long, seen[folder] / total[folder] if long else 0
        seen[folder] += 1
    items.sort(key=turns.__getitem__)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with the databases `standorte` (migrated, with reference data) and `registrar`."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", fsync=False)
    server.start(("standorte", "registrar"))
    try:
        prepare(server.url("standorte"))
        ensure_schema(server.url("registrar"))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _session_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    database = Database(postgres.url("standorte"), pool_size=20)
    yield database
    database.close()


@pytest.fixture
def database(_session_database: Database) -> Iterator[Database]:
    """The portal's database with reference data and nothing else; emptied after the test."""
    yield _session_database
    _empty(_session_database.engine, [table.name for table in metadata.tables.values() if table.name not in _REFERENCE])


@pytest.fixture
def portal_url(postgres: EmbeddedPostgres, database: Database) -> str:
    """The portal's database, emptied after the test."""
    return postgres.url("standorte")


@pytest.fixture
def changing_products(database: Database) -> Iterator[None]:
    """The price list may be changed in this test; afterwards it is as it was."""
    yield
    with database.transaction() as session:
        load_price_list(session)
        session.execute(sa.update(Product).values(orderable=True))


@pytest.fixture
def registrar_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The registrar's database, emptied after the test."""
    url = postgres.url("registrar")
    yield url
    engine = sa.create_engine(url)
    _empty(engine, ["subscriber", "dbaliases", "usr_preferences", "location", "own_numbers", "refusals", "calls"])
    engine.dispose()


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_redis: EmbeddedRedis) -> str:
    """A real Redis."""
    return _redis.url(0)


@pytest.fixture
def smtp_sink() -> Iterator[MailSink]:
    """A mail server that keeps what it gets."""
    sink = MailSink()
    sink.start()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def session_clock() -> FakeClock:
    """The clock of what is made once for all tests."""
    return FakeClock()


@pytest.fixture
def clock(session_clock: FakeClock) -> FakeClock:
    """A clock that only moves when told."""
    session_clock.reset()
    return session_clock


def _empty(engine: sa.Engine, tables: list[str]) -> None:
    """A test leaves few rows. TRUNCATE, which makes new files for every table and index, takes 25 times as long."""
    deletes = "; ".join(f"DELETE FROM {table}" for table in tables)
    with engine.begin() as connection:
        # Without foreign keys and triggers, so in any order.
        connection.exec_driver_sql(f"SET LOCAL session_replication_role = replica; {deletes}")
        connection.exec_driver_sql(
            "SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences "
            "WHERE last_value IS NOT NULL"
        )
