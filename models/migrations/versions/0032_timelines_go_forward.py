"""Add a trigger that gives an entry of a request's timeline the time of the entry before it, if its own is earlier.

The transaction that adds an entry may have read the time before it waited for the request's lock.
"""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE OR REPLACE FUNCTION go_forward() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.at := greatest(NEW.at, (
                SELECT at FROM timeline_entries WHERE request_id = NEW.request_id ORDER BY id DESC LIMIT 1
            ));
            RETURN NEW;
        END $$
    """)
    op.execute(
        "CREATE OR REPLACE TRIGGER timeline_entries_go_forward BEFORE INSERT ON timeline_entries"
        " FOR EACH ROW EXECUTE FUNCTION go_forward()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS timeline_entries_go_forward ON timeline_entries")
    op.execute("DROP FUNCTION IF EXISTS go_forward()")
