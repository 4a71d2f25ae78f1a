"""Add `users.disabled_at`, by which the carrier shuts a person out, and the table of prices from a day on.

Also allow entries of the audit log for what the carrier does at its console.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused", "request_uri_changed",
    "destinations_changed", "token_created", "token_revoked",
)  # fmt: skip
OF_LOGINS = (
    "password_changed", "factor_added", "factor_removed", "factor_reset_asked", "factor_reset_withdrawn", "factors_reset",
    "recovery_codes_made", "recovery_code_used",
)  # fmt: skip
OF_COMPANIES = ("factor_demanded", "factor_not_demanded")
NEW = ("account_created", "administrator_added", "invoice_joined", "invoice_left")
NEW_OF_LOGINS = ("login_disabled", "login_enabled")
VIEWS = {
    # What the metrics ask, without a word about customers: for each kind of work the earliest row that waits.
    "oldest_of_work": """
SELECT 'requests.verify' AS work, min(due_at) AS due_at FROM requests
WHERE due_at IS NOT NULL AND (step = 'provision') IS FALSE
UNION ALL SELECT 'requests.provision', min(due_at) FROM requests
WHERE due_at IS NOT NULL AND (step = 'provision') IS TRUE
UNION ALL SELECT 'messages.send', min(due_at) FROM messages WHERE due_at IS NOT NULL
UNION ALL SELECT 'registrar.sync', least(
    (SELECT min(due_at) FROM sip_trunks WHERE due_at IS NOT NULL),
    (SELECT min(due_at) FROM block_announcements WHERE due_at IS NOT NULL)
)
UNION ALL SELECT 'bulk.place', min(due_at) FROM bulks WHERE due_at IS NOT NULL""",
    # Of each pool how many blocks are free; a pool whose last block is given out is in it while blocks rest.
    "free_numbers": """
SELECT area_code, size, count(*) FILTER (WHERE available_from <= now()) AS free
FROM number_blocks WHERE account_id IS NULL GROUP BY area_code, size""",
}
OF_NO_ACCOUNT = ("login_created", "price_set", "product_withdrawn", "numbers_stocked", "numbers_withdrawn")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column("users", sa.Column("disabled_at", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True)
        op.create_table(
            "product_prices",
            sa.Column("product_key", sa.Text(), nullable=False),
            sa.Column("valid_from", sa.Date(), nullable=False),
            sa.Column("monthly_cents", sa.Integer(), nullable=False),
            sa.Column("one_off_cents", sa.Integer(), nullable=False),
            sa.Column("orderable", sa.Boolean(), nullable=False),
            sa.Column("set_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name=op.f("ck_product_prices_prices")),
            sa.ForeignKeyConstraint(["product_key"], ["products.key"], name=op.f("fk_product_prices_product_key")),
            sa.PrimaryKeyConstraint("product_key", "valid_from", name=op.f("pk_product_prices")),
            if_not_exists=True,
        )
        for name, query in VIEWS.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        _check("deed", f"deed IN ({_words(*DEEDS, *OF_LOGINS, *OF_COMPANIES, *NEW_OF_LOGINS, *NEW, *OF_NO_ACCOUNT)})")
        alone = _words(*OF_LOGINS, *NEW_OF_LOGINS, *OF_NO_ACCOUNT)
        _check("about_an_account", f"account_id IS NOT NULL OR deed IN ({alone})")


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({_words(*NEW, *NEW_OF_LOGINS, *OF_NO_ACCOUNT)})")  # noqa: S608
    _check("about_an_account", f"account_id IS NOT NULL OR deed IN ({_words(*OF_LOGINS)})")
    _check("deed", f"deed IN ({_words(*DEEDS, *OF_LOGINS, *OF_COMPANIES)})")
    for name in VIEWS:
        op.execute(f"DROP VIEW IF EXISTS {name}")
    op.drop_table("product_prices", if_exists=True)
    # Who was shut out stays so: without a password nobody signs in.
    op.execute("UPDATE users SET password_hash = NULL WHERE disabled_at IS NOT NULL")
    op.drop_column("users", "disabled_at", if_exists=True)


def _check(name: str, rule: str) -> None:
    full = op.f(f"ck_audit_entries_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS {full},"
        f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {full}")


def _words(*deeds: str) -> str:
    return ", ".join(f"'{deed}'" for deed in deeds)
