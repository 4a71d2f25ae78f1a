"""Create the tables of scheduled jobs, their runs and findings, and of collective invoices; make trunks a work queue.

So discrepancies are found and repaired, and a changed trunk is written to the registrar by a worker. Also records when
a message was refused.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OUTCOMES = ("done", "failed", "lost")


def upgrade() -> None:
    _jobs()
    _invoices()
    op.add_column("sip_trunks", sa.Column("due_at", sa.TIMESTAMP(timezone=True)))
    op.add_column("sip_trunks", sa.Column("lease", sa.Uuid()))
    op.add_column("sip_trunks", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("sip_trunks", "attempts", server_default=None)
    _check("sip_trunks", "lease_ends", "due_at IS NOT NULL OR lease IS NULL")
    op.create_index("ix_sip_trunks_due_at", "sip_trunks", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    # Builds the unique index of the column again, and does not rewrite the table.
    op.alter_column("sip_trunks", "sip_user", type_=sa.Text(collation="C"))
    op.add_column("messages", sa.Column("refused_at", sa.TIMESTAMP(timezone=True)))
    # The time of a refusal was not recorded; it was not before the message was queued.
    op.execute("UPDATE messages SET refused_at = queued_at WHERE state = 'refused'")
    _check("messages", "refused_has_time", "(state = 'refused') = (refused_at IS NOT NULL)")
    op.create_index(
        "ix_messages_refused_at", "messages", ["refused_at"], postgresql_where=sa.text("refused_at IS NOT NULL")
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.CheckConstraint("due_at IS NOT NULL", name=op.f("ck_jobs_never_ends")),
        sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name=op.f("ck_jobs_lease_ends")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_due_at", "jobs", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_table(
        "job_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("found", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unrepaired", sa.Integer(), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum(*OUTCOMES, name="outcome", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("ck_job_runs_end_has_outcome")),
        sa.CheckConstraint(
            "(outcome IS NOT DISTINCT FROM 'failed') = (error IS NOT NULL)", name=op.f("ck_job_runs_failure_has_error")
        ),
        sa.ForeignKeyConstraint(["name"], ["jobs.name"], name=op.f("fk_job_runs_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
    )
    op.create_index("ix_job_runs_name_started_at", "job_runs", ["name", "started_at"])
    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("repaired", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["job_runs.id"], name=op.f("fk_findings_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index(op.f("ix_findings_run_id"), "findings", ["run_id"])


def _invoices() -> None:
    op.create_table(
        "collective_invoices",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_collective_invoices_main_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collective_invoices")),
        sa.UniqueConstraint("number", name=op.f("uq_collective_invoices_number")),
    )
    op.create_index(op.f("ix_collective_invoices_main_id"), "collective_invoices", ["main_id"])
    op.create_table(
        "collective_invoice_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("left_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("left_at >= since", name=op.f("ck_collective_invoice_items_leaves_after_joining")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_collective_invoice_items_account_id")),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["collective_invoices.id"], name=op.f("fk_collective_invoice_items_invoice_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collective_invoice_items")),
    )
    for column in ("invoice_id", "account_id"):
        op.create_index(op.f(f"ix_collective_invoice_items_{column}"), "collective_invoice_items", [column])
    op.create_index(
        "uq_collective_invoice_items_open",
        "collective_invoice_items",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("left_at IS NULL"),
    )


def _check(table: str, name: str, rule: str) -> None:
    """Add the check constraint `name` with the SQL condition `rule` to a table, and check its existing rows.

    Writers wait until the migration is committed.
    """
    full = op.f(f"ck_{table}_{name}")
    op.create_check_constraint(full, table, rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def downgrade() -> None:
    # The check and the index of the column are dropped with it.
    op.drop_column("messages", "refused_at")
    op.alter_column("sip_trunks", "sip_user", type_=sa.Text(collation="default"))
    for column in ("due_at", "lease", "attempts"):
        op.drop_column("sip_trunks", column)
    for table in ("collective_invoice_items", "collective_invoices", "findings", "job_runs", "jobs"):
        op.drop_table(table)
