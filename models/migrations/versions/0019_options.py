"""Save the details of an order's options, and create the tables of contract holders and directory entries.

The law requires the carrier to record the contract holder of an account (§ 172 TKG).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
)  # fmt: skip
NEW = ("holder_changed", "directory_changed", "directory_withdrawn")
LATER = (
    "user_invited", "invitation_withdrawn", "user_joined", "role_changed", "user_removed", "request_retried",
    "request_cancelled", "document_opened", "document_released", "document_refused",
)  # fmt: skip


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column("requests", sa.Column("option_details", postgresql.JSONB(), nullable=True), if_not_exists=True)
        op.create_table(
            "contract_holders",
            sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("form", sa.String(32), nullable=False),
            sa.Column("register_number", sa.Text(), nullable=True),
            sa.Column("born_on", sa.Date(), nullable=True),
            sa.Column("street", sa.Text(), nullable=False),
            sa.Column("postal_code", sa.Text(), nullable=False),
            sa.Column("city", sa.Text(), nullable=False),
            sa.Column("changed_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.CheckConstraint("form IN ('company', 'person', 'other')", name=op.f("ck_contract_holders_form")),
            sa.CheckConstraint(
                "(form = 'company') = (register_number IS NOT NULL)",
                name=op.f("ck_contract_holders_company_has_number"),
            ),
            sa.CheckConstraint(
                "(form = 'person') = (born_on IS NOT NULL)", name=op.f("ck_contract_holders_person_has_birth")
            ),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_contract_holders_account_id")),
            sa.PrimaryKeyConstraint("account_id", name=op.f("pk_contract_holders")),
            if_not_exists=True,
        )
        op.create_table(
            "directory_entries",
            sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("number", sa.BigInteger(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("show_address", sa.Boolean(), nullable=False),
            sa.Column("published_in", postgresql.ARRAY(sa.Text()), nullable=False),
            sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("changed_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("withdrawn_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.CheckConstraint(
                "cardinality(published_in) > 0 AND published_in <@ ARRAY['print', 'online', 'enquiries']",
                name=op.f("ck_directory_entries_published_in"),
            ),
            sa.CheckConstraint("name <> ''", name=op.f("ck_directory_entries_name")),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_directory_entries_account_id")),
            sa.PrimaryKeyConstraint("account_id", name=op.f("pk_directory_entries")),
            if_not_exists=True,
        )
    _deeds(*DEEDS, *NEW, *LATER)


def downgrade() -> None:
    deeds = ", ".join(f"'{deed}'" for deed in NEW)
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({deeds})")  # noqa: S608 - words of our own
    _deeds(*DEEDS, *LATER)
    op.drop_table("directory_entries")
    op.drop_table("contract_holders")
    op.drop_column("requests", "option_details", if_exists=True)


def _deeds(*deeds: str) -> None:
    """Allow exactly these values of `deed`, the kind of an entry, in the audit log.

    Existing rows are checked afterwards, without blocking writers.
    """
    words = ", ".join(f"'{deed}'" for deed in deeds)
    with op.get_context().autocommit_block():
        op.execute(
            # The rule in its place allows more.
            "-- squawk-ignore ban-drop-constraint\n"
            "ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS ck_audit_entries_deed,"
            f" ADD CONSTRAINT ck_audit_entries_deed CHECK (deed IN ({words})) NOT VALID"
        )
        op.execute("ALTER TABLE audit_entries VALIDATE CONSTRAINT ck_audit_entries_deed")
