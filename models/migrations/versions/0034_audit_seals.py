"""Add triggers that refuse to change or delete entries of the audit log, and create the table of their seals.

The seals are a chain of hashes, which shows a change that a superuser made without the triggers.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

TABLES = ("audit_entries", "audit_seals")
# A superuser can switch triggers off; what is done then is what the chain of hashes shows.
REFUSE = """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows'
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$
"""


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.create_table(
            "audit_seals",
            sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("entry_id", sa.BigInteger(), nullable=False),
            sa.Column("sealed_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("hash", sa.LargeBinary(), nullable=False),
            sa.CheckConstraint("position > 0", name=op.f("ck_audit_seals_counted_from_one")),
            sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_audit_seals_hash_length")),
            sa.ForeignKeyConstraint(["entry_id"], ["audit_entries.id"], name=op.f("fk_audit_seals_entry_id")),
            sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_seals")),
            sa.UniqueConstraint("entry_id", name=op.f("uq_audit_seals_entry_id")),
            if_not_exists=True,
        )
        op.execute(REFUSE)
        for table in TABLES:
            # For each row, so that a statement that meets no row passes: a later migration's downgrade may have one.
            op.execute(
                f"CREATE OR REPLACE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()"
            )
            op.execute(
                f"CREATE OR REPLACE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
            )


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS audit_entries_only_grow ON audit_entries")
    op.execute("DROP TRIGGER IF EXISTS audit_entries_never_emptied ON audit_entries")
    op.drop_table("audit_seals", if_exists=True)
    op.execute("DROP FUNCTION IF EXISTS refuse_audit_change")
