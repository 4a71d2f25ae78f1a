"""Tests of how a transaction of the web application tells the database for which caller it acts.

Nobody else may read what was told, and nobody may forge what the database has found out about the caller.
"""

from __future__ import annotations

from contextlib import closing
from itertools import product

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.users import User
from tests.web.test_row_security import REFUSED, World, rows_of, seen_by, world
from workers.stack.postgres import EmbeddedPostgres

__all__ = ["world"]

# Ways to the hash of the secret of a login or token that a statement without rights of its own may try.
READINGS = (
    "SELECT encode({hash}, 'hex') FROM {table} WHERE user_id = :user",
    "SELECT substr(to_jsonb({table}) ->> '{hash}', 3) FROM {table} WHERE user_id = :user",
    "UPDATE {table} SET {text} = encode({hash}, 'hex') WHERE user_id = :user RETURNING {text}",
    "DELETE FROM {table} WHERE user_id = :user RETURNING encode({hash}, 'hex')",
    "SELECT id FROM {table} WHERE user_id = :user AND {hash} > 'a'",
)


def test_a_hash_that_can_be_told_cannot_be_read(world: World) -> None:
    front = world.portal.front
    with front.database.transaction() as session:
        staff = session.scalars(sa.select(User).where(User.is_staff).limit(1)).one()
    hashes = (
        ("logins", "secret_hash", "user_agent", staff.id),
        ("api_tokens", "token_hash", "name", front.manager.user_id),
    )
    for (table, column, text, user_id), reading in product(hashes, READINGS):
        # Told, the hash of the login would open everything.
        assert _readable(world, staff.email, reading.format(table=table, hash=column, text=text), user_id) == []


def _readable(world: World, email: str, statement: str, user_id: int) -> list[object]:
    """Return the values that the SQL statement reads for the main account's administrator.

    Return an empty list if PostgreSQL refuses the statement. `email` is the address that the transaction names as the
    caller's; `user_id` is the value of the statement's parameter `:user`.
    """
    with world.front.engine.connect() as connection:
        connection.execute(sa.text("SELECT tell_caller(:caller)"), {"caller": world.callers["administrator"]})
        connection.execute(sa.text("SELECT set_config('standorte.email', :email, true)"), {"email": email})
        try:
            return list(connection.scalars(sa.text(statement), {"user": user_id}))
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != REFUSED:
                raise
            return []


def test_other_sessions_do_not_read_what_is_told(postgres: EmbeddedPostgres, world: World) -> None:
    # A session sees what the others of its role run, and a smuggled statement can look again and again.
    staff, url = world.callers["staff"], postgres.url("standorte", DatabaseRole.FRONT)
    running = sa.text("SELECT query FROM pg_stat_activity WHERE application_name = 'of staff'")
    with (
        closing(Database(url, caller=lambda: staff, name="of staff")) as database,
        database.engine.begin(),
        world.front.engine.connect() as connection,
    ):
        [query] = connection.scalars(running).all()
    assert "tell_caller" in query and staff.split()[1] not in query


def test_what_was_found_of_a_caller_cannot_be_forged(world: World) -> None:
    staff, manager = world.callers["staff"], world.callers["location manager"]
    tell = sa.text("SELECT tell_caller(:caller)")
    find = sa.text("SELECT set_config('standorte.found', :found, true)")
    found_of_caller = sa.text("SELECT current_setting('standorte.found')")
    # One connection, as a pool hands it on.
    with world.front.engine.begin() as connection:
        connection.execute(tell, {"caller": staff})
        of_staff = connection.scalar(found_of_caller)
        assert rows_of(connection, "accounts") >= world.foreign["accounts"]
    with world.front.engine.begin() as connection:
        connection.execute(tell, {"caller": manager})
        of_manager = connection.scalar(found_of_caller)
        seen = rows_of(connection, "accounts")
        assert seen and not seen & world.foreign["accounts"]
    assert of_staff and of_manager
    person = of_manager.split("|")[0]
    forged = (of_staff, f"{person}|t|{{}}|{{}}", f"{person}|f|{{{world.other_main}}}|{{{world.other_main}}}", "", "x")
    for found in forged:
        for caller in (manager, "", None):
            with world.front.engine.begin() as connection:
                if caller is not None:
                    connection.execute(tell, {"caller": caller})
                connection.execute(find, {"found": found})
                assert rows_of(connection, "accounts") == (seen if caller else set()), (found, caller)
    # A connection on which nobody was ever told has nothing that a forgery could be compared with.
    world.front.engine.dispose()
    with world.front.engine.begin() as connection:
        connection.execute(find, {"found": of_staff})
        with pytest.raises(sa.exc.DBAPIError, match="55000"):
            rows_of(connection, "accounts")


def test_the_front_cannot_move_the_seal_of_what_was_found(world: World) -> None:
    for call in ("setval('caller_seal_1', 1)", "nextval('caller_seal_2')", "currval('caller_seal_1')"):
        with world.front.engine.begin() as connection:
            connection.execute(sa.text("SELECT tell_caller(:caller)"), {"caller": world.callers["administrator"]})
            with pytest.raises(sa.exc.DBAPIError, match=REFUSED):
                connection.execute(sa.text(f"SELECT {call}"))


def test_a_caller_who_is_told_sees_what_is_found_without_telling(world: World) -> None:
    for name, caller in world.callers.items():
        expected = seen_by(world, caller)
        with world.front.engine.begin() as connection:
            connection.execute(sa.text("SELECT tell_caller(:caller)"), {"caller": caller})
            assert {table: rows_of(connection, table) for table in expected} == expected, name


def test_a_caller_is_told_as_the_transaction_begins(postgres: EmbeddedPostgres, world: World) -> None:
    callers = iter((world.callers["administrator"], "login no hexadecimal number", world.callers["administrator"]))
    url = postgres.url("standorte", DatabaseRole.FRONT)
    with closing(Database(url, pool_size=1, caller=lambda: next(callers))) as database:
        with database.transaction() as session:
            assert session.get(Account, world.main) is not None
        with pytest.raises(sa.exc.DBAPIError, match="22023"), database.transaction() as session:
            session.get(Account, world.main)
        with database.transaction() as session:
            assert session.get(Account, world.main) is not None


def test_a_server_that_is_only_read_finds_the_caller_too(world: World) -> None:
    with world.front.engine.begin() as connection:
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))
        connection.execute(sa.text("SELECT tell_caller(:caller)"), {"caller": world.callers["administrator"]})
        assert connection.scalar(sa.text("SELECT id FROM accounts WHERE id = :main"), {"main": world.main})
