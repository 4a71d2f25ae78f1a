"""Let the back office's search sort what it has found before it reads the accounts: main accounts come first."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None

CALLERS = import_module("models.migrations.versions.0037_callers")


def upgrade() -> None:
    op.execute(f"CREATE OR REPLACE VIEW accounts_of_staff AS {CALLERS.VIEWS['accounts_of_staff']}")


def downgrade() -> None:
    """Leave the column in the view, where the version before does not mind it."""
