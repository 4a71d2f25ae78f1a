"""Tests of what migrations, up and down, do with rows that another version of the program has written."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models import migrations
from models.proofs.proofs import AddressProof
from models.same_address import address_key
from tests.factories import NOW
from tests.models.migrations.conftest import rows

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
WAITING_CHANGE = """
UPDATE requests SET status = 'pending', reason = 'approval_awaited', waiting_for = 'approver',
    waiting_until = now(), approval_until = now(), due_at = now();
INSERT INTO timeline_entries (request_id, at, code, facts)
SELECT id, now(), 'pending', '{"reason": "approval_awaited"}' FROM requests;
"""
WAITING_NUMBERS = """
UPDATE requests SET status = 'pending', reason = 'certificate_in_review', waiting_for = 'carrier',
    waiting_until = now(), need_until = now(), due_at = now();
INSERT INTO timeline_entries (request_id, at, code, facts)
SELECT id, now(), code, facts::jsonb FROM requests, (VALUES ('numbers_received', '{}'), ('certificate_received', '{}'),
    ('pending', '{"reason": "need_not_proved"}')) AS told (code, facts);
INSERT INTO users (email, name, locale, created_at) VALUES ('kim@example.com', 'Kim', 'de', now());
INSERT INTO address_documents (request_id, name, media_type, content, uploaded_at, uploaded_by, released, decided_at,
    decided_by, refusal, numbers)
SELECT requests.id, 'x', 'image/png', '', now(), users.id, false, now(), users.id, 'no_need', 110 FROM requests, users;
INSERT INTO messages (channel, template, occasion, recipient_name, recipient_address, locale, facts, announced, state,
    queued_at, due_at, attempts)
VALUES ('mail', 'certificate_refused', '', 'Kim', 'kim@example.com', 'de', '{}', false, 'queued', now(), now(), 0);
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
_COLUMNS = (
    "kind, status, step, main_id, account_id, customer_number, locale, product_key, channels, price_lines,"
    " changed_trunk_id, replaced_channels, replaced_lines, created_at, updated_at, attempts, due_at"
)
ANOTHER_CHANGE = f"INSERT INTO requests ({_COLUMNS}) SELECT {_COLUMNS} FROM requests"
A_RESERVATION = """
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, product_key, area_code,
    block_size, price_lines, changed_trunk_id, reserved_block_id, replaced_lines, created_at, updated_at, attempts,
    due_at)
SELECT 'numbers', 'in_progress', 'verify', trunk.account_id, trunk.account_id, '4000001', 'de', 'trunk-2', '030', 1,
    '[]', trunk.id, block.id, '[]', now(), now(), 0, now() FROM sip_trunks AS trunk, number_blocks AS block;
"""
MORE_NUMBERS = (
    """
INSERT INTO area_codes VALUES ('030', 'Berlin');
INSERT INTO number_blocks (area_code, first_number, size, available_from)
VALUES ('030', 493020000000, 1, '9997-01-01 00:00:00+00');
"""
    + A_RESERVATION
)
A_CANCELLATION = """
INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts;
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, price_lines, effective_on,
    replaced_lines, created_at, updated_at, attempts, due_at)
SELECT 'cancel', 'acknowledged', 'verify', id, id, customer_number, 'de', '[]', now(), '[]', now(), now(), 0, now()
FROM accounts;
INSERT INTO timeline_entries (request_id, at, code, facts) SELECT id, now(), 'cancellation_received', '{}'
FROM requests;
"""
A_MOVE = """
INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts;
INSERT INTO area_codes VALUES ('030', 'Berlin'), ('089', 'München');
INSERT INTO number_blocks (area_code, first_number, size, available_from, account_id)
SELECT '030', 493020000000, 10, now(), id FROM accounts;
INSERT INTO number_blocks (area_code, first_number, size, available_from)
VALUES ('089', 498920000000, 10, '9997-01-01 00:00:00+00');
INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, price_lines, replaced_lines,
    new_street, new_postal_code, new_city, replaced_place, created_at, updated_at, attempts, due_at)
SELECT 'move', 'acknowledged', 'verify', id, id, customer_number, 'de', '[]', '[]', 'Marienplatz 8', '80331', 'München',
    '{}', now(), now(), 0, now() FROM accounts;
INSERT INTO moved_blocks (request_id, block_id, replacement_id) SELECT requests.id, goes.id, comes.id
FROM requests, number_blocks AS goes, number_blocks AS comes WHERE goes.area_code = '030' AND comes.area_code = '089';
"""
ANOTHER_MOVE = A_MOVE[A_MOVE.index("INSERT INTO requests") : A_MOVE.index("INSERT INTO moved_blocks")]
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


@pytest.mark.parametrize(
    ("written", "broken", "again", "before", "kept"),
    [
        (
            A_CHANGE,
            {
                "requests SET replaced_lines = NULL": "change_is_whole",
                "requests SET price_lines = NULL": "change_says_what",
                "requests SET kind = 'link', changed_trunk_id = NULL, effective_on = now()": "kinds_with_a_day",
                "contract_items SET started_at = now(), ended_at = now() - interval '1 s'": "ends_after_start",
            },
            (ANOTHER_CHANGE, "uq_requests_changes"),
            "0046",
            "SELECT monthly_cents FROM contract_items",
        ),
        (
            A_CANCELLATION,
            {
                "requests SET effective_on = NULL": "cancellation_is_whole",
                "requests SET replaced_lines = NULL": "cancellation_is_whole",
                "contracts SET term_months = 25": "term_months",
                "contracts SET notice_months = 2": "notice_months",
            },
            (A_CANCELLATION, "uq_requests_cancellations"),
            "0048",
            "SELECT 7 FROM contracts",
        ),
        (
            A_MOVE,
            {
                "requests SET new_city = NULL": "move_is_whole",
                "requests SET replaced_place = NULL": "move_is_whole",
                "requests SET price_lines = NULL": "move_says_prices",
                "requests SET new_postal_code = '8033'": "new_postal_code",
                "moved_blocks SET replacement_id = NULL, moved_at = now()": "moved_to_another",
                "moved_blocks SET replacement_id = block_id": "replaces_another",
            },
            (ANOTHER_MOVE, "uq_requests_moves"),
            "0065",
            "SELECT 7 FROM number_blocks WHERE available_from < now() + interval '1 second' AND account_id IS NULL",
        ),
    ],
    ids=["changes", "cancellations", "moves"],
)
def test_the_way_down_takes_along_what_the_program_before_does_not_know(
    empty: sa.Engine, written: str, broken: dict[str, str], again: tuple[str, str], before: str, kept: str
) -> None:
    """Write a change or a cancellation of a contract, and migrate down to `before`, which does not know such requests.

    The request is deleted; the contract stays, and the query `kept` finds its one row, with the value 7. Before that,
    each UPDATE in `broken`, and the statement `again`, must be refused by the constraint that is named beside it.
    `written` is the SQL that writes the request.
    """
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(written))
    for statement, rule in ({f"UPDATE {change}": rule for change, rule in broken.items()} | dict([again])).items():
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(statement))
    migrations.downgrade(empty, before)
    assert rows(empty, "SELECT count(*) FROM requests") == [(0,)]
    assert rows(empty, kept) == [(7,)]
    migrations.upgrade(empty)


def test_contracts_from_before_terms_can_be_cancelled_with_a_month_of_notice(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0048")
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text("INSERT INTO contracts (account_id, started_at) SELECT id, now() FROM accounts"))
    migrations.upgrade(empty)
    assert rows(empty, "SELECT term_months, notice_months, renewal_months FROM contracts") == [(0, 1, 0)]


def test_the_way_down_frees_numbers_that_are_reserved(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        for written in (AN_ACCOUNT, A_CHANGE, MORE_NUMBERS):
            connection.execute(sa.text(written))
    for change, rule in (
        ("area_code = NULL", "numbers_are_whole"),
        ("changed_trunk_id = NULL", "numbers_are_whole"),
        ("kind = 'cancel', effective_on = now()", "numbers_reserve"),
    ):
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(f"UPDATE requests SET {change} WHERE kind = 'numbers'"))
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="uq_requests_reserved"):
        connection.execute(sa.text(A_RESERVATION))
    migrations.downgrade(empty, "0053")
    assert rows(empty, "SELECT kind FROM requests") == [("change",)]
    assert rows(empty, "SELECT available_from < now() + interval '1 second' FROM number_blocks") == [(True,)]
    migrations.upgrade(empty)


def test_the_way_down_assigns_no_numbers_that_wait_for_a_certificate(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0057")
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(A_CHANGE))
        # A change becomes an order of numbers.
        connection.execute(sa.text("INSERT INTO area_codes VALUES ('030', 'Berlin')"))
        connection.execute(
            sa.text(
                "UPDATE requests SET kind = 'numbers', area_code = '030', block_size = 100, replaced_channels = NULL"
            )
        )
    migrations.upgrade(empty, "0059")
    with empty.begin() as connection:
        connection.execute(sa.text(WAITING_NUMBERS))
    migrations.downgrade(empty, "0057")
    assert rows(empty, "SELECT status, reason, due_at FROM requests") == [
        ("cancelled", "cancelled_by_back_office", None)
    ]
    assert rows(empty, "SELECT code FROM timeline_entries ORDER BY id") == [
        ("change_received",),
        ("numbers_received",),
    ]
    assert rows(empty, "SELECT id FROM address_documents") == rows(empty, "SELECT id FROM messages") == []


def test_the_way_down_changes_nothing_that_waits_for_an_approval(empty: sa.Engine) -> None:
    migrations.upgrade(empty, "0057")
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(A_CHANGE))
    migrations.upgrade(empty, "0068")
    assert rows(empty, "SELECT approval_until, approved FROM requests") == [(None, None)]
    with empty.begin() as connection:
        connection.execute(sa.text(WAITING_CHANGE))
    migrations.downgrade(empty, "0067")
    assert rows(empty, "SELECT status, reason, due_at FROM requests") == [
        ("cancelled", "cancelled_by_back_office", None)
    ]
    assert rows(empty, "SELECT code FROM timeline_entries") == [("change_received",)]
    migrations.upgrade(empty)


def test_the_way_down_detaches_nothing_before_its_day(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(sa.text(DETACHMENTS))
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="sub_account_detaches"):
        connection.execute(sa.text("UPDATE requests SET kind = 'link', asked_proof = 'consent', effective_on = NULL"))
    migrations.downgrade(empty, "0048")
    told = rows(empty, "SELECT status, due_at, effective_on FROM requests ORDER BY status")
    assert told == [("cancelled", None, None), ("completed", None, None)]
    migrations.upgrade(empty)


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
    keys = {str(row[0]) for row in rows(empty, "SELECT address_key FROM address_proofs")}
    assert keys == {"ammarkt1/210115berlin", "brueckenstr510115berlin", address_key("Am Markt 1/2", "10115", "Köln")}
    woken = "SELECT status, reason, waiting_for, waiting_until FROM requests WHERE due_at < now() + interval '1 hour'"
    assert [[str(fact) for fact in row] for row in rows(empty, woken)] == [["in_progress", *["None"] * 3]] * 3
    # A program before this one, which still runs, does not take them.
    assert [bool(row[0]) for row in rows(empty, "SELECT due_at > now() FROM requests")] == [True] * 3
    migrations.downgrade(empty, "0022")
    keys = {str(row[0]) for row in rows(empty, "SELECT address_key FROM address_proofs")}
    assert keys == {"ammarkt1210115berlin", "brueckenstr510115berlin", address_key("Am Markt 1/2", "10115", "Köln")}


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
    assert rows(empty, kept) == [("administrator",), ("location_manager",)]
    for change, rule in (
        ("expires_at = created_at", "expires_later"),
        ("last_used_at = now()", "last_use_is_whole"),
    ):
        with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match=rule):
            connection.execute(sa.text(f"UPDATE api_tokens SET {change}"))
    migrations.downgrade(empty, "0028")


@pytest.mark.parametrize(("kind", "before"), [("change", "0071"), ("cancel", "0072")])
def test_files_go_with_the_version_that_knows_their_kind(empty: sa.Engine, kind: str, before: str) -> None:
    migrations.upgrade(empty)
    a_file = (
        "INSERT INTO bulks (main_id, user_id, kind, locale, file_name, fingerprint, created_at, attempts)"
        f" SELECT accounts.id, users.id, '{kind}', 'de', 'Tarife.csv', 'x', now(), 0 FROM accounts, users"
    )
    with empty.begin() as connection:
        connection.execute(sa.text(AN_ACCOUNT))
        connection.execute(
            sa.text(
                "INSERT INTO users (email, name, locale, is_staff, created_at)"
                " VALUES ('k@x', 'Kim', 'de', false, now())"
            )
        )
        connection.execute(sa.text(a_file))
    migrations.downgrade(empty, before)
    assert rows(empty, "SELECT kind FROM bulks") == []
    with empty.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="kind_in_files"):
        connection.execute(sa.text(a_file))
