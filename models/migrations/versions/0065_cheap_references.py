"""Add functions for row-level security that return whether the caller sees the row that an inserted row refers to.

A policy calls them only if the inserted row refers to one, whereas a subquery would be prepared with each statement.
"""

from __future__ import annotations

from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None

# With the caller's privileges and policies, as a subquery in the policy itself. But a subquery is prepared with each
# statement, also if there is nothing to ask. Tables with their schema: a session could have temporary ones of its own.
FUNCTIONS = {
    "sees_user(id bigint)": "public.users AS seen WHERE seen.id = sees_user.id",
    "sees_trunk_of(account_id bigint, id bigint)": "public.sip_trunks AS seen WHERE seen.id = sees_trunk_of.id"
    " AND seen.account_id = sees_trunk_of.account_id",
    "sees_free_block(id bigint)": "public.number_blocks AS seen WHERE seen.id = sees_free_block.id"
    " AND seen.account_id IS NULL",
}


def upgrade() -> None:
    for head, rows in FUNCTIONS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {head} RETURNS boolean LANGUAGE plpgsql STABLE COST 1000"
            f" AS 'BEGIN RETURN EXISTS (SELECT FROM {rows}); END'"
        )


def downgrade() -> None:
    for head in FUNCTIONS:
        # With the policies that ask for it; the next `standorte migrate` makes them again.
        op.execute(f"DROP FUNCTION IF EXISTS {head.partition('(')[0]} CASCADE")
