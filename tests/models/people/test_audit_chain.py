"""Tests of the audit log's seals (chained hashes): entries can only be added, and any other change is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.privileges import PORTAL
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people import audit_chain
from models.people.audit_chain import CONTENT, ChainCheck, ChainFlaw, ChainHead, Flaw, chain_head, seal_entries
from models.people.audit_log import AuditEntry, AuditEvent, record_of_carrier
from tests.factories import NOW, make_account
from tests.fakes import wait_until
from workers.stack.postgres import EmbeddedPostgres

Attack = Callable[[str], None]
NEVER = "23514"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"


@pytest.fixture
def account(database: Database) -> Account:
    """Create an account into whose audit log the tests write entries."""
    with database.transaction() as session:
        return make_account(session)


@pytest.fixture
def attack(postgres: EmbeddedPostgres, database: Database) -> Iterator[Attack]:
    """Provide a function that runs an SQL statement as a superuser, with all triggers off.

    It fails if the statement changes no row.
    """
    engine = sa.create_engine(postgres.url("standorte"))

    def run(statement: str) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            assert connection.execute(sa.text(statement)).rowcount > 0

    yield run
    engine.dispose()


def write(database: Database, account: Account, *, count: int = 1, at: datetime = NOW) -> list[int]:
    """Write `count` entries with the time `at` into the account's audit log; return their ids, the oldest first."""
    with database.transaction() as session:
        for number in range(count):
            record_of_carrier(session, account, AuditEvent.TRUNK_SUSPENDED, at, {"number": number})
        session.flush()
        newest = sa.select(AuditEntry.id).order_by(AuditEntry.id.desc()).limit(count)
        return sorted(session.scalars(newest))


def seal(database: Database, at: datetime = NOW) -> ChainHead:
    """Seal all unsealed entries of the audit log, two at a time; return the newest seal's position and hash.

    A seal has a hash of the entry and of the seal before it.
    """
    with database.transaction() as session:
        after: int | None = None
        while ids := seal_entries(session, at, 2, after):
            after = ids[-1]
        return chain_head(session)


def flaws(database: Database, *known: ChainHead) -> list[ChainFlaw]:
    """Check the seals of the whole audit log, two entries at a time; return the flaws that were found.

    A seal has a hash of an entry and of the seal before it. `known` are positions and hashes of seals that were the
    newest at an earlier time; it is a flaw if one of them is no longer among the seals.
    """
    check, found = ChainCheck(), []
    with database.transaction() as session:
        while (page := check.next_page(session, 2)) is not None:
            found += page
        return found + check.end(session, known, 10)


def sealed_log(database: Database, account: Account) -> list[int]:
    """Write five entries into the account's log and seal them in two runs, two hours apart; return their ids.

    A seal is a hash of the entry and of the seal before it.
    """
    later = NOW + timedelta(hours=2)
    ids = write(database, account, count=3)
    seal(database)
    ids += write(database, account, count=2, at=later)
    seal(database, later)
    assert flaws(database) == []
    return ids


def test_a_log_that_nobody_touched_has_no_flaw(database: Database, account: Account) -> None:
    assert flaws(database) == []
    sealed_log(database, account)
    write(database, account, at=NOW + timedelta(hours=2, minutes=1))
    check = ChainCheck()
    with database.transaction() as session:
        while check.next_page(session, 2) is not None:
            pass
        assert check.end(session, [], 10) == []
        assert (check.sealed, check.unsealed, check.head) == (5, 1, chain_head(session))


def test_every_column_is_sealed_and_every_column_can_be_written_but_the_id() -> None:
    columns = {column.name for column in AuditEntry.__table__.columns}
    assert {column.key for column in CONTENT} == columns
    for role in (DatabaseRole.FRONT, DatabaseRole.WORKER):
        granted = PORTAL["audit_entries"].of(role)
        assert granted.startswith("SELECT, INSERT (")
        assert set(granted.partition("(")[2].rstrip(")").split(", ")) == columns - {"id"}


@pytest.mark.parametrize(
    "change",
    [
        "account_id = (SELECT max(id) FROM accounts)",
        "user_id = 1",
        "user_id = 1, by_staff = false",
        "user_id = 1, by_staff = false, through_id = account_id",
        "deed = 'trunk_resumed'",
        """facts = '{"number": 1.0}'""",
        "at = at + interval '1 microsecond'",
    ],
)
def test_a_changed_column_is_found(database: Database, account: Account, attack: Attack, change: str) -> None:
    with database.transaction() as session:
        make_account(session)
    ids = sealed_log(database, account)
    attack(f"UPDATE audit_entries SET {change} WHERE id = {ids[1]}")
    assert flaws(database) == [ChainFlaw(Flaw.CHANGED, 2, ids[1])]


def test_a_changed_id_is_found(database: Database, account: Account, attack: Attack) -> None:
    ids = sealed_log(database, account)
    attack(
        f"WITH gone AS (DELETE FROM audit_entries WHERE id = {ids[1]} RETURNING *) "
        "INSERT INTO audit_entries (id, account_id, by_staff, deed, facts, at) OVERRIDING SYSTEM VALUE "
        "SELECT id + 1000, account_id, by_staff, deed, facts, at FROM gone"
    )
    # By its time it should have been sealed with the first run.
    assert flaws(database) == [ChainFlaw(Flaw.REMOVED, 2, ids[1]), ChainFlaw(Flaw.INSERTED, 5, ids[1] + 1000)]
    attack(f"UPDATE audit_seals SET entry_id = {ids[1] + 1000} WHERE position = 2")
    assert flaws(database)[0] == ChainFlaw(Flaw.CHANGED, 2, ids[1] + 1000)


@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_removed_row_is_found(database: Database, account: Account, attack: Attack, place: int) -> None:
    ids = sealed_log(database, account)
    attack(f"DELETE FROM audit_entries WHERE id = {ids[place]}")
    assert flaws(database) == [ChainFlaw(Flaw.REMOVED, place + 1, ids[place])]


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_removed_with_its_seal_is_found(database: Database, account: Account, attack: Attack, place: int) -> None:
    ids = sealed_log(database, account)
    attack(f"DELETE FROM audit_entries WHERE id = {ids[place]}")
    attack(f"DELETE FROM audit_seals WHERE position = {place + 1}")
    assert flaws(database) == [ChainFlaw(Flaw.SEAL_REMOVED, place + 1)]
    attack(f"UPDATE audit_seals SET position = position - 1 WHERE position > {place + 1}")
    assert {found.flaw for found in flaws(database)} == {Flaw.CHANGED}


def test_the_end_cut_off_is_found_by_whom_knew_the_head(database: Database, account: Account, attack: Attack) -> None:
    ids = sealed_log(database, account)
    with database.transaction() as session:
        head = chain_head(session)
    assert ChainHead.parse(str(head)) == head
    attack(f"DELETE FROM audit_seals WHERE entry_id = {ids[-1]}")
    attack(f"DELETE FROM audit_entries WHERE id = {ids[-1]}")
    assert flaws(database) == []
    for known in (head, ChainHead(5, b"")):
        assert flaws(database, known) == [ChainFlaw(Flaw.SHORTENED, 5)]
    # The position is reached again, by another entry.
    write(database, account, at=NOW + timedelta(hours=3))
    seal(database, NOW + timedelta(hours=3))
    assert flaws(database, ChainHead(5, b"")) == []
    assert flaws(database, head) == [ChainFlaw(Flaw.SHORTENED, 5)]


def test_two_swapped_rows_are_found(database: Database, account: Account, attack: Attack) -> None:
    ids = sealed_log(database, account)
    attack(
        "UPDATE audit_entries AS one SET facts = other.facts, at = other.at FROM audit_entries AS other "
        f"WHERE (one.id, other.id) IN (({ids[0]}, {ids[1]}), ({ids[1]}, {ids[0]}))"
    )
    assert flaws(database) == [ChainFlaw(Flaw.CHANGED, 1, ids[0]), ChainFlaw(Flaw.CHANGED, 2, ids[1])]


def test_two_swapped_seals_are_found(database: Database, account: Account, attack: Attack) -> None:
    ids = sealed_log(database, account)
    attack(
        "WITH gone AS (DELETE FROM audit_seals WHERE position < 3 RETURNING *) INSERT INTO audit_seals "
        "SELECT 100 + position, entry_id, sealed_at, hash FROM gone"
    )
    attack("UPDATE audit_seals SET position = 103 - position WHERE position > 100")
    assert {(found.flaw, found.entry_id) for found in flaws(database)} == {
        (Flaw.CHANGED, ids[0]),
        (Flaw.CHANGED, ids[1]),
        (Flaw.CHANGED, ids[2]),
    }


@pytest.mark.parametrize("sealed", [False, True])
def test_a_row_inserted_between_older_ones_is_found(
    database: Database, account: Account, attack: Attack, sealed: bool
) -> None:
    ids = sealed_log(database, account)
    # An id that a transaction drew in vain.
    gap = max(ids) + 5
    attack(
        "INSERT INTO audit_entries (id, account_id, by_staff, deed, facts, at) OVERRIDING SYSTEM VALUE "
        f"VALUES ({gap}, {account.id}, true, 'account_closed', '{{}}', '{NOW.isoformat()}')"
    )
    if sealed:
        seal(database, NOW + timedelta(hours=4))
    assert flaws(database) == [ChainFlaw(Flaw.INSERTED, 6 if sealed else 5, gap)]


def test_a_row_with_an_old_id_and_a_new_time_is_found(database: Database, account: Account, attack: Attack) -> None:
    with database.transaction() as session:
        session.execute(sa.text("SELECT nextval(pg_get_serial_sequence('audit_entries', 'id'))"))
        [gap] = session.scalars(sa.text("SELECT currval(pg_get_serial_sequence('audit_entries', 'id'))"))
    sealed_log(database, account)
    later = NOW + timedelta(days=1)
    attack(
        "INSERT INTO audit_entries (id, account_id, by_staff, deed, facts, at) OVERRIDING SYSTEM VALUE "
        f"VALUES ({gap}, {account.id}, true, 'account_closed', '{{}}', '{later.isoformat()}')"
    )
    assert flaws(database) == [ChainFlaw(Flaw.INSERTED, 5, gap)]
    seal(database, later)
    assert flaws(database) == [ChainFlaw(Flaw.INSERTED, 6, gap)]


def test_a_row_whose_id_lies_far_back_is_found(
    database: Database, account: Account, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as session:
        [gap] = session.scalars(sa.text("SELECT nextval(pg_get_serial_sequence('audit_entries', 'id'))"))
    sealed_log(database, account)
    monkeypatch.setattr(audit_chain, "LATE", 2)
    at = NOW + timedelta(hours=2)
    attack(
        "INSERT INTO audit_entries (id, account_id, by_staff, deed, facts, at) OVERRIDING SYSTEM VALUE "
        f"VALUES ({gap}, {account.id}, true, 'account_closed', '{{}}', '{at.isoformat()}')"
    )
    seal(database, NOW + timedelta(hours=4))
    assert flaws(database) == [ChainFlaw(Flaw.INSERTED, 5, gap)]


def test_what_was_committed_late_gets_its_seal_without_a_flaw(database: Database, account: Account) -> None:
    with database.transaction() as slow:
        record_of_carrier(slow, account, AuditEvent.TRUNK_SUSPENDED, NOW)
        slow.flush()
        write(database, account, count=2, at=NOW + timedelta(seconds=30))
        assert seal(database, NOW + timedelta(minutes=1)).position == 2
    assert seal(database, NOW + timedelta(minutes=6)).position == 3
    assert flaws(database) == []


def test_two_that_seal_at_once_do_not_fork_the_chain(database: Database, account: Account) -> None:
    write(database, account, count=2)
    with ThreadPoolExecutor() as threads:
        with database.transaction() as first:
            assert len(seal_entries(first, NOW, 2)) == 2
            second = threads.submit(seal, database)
            wait_until(lambda: first.scalar(sa.text(WAITING)) == 1, what="the second to meet the first")
        assert isinstance(second.exception(), sa.exc.IntegrityError)
    assert seal(database).position == 2
    assert flaws(database) == []


@contextmanager
def refused(database: Database, code: str) -> Iterator[sa.orm.Session]:
    """Yield a session; expect that PostgreSQL refuses one of its statements with the SQLSTATE `code`."""
    with pytest.raises(sa.exc.DBAPIError) as caught, database.transaction() as session:
        yield session
    assert getattr(caught.value.orig, "sqlstate", None) == code


@pytest.mark.parametrize("table", ["audit_entries", "audit_seals"])
def test_not_even_the_owner_changes_or_removes_an_entry(database: Database, account: Account, table: str) -> None:
    sealed_log(database, account)
    column = "deed" if table == "audit_entries" else "hash"
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with refused(database, NEVER) as session:
            session.execute(sa.text(statement))
    with refused(database, NEVER) as session:
        session.execute(sa.text("TRUNCATE users CASCADE"))
    assert flaws(database) == []
