"""Add indexes by request id, so that the job `leftovers` deletes old requests without reading whole tables."""

from __future__ import annotations

from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

TABLES = ("idempotency_keys", "address_documents")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.create_index(
                op.f(f"ix_{table}_request_id"),
                table,
                ["request_id"],
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.drop_index(
                op.f(f"ix_{table}_request_id"), table_name=table, postgresql_concurrently=True, if_exists=True
            )
