"""Tests of the migrations: up from an empty database, down again, and no difference from the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.orm import Session

from models import migrations
from models.db.row_security import apply_row_security, is_enforced
from models.db.session import Database
from models.proofs.proofs import AddressProof
from models.same_address import address_key
from models.schema import metadata
from tests.factories import NOW
from workers.stack.postgres import EmbeddedPostgres

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, generation_expression
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
"""
OLD_ROWS = """
INSERT INTO customer_numbers VALUES ('4000001');
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at)
VALUES ('4000001', 'standalone', 'active', 'A', 'B 1', '10115', 'Berlin', 'Kim', 'Kim@Example.com', now());
INSERT INTO customer_numbers VALUES ('4000002'), ('4000003');
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at)
VALUES ('4000002', 'main', 'active', 'A', 'B 1', '10115', 'Berlin', 'Kim', 'kim@example.com', now());
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at, main_id,
    origin, attached_at)
SELECT '4000003', 'sub', 'closed', 'A', 'B 1', '10115', 'Berlin', 'Kim', 'kim@example.com', now(), id, 'link', now()
FROM accounts WHERE role = 'main';
INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts WHERE role = 'main';
INSERT INTO sip_trunks (account_id, contract_id, sip_user, domain, secret, channels, state, created_at, attempts)
SELECT account_id, id, 't1', 'sip.example', '', 2, 'suspended', now(), 0 FROM contracts;
INSERT INTO messages (channel, template, occasion, recipient_name, recipient_address, locale, facts, announced, state,
    queued_at, sent_at, attempts)
VALUES ('mail', 'login', '', 'Kim', 'kim@example.com', 'fr', '{}', false, 'sent', now(), now(), 0);
"""
AN_ACCOUNT = """
INSERT INTO customer_numbers VALUES ('4000001');
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at)
VALUES ('4000001', 'standalone', 'active', 'A', 'B 1', '10115', 'Berlin', 'Kim', 'kim@example.com', now());
"""
DETACHMENTS = """
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, created_at, updated_at,
    attempts, due_at, ended_at, effective_on, by_sub_account)
SELECT 'detach', status, 'verify', id, id, '4000001', 'de', now(), now(), 0, due, ended, day, true
FROM accounts, (VALUES ('acknowledged', now(), NULL, date '2099-01-01'), ('completed', NULL, now(), '2020-01-01'))
    AS told (status, due, ended, day);
"""
WAITING_ORDERS = """
INSERT INTO area_codes VALUES ('030', 'Berlin');
INSERT INTO products VALUES ('trunk-2', 'trunk', 'T', 'T', 2, NULL, 1, 1, true, 1);
INSERT INTO customer_numbers VALUES ('4000001'), ('4000002'), ('4000003'), ('4000004');
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at)
VALUES ('4000001', 'main', 'active', 'A', 'B 1', '10115', 'Berlin', 'Kim', 'kim@example.com', now()),
    ('4000002', 'standalone', 'ordered', 'A', 'Am Markt 1/2', '10115', 'Berlin', 'Kim', 'kim@example.com', now()),
    ('4000003', 'standalone', 'ordered', 'A', 'Am Markt 1/2', '10115', 'Köln', 'Kim', 'kim@example.com', now()),
    ('4000004', 'standalone', 'ordered', 'A', 'Brückenstr. 5', '10115', 'Berlin', 'Kim', 'kim@example.com', now());
INSERT INTO requests (kind, status, reason, waiting_for, waiting_until, step, main_id, account_id, customer_number,
    locale, product_key, channels, area_code, block_size, option_keys, created_at, updated_at, attempts, due_at)
SELECT 'order', 'pending', 'area_code_mismatch', 'requester', now() + interval '9 days', 'verify', main.id, account.id,
    account.customer_number, 'de', 'trunk-2', 2, '030', 1, '{}', now(), now(), 0, now() + interval '9 days'
FROM accounts AS main, accounts AS account WHERE main.role = 'main' AND account.state = 'ordered';
INSERT INTO address_proofs
    (main_id, address_key, issue, sent_issue, asked_at, expires_at, wrong_tries, reminders, resent)
SELECT id, key, 1, 1, now(), now(), 0, 0, 0
FROM accounts, unnest(ARRAY['ammarkt1210115berlin', 'ammarkt1210115koeln', 'brueckenstr510115berlin']) AS key
WHERE role = 'main';
"""
A_CHANGE = """
INSERT INTO products VALUES ('trunk-2', 'trunk', 'T', 'T', 2, NULL, 1, 1, true, 1);
INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts;
INSERT INTO contract_items (contract_id, product_key, monthly_cents, one_off_cents) SELECT id, 'trunk-2', 1, 1
FROM contracts;
INSERT INTO sip_trunks (account_id, contract_id, sip_user, domain, secret, channels, state, created_at, attempts)
SELECT account_id, id, 't1', 'sip.example', '', 2, 'active', now(), 0 FROM contracts;
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, product_key, channels,
    price_lines, changed_trunk_id, replaced_channels, replaced_lines, created_at, updated_at, attempts, due_at)
SELECT 'change', 'acknowledged', 'verify', account_id, account_id, '4000001', 'de', 'trunk-2', 2, '[]', id, 1, '[]',
    now(), now(), 0, now() FROM sip_trunks;
INSERT INTO timeline_entries (request_id, at, code, facts) SELECT id, now(), 'change_received', '{}' FROM requests;
INSERT INTO contract_items (contract_id, product_key, occurrence, monthly_cents, one_off_cents, started_at)
SELECT id, 'trunk-2', 2, 7, 0, now() FROM contracts;
"""
A_CANCELLATION = """
INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts;
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, price_lines, effective_on,
    replaced_lines, created_at, updated_at, attempts, due_at)
SELECT 'cancel', 'acknowledged', 'verify', id, id, customer_number, 'de', '[]', now(), '[]', now(), now(), 0, now()
FROM accounts;
INSERT INTO timeline_entries (request_id, at, code, facts) SELECT id, now(), 'cancellation_received', '{}'
FROM requests;
"""
WRONG = {
    "UPDATE accounts SET contact_email = 'Kim@example.com'": "contact_email_lower",
    "UPDATE messages SET locale = 'fr'": "locale",
    "UPDATE sip_trunks SET state = 'active'": "suspended_by_somebody",
    "UPDATE sip_trunks SET carrier_suspended_at = NULL, customer_suspended_at = now()": "carrier_says_why",
    "UPDATE sip_trunks SET carrier_reason = ''": "carrier_says_why",
    "UPDATE accounts SET role = 'sub', main_id = 1, origin = 'link', attached_at = now() WHERE state = 'closed'": (
        "closed_stands_alone"
    ),
}
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine on an empty database."""
    yield from _own_database(postgres, "migrations")


@pytest.fixture
def created(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine on a database whose tables were created from the models, without migrations."""
    for engine in _own_database(postgres, "created"):
        metadata.create_all(engine)
        yield engine


def _own_database(postgres: EmbeddedPostgres, name: str) -> Iterator[sa.Engine]:
    postgres.create_database(name)
    engine = sa.create_engine(postgres.url(name))
    yield engine
    engine.dispose()
    postgres.drop_database(name)


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - {"alembic_version"}


def test_up_down_and_up_again(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)
    with empty.connect() as connection:
        assert migrations.current_revision(connection) == migrations.head_revision()
    migrations.downgrade(empty, "base")
    assert _tables(empty) == set()
    with empty.connect() as connection:
        functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prolang <> 0"
        assert connection.scalar(sa.text(functions + " AND proname LIKE 'refuse%'")) == 0
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)


def test_the_way_down_takes_the_policies_along(empty: sa.Engine, postgres: EmbeddedPostgres) -> None:
    migrations.upgrade(empty)
    with closing(Database(postgres.url("migrations"))) as database:
        assert apply_row_security(database, on=True)
        migrations.downgrade(empty, "0036")
        migrations.upgrade(empty)
        assert not is_enforced(database)
        assert apply_row_security(database, on=True)


def test_models_and_migrations_agree(empty: sa.Engine, created: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for question in (COLUMNS, CONSTRAINTS, INDEXES):
        migrated, modelled = ({tuple(row) for row in _rows(engine, question)} for engine in (empty, created))
        assert migrated - modelled == set()
        assert modelled - migrated == set()


def test_what_was_written_before_a_rule_is_brought_in_line_with_it(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0006")
    with empty.begin() as connection:
        connection.execute(sa.text(OLD_ROWS))
    migrations.upgrade(empty)
    with empty.begin() as connection:
        of_kim = "SELECT contact_email FROM accounts WHERE customer_number = '4000001'"
        assert connection.scalar(sa.text(of_kim)) == "kim@example.com"
        assert connection.scalar(sa.text("SELECT locale FROM messages")) == "de"
        assert connection.scalar(sa.text("SELECT role FROM accounts WHERE state = 'closed'")) == "standalone"
        # Before 0011 only the carrier could suspend a trunk; the migration makes the trunk due for the registrar again.
        told = "SELECT carrier_suspended_at IS NOT NULL AND due_at IS NOT NULL FROM sip_trunks"
        assert connection.scalar(sa.text(told)) is True
    for statement, rule in WRONG.items():
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(statement))


def test_codes_that_are_open_last_to_the_end_of_the_day_that_was_said(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0021")
    said = {"noon@x.de": "2099-07-16 12:00", "late@x.de": "2099-07-16 23:59", "midnight@x.de": "2099-07-17 00:00"}
    # More than one transaction moves.
    said |= {f"{number}@x.de": "2099-07-16 12:00" for number in range(501)}
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        for address, until in said.items():
            proof = sa.text(
                "INSERT INTO email_proofs (main_id, address, issue, sent_issue, asked_at, expires_at, wrong_tries,"
                " reminders, resent) SELECT id, :address, 1, 1, now(), CAST(:until AS timestamp) AT TIME ZONE"
                " 'Europe/Berlin', 0, 0, 0 FROM accounts"
            )
            connection.execute(proof, {"address": address, "until": until})
    migrations.upgrade(empty)
    with empty.connect() as connection:
        ends = connection.scalars(sa.text("SELECT expires_at AT TIME ZONE 'Europe/Berlin' FROM email_proofs")).all()
    assert {f"{end:%Y-%m-%d %H:%M}" for end in ends} == {"2099-07-17 00:00"} and len(ends) == len(said)


def test_the_way_down_takes_changes_of_contracts_along_and_keeps_the_newest_line(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(A_CHANGE))
    for change, rule in (
        ("requests SET replaced_lines = NULL", "change_is_whole"),
        ("requests SET price_lines = NULL", "change_says_what"),
        ("requests SET kind = 'link', changed_trunk_id = NULL, effective_on = now()", "kinds_with_a_day"),
        ("contract_items SET started_at = now(), ended_at = now() - interval '1 s'", "ends_after_start"),
    ):
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(f"UPDATE {change}"))
    columns = (
        "kind, status, step, main_id, account_id, customer_number, locale, product_key, channels, price_lines,"
        " changed_trunk_id, replaced_channels, replaced_lines, created_at, updated_at, attempts, due_at"
    )
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="uq_requests_changes"):
        connection.execute(sa.text(f"INSERT INTO requests ({columns}) SELECT {columns} FROM requests"))
    migrations.downgrade(empty, "0046")
    assert _rows(empty, "SELECT count(*) FROM requests") == [(0,)]
    assert _rows(empty, "SELECT monthly_cents FROM contract_items") == [(7,)]
    migrations.upgrade(empty)


def test_the_way_down_takes_cancellations_along(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(A_CANCELLATION))
    for change, rule in (
        ("requests SET effective_on = NULL", "cancellation_is_whole"),
        ("requests SET replaced_lines = NULL", "cancellation_is_whole"),
        ("contracts SET term_months = 25", "term_months"),
        ("contracts SET notice_months = 2", "notice_months"),
    ):
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(f"UPDATE {change}"))
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="uq_requests_cancellations"):
        connection.execute(sa.text(A_CANCELLATION))
    assert _rows(empty, "SELECT term_months, notice_months, renewal_months FROM contracts") == [(0, 1, 0)]
    migrations.downgrade(empty, "0048")
    assert _rows(empty, "SELECT count(*) FROM requests") == [(0,)]
    migrations.upgrade(empty)


def test_the_way_down_detaches_nothing_before_its_day(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(DETACHMENTS))
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="sub_account_detaches"):
        connection.execute(sa.text("UPDATE requests SET kind = 'link', asked_proof = 'consent', effective_on = NULL"))
    migrations.downgrade(empty, "0048")
    told = _rows(empty, "SELECT status, due_at, effective_on FROM requests ORDER BY status")
    assert told == [("cancelled", None, None), ("completed", None, None)]
    migrations.upgrade(empty)


def test_a_released_schema_gets_the_column_that_came_later(empty: sa.Engine) -> None:
    def columns() -> set[str]:
        return {column["name"] for column in sa.inspect(empty).get_columns("bulks")}

    migrations.upgrade(empty, "0017")
    assert "price_lines" not in columns()
    migrations.upgrade(empty)
    assert "price_lines" in columns()


def test_a_migration_that_was_interrupted_runs_again(empty: sa.Engine) -> None:
    """Run the migrations after 0017 again, as after a death before their revision was saved: the schema is the same."""
    migrations.upgrade(empty)
    before = [{tuple(row) for row in _rows(empty, question)} for question in (COLUMNS, CONSTRAINTS, INDEXES)]
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0017'"))
    migrations.upgrade(empty)
    assert [{tuple(row) for row in _rows(empty, question)} for question in (COLUMNS, CONSTRAINTS, INDEXES)] == before


def test_no_transaction_of_a_migration_locks_two_tables_of_a_running_system() -> None:
    """Check that none locks several tables, which could deadlock with a customer's transaction."""
    for transaction in re.findall(r"BEGIN;(.*?)COMMIT;", migrations.statements("0017:head"), re.DOTALL):
        made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", transaction))
        locked = set(re.findall(r"(?:ALTER TABLE|UPDATE(?! OF)|DELETE FROM|INSERT INTO) (\w+)", transaction))
        assert len(locked - made - {"alembic_version"}) <= (0 if made else 1), transaction


def test_proofs_of_addresses_with_two_numbers_and_orders_that_waited_in_vain_are_found_again(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0017")
    with empty.begin() as connection:
        connection.execute(sa.text(WAITING_ORDERS))
        main_id = str(connection.scalar(sa.text("SELECT id FROM accounts WHERE role = 'main'")))
        proved = "UPDATE address_proofs SET proved_at = now(), method = 'letter' WHERE address_key LIKE '%koeln'"
        connection.execute(sa.text(proved))
    migrations.upgrade(empty)
    with Session(empty) as session:
        proofs = {proof.address_key: proof for proof in session.scalars(sa.select(AddressProof))}
        moved = proofs["ammarkt1/210115berlin"]
        # The code of a letter that is in the post stays right; that of the next letter is derived from the new key.
        assert moved.words() == ["letter", main_id, "ammarkt1210115berlin", "1"]
        moved.renew(NOW)
        assert moved.words() == ["letter", main_id, "ammarkt1/210115berlin", "2"]
        assert [key for key, proof in proofs.items() if proof.code_key is not None] == []
    keys = {str(row[0]) for row in _rows(empty, "SELECT address_key FROM address_proofs")}
    assert keys == {"ammarkt1/210115berlin", "brueckenstr510115berlin", address_key("Am Markt 1/2", "10115", "Köln")}
    woken = "SELECT status, reason, waiting_for, waiting_until FROM requests WHERE due_at < now() + interval '1 hour'"
    assert [[str(fact) for fact in row] for row in _rows(empty, woken)] == [["in_progress", *["None"] * 3]] * 3
    # A program before this one, which still runs, does not take them.
    assert [bool(row[0]) for row in _rows(empty, "SELECT due_at > now() FROM requests")] == [True] * 3
    migrations.downgrade(empty, "0022")
    keys = {str(row[0]) for row in _rows(empty, "SELECT address_key FROM address_proofs")}
    assert keys == {"ammarkt1210115berlin", "brueckenstr510115berlin", address_key("Am Markt 1/2", "10115", "Köln")}


def test_the_carriers_list_of_high_risk_destinations_outlives_a_second_run(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE high_risk_prefixes SET reason = 'ours' WHERE prefix = '881'"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0027'"))
    migrations.upgrade(empty)
    assert _rows(empty, "SELECT reason FROM high_risk_prefixes WHERE prefix = '881'") == [("ours",)]
    # A trunk from before, and one that the old version makes beside the new, may call what it could.
    defaults = "SELECT column_default FROM information_schema.columns WHERE table_name = 'sip_trunks'"
    asked = f"{defaults} AND column_name IN ('countries', 'high_risk') ORDER BY column_name"
    assert _rows(empty, asked) == [(None,), ("true",)]


def test_tokens_whose_person_is_gone_are_revoked_and_the_others_go_on_without_an_expiry(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0028")
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(
            sa.text(
                "INSERT INTO users (email, name, locale, is_staff, created_at) SELECT role, 'Kim', 'de', false, now()"
                " FROM unnest(ARRAY['administrator', 'location_manager', 'local_member', 'gone']) AS role;"
                "INSERT INTO memberships SELECT users.id, accounts.id, users.email FROM users, accounts"
                " WHERE users.email <> 'gone';"
                "INSERT INTO api_tokens (account_id, user_id, name, token_hash, scopes, created_at)"
                " SELECT accounts.id, users.id, users.email, users.email::bytea, '{}', now() FROM users, accounts"
            )
        )
    migrations.upgrade(empty)
    kept = "SELECT name FROM api_tokens WHERE revoked_at IS NULL AND expires_at IS NULL ORDER BY name"
    assert _rows(empty, kept) == [("administrator",), ("location_manager",)]
    for change, rule in (
        ("expires_at = created_at", "expires_later"),
        ("last_used_at = now()", "last_use_is_whole"),
    ):
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(f"UPDATE api_tokens SET {change}"))
    migrations.downgrade(empty, "0028")


def test_a_migration_gives_up_rather_than_queue_in_front_of_customers(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.connect() as busy:
        busy.execute(sa.text("SELECT 1 FROM accounts"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            migrations.downgrade(empty, "base")
        busy.rollback()
        assert "accounts" in _tables(empty)
    # What was undone before it gave up was undone whole.
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)


def test_two_machines_that_migrate_at_once_wait_for_each_other(empty: sa.Engine) -> None:
    """Migrate one database three times at once; a waiting run has no transaction open, so indexes can be built."""
    with ThreadPoolExecutor() as machines:
        for upgraded in [machines.submit(migrations.upgrade, empty) for _ in range(3)]:
            upgraded.result()
    assert _tables(empty) == set(metadata.tables)


def _rows(engine: sa.Engine, question: str) -> list[sa.Row[tuple[object, ...]]]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(question)))
