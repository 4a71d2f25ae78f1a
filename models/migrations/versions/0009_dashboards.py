"""Create the audit log, let call forwardings apply at hours of the week, and index numbers for searches by any part.

All three are for the accounts' dashboards.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "forwarding_added", "forwarding_changed", "forwarding_removed",
    "detach_asked", "user_invited", "invitation_withdrawn", "user_joined", "role_changed", "user_removed",
)  # fmt: skip
PLACE = (
    "CASE condition WHEN 'always' THEN 0 WHEN 'busy' THEN 1 WHEN 'no_answer' THEN 2 WHEN 'not_registered' THEN 3 END"
)


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("through_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "deed", sa.Enum(*DEEDS, name="deed", native_enum=False, create_constraint=True, length=32), nullable=False
        ),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "deed <> 'looked_in' OR through_id IS NOT NULL", name=op.f("ck_audit_entries_looked_in_through")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_audit_entries_account_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_entries_user_id")),
        sa.ForeignKeyConstraint(["through_id"], ["accounts.id"], name=op.f("fk_audit_entries_through_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_account_id_id", "audit_entries", ["account_id", "id"])
    op.create_index(op.f("ix_audit_entries_user_id"), "audit_entries", ["user_id"])
    op.create_index(
        "uq_audit_entries_looked_in",
        "audit_entries",
        ["account_id", "user_id", sa.text("date_trunc('hour'::text, (at AT TIME ZONE 'UTC'::text))")],
        unique=True,
        postgresql_where=sa.text("deed = 'looked_in'"),
    )
    op.add_column(
        "call_forwardings",
        sa.Column("hours", postgresql.INT4MULTIRANGE(), server_default="{[0,10080)}", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_call_forwardings_hours"), "call_forwardings", "hours <@ int4range(0, 10080) AND NOT isempty(hours)"
    )
    op.drop_constraint(op.f("uq_call_forwardings_account_id_condition"), "call_forwardings")
    op.create_index(op.f("ix_call_forwardings_account_id"), "call_forwardings", ["account_id"])
    # Alembic's own operation cannot name expressions.
    op.execute(
        "ALTER TABLE call_forwardings ADD CONSTRAINT ex_call_forwardings_hours EXCLUDE USING gist ("
        f"int8range(account_id, account_id, '[]') WITH &&, int4range({PLACE}, {PLACE}, '[]') WITH &&, hours WITH &&"
        ") WHERE (enabled)"
    )
    # PostgreSQL's own, and trusted: the owner of the database may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_index(
        "ix_number_blocks_stem",
        "number_blocks",
        [sa.literal_column("((first_number / size)::text)", sa.Text()).label("stem")],
        postgresql_using="gin",
        postgresql_ops={"stem": "gin_trgm_ops"},
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_number_blocks_stem", table_name="number_blocks")
    op.execute("DROP EXTENSION pg_trgm")
    op.drop_constraint("ex_call_forwardings_hours", "call_forwardings")
    op.drop_index(op.f("ix_call_forwardings_account_id"), table_name="call_forwardings")
    # The schema before knows one forwarding a condition, for the whole week.
    op.execute(
        "DELETE FROM call_forwardings one USING call_forwardings other"
        " WHERE one.account_id = other.account_id AND one.condition = other.condition AND one.id > other.id"
    )
    op.create_unique_constraint(
        op.f("uq_call_forwardings_account_id_condition"), "call_forwardings", ["account_id", "condition"]
    )
    op.drop_constraint(op.f("ck_call_forwardings_hours"), "call_forwardings")
    op.drop_column("call_forwardings", "hours")
    op.drop_table("audit_entries")
