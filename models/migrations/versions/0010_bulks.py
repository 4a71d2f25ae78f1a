"""Create the tables of bulks (uploaded files of orders or link requests) and of their rows.

Requests and messages name their bulk, and an index finds those without a bulk, which workers process first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KINDS = ("order", "link", "detach")
FATES = ("placed", "repeated", "refused")


def upgrade() -> None:
    _bulks()
    _rows()
    for table in ("requests", "messages"):
        op.add_column(table, sa.Column("bulk_id", sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_bulk_id"), table, "bulks", ["bulk_id"], ["id"])
        op.create_index(
            f"ix_{table}_due_alone",
            table,
            ["due_at"],
            postgresql_where=sa.text("due_at IS NOT NULL AND bulk_id IS NULL"),
        )
        op.create_index(f"ix_{table}_bulk_id", table, ["bulk_id"], postgresql_where=sa.text("bulk_id IS NOT NULL"))


def _bulks() -> None:
    op.create_table(
        "bulks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind", sa.Enum(*KINDS, name="kind", native_enum=False, create_constraint=True, length=32), nullable=False
        ),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("placed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('order', 'link')", name=op.f("ck_bulks_kind_in_files")),
        sa.CheckConstraint("locale IN ('de', 'en')", name=op.f("ck_bulks_locale")),
        sa.CheckConstraint(
            "(due_at IS NOT NULL) = (sent_at IS NOT NULL AND ended_at IS NULL)", name=op.f("ck_bulks_sent_is_due")
        ),
        sa.CheckConstraint("ended_at IS NULL OR placed_at IS NOT NULL", name=op.f("ck_bulks_ends_when_placed")),
        sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name=op.f("ck_bulks_lease_ends")),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_bulks_main_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_bulks_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulks")),
        sa.UniqueConstraint("main_id", "fingerprint", name="uq_bulks_file"),
    )
    op.create_index("ix_bulks_due_at", "bulks", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_bulks_main_id_id", "bulks", ["main_id", "id"])
    op.create_index(op.f("ix_bulks_user_id"), "bulks", ["user_id"])


def _rows() -> None:
    op.create_table(
        "bulk_rows",
        sa.Column("bulk_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.Column("cells", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("errors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("draft", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column(
            "fate", sa.Enum(*FATES, name="fate", native_enum=False, create_constraint=True, length=32), nullable=True
        ),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(errors IS NULL) = (draft IS NOT NULL)", name=op.f("ck_bulk_rows_wrong_or_right")),
        sa.CheckConstraint("(draft IS NULL) = (key IS NULL)", name=op.f("ck_bulk_rows_right_has_key")),
        sa.CheckConstraint(
            "(fate = 'placed') = (request_id IS NOT NULL)", name=op.f("ck_bulk_rows_placed_has_request")
        ),
        sa.CheckConstraint("(fate = 'refused') = (refusal IS NOT NULL)", name=op.f("ck_bulk_rows_refused_has_reason")),
        sa.CheckConstraint("fate IS NULL OR draft IS NOT NULL", name=op.f("ck_bulk_rows_only_right_ones")),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulks.id"], name=op.f("fk_bulk_rows_bulk_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_bulk_rows_main_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_bulk_rows_request_id")),
        sa.PrimaryKeyConstraint("bulk_id", "line", name=op.f("pk_bulk_rows")),
        sa.UniqueConstraint("request_id", name=op.f("uq_bulk_rows_request_id")),
    )
    op.create_index(
        "uq_bulk_rows_key", "bulk_rows", ["main_id", "key"], unique=True, postgresql_where=sa.text("fate = 'placed'")
    )
    op.create_index("ix_bulk_rows_open", "bulk_rows", ["bulk_id", "line"], postgresql_where=sa.text("fate IS NULL"))


def downgrade() -> None:
    for table in ("requests", "messages"):
        op.drop_index(f"ix_{table}_bulk_id", table_name=table)
        op.drop_index(f"ix_{table}_due_alone", table_name=table)
        op.drop_constraint(op.f(f"fk_{table}_bulk_id"), table)
        op.drop_column(table, "bulk_id")
    op.drop_table("bulk_rows")
    op.drop_table("bulks")
