"""Create the tables of logins and of invitations, and allow messages that are about no request, as these need them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROLES = ("administrator", "location_manager", "local_member")


def upgrade() -> None:
    op.create_table(
        "logins",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("seen_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_logins_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logins")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_logins_secret_hash")),
    )
    op.create_index(op.f("ix_logins_user_id"), "logins", ["user_id"])
    op.create_table(
        "invitations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role", sa.Enum(*ROLES, name="role", native_enum=False, create_constraint=True, length=32), nullable=False
        ),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.BigInteger(), nullable=False),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column("invited_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_invitations_email_lower")),
        sa.CheckConstraint("locale IN ('de', 'en')", name=op.f("ck_invitations_locale")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invitations_account_id")),
        sa.ForeignKeyConstraint(["invited_by"], ["users.id"], name=op.f("fk_invitations_invited_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("account_id", "email", name=op.f("uq_invitations_account_id_email")),
    )
    op.alter_column("messages", "request_id", nullable=True)
    # No message is without a request yet, so the index is empty and quickly built.
    op.create_index(
        "uq_messages_without_request",
        "messages",
        ["template", "occasion", "recipient_address"],
        unique=True,
        postgresql_where=sa.text("request_id IS NULL"),
    )
    _check("messages", "announced_in_timeline", "request_id IS NOT NULL OR NOT announced")


def _check(table: str, name: str, rule: str) -> None:
    """Add the check constraint `name` with the SQL condition `rule` to a table, and check its existing rows.

    Writers wait until the migration is committed.
    """
    full = op.f(f"ck_{table}_{name}")
    op.create_check_constraint(full, table, rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def downgrade() -> None:
    # The earlier schema has no messages without a request.
    op.execute("DELETE FROM messages WHERE request_id IS NULL")
    op.drop_constraint(op.f("ck_messages_announced_in_timeline"), "messages")
    op.drop_index("uq_messages_without_request", table_name="messages")
    op.alter_column("messages", "request_id", nullable=False)
    op.drop_table("invitations")
    op.drop_table("logins")
