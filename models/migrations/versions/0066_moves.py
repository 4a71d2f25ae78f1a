"""Requests that move an account to another connection address, and the number blocks that are replaced by it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0066"
down_revision = "0065"
branch_labels = None
depends_on = None

SWITCHES = import_module("models.migrations.versions.0055_switches")
NUMBERS = import_module("models.migrations.versions.0054_more_numbers")
ENDED = SWITCHES.ENDED
# Table and column of the checks that list words: the words that are new.
LISTS = {
    ("requests", "kind"): ("move",),
    ("bulks", "kind"): ("move",),
    ("requests", "step"): ("move",),
}
DEED = ("move_asked",)
RULES = {
    "move_is_whole": (
        "(kind = 'move') = (new_street IS NOT NULL AND new_postal_code IS NOT NULL AND new_city IS NOT NULL"
        " AND replaced_place IS NOT NULL)"
    ),
    "move_says_prices": "kind <> 'move' OR (price_lines IS NOT NULL AND replaced_lines IS NOT NULL)",
    "new_postal_code": "new_postal_code ~ '^[0-9]{5}$'",
    "moves_prove": "address_proved_at IS NULL OR kind = 'move'",
}
COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("new_street", sa.Text()),
    ("new_postal_code", sa.Text()),
    ("new_city", sa.Text()),
    ("replaced_place", postgresql.JSONB()),
    ("address_proved_at", sa.TIMESTAMP(timezone=True)),
)
OF_FIVE = NUMBERS.OF_FOUR.replace("'numbers', ", "'numbers', 'move', ")
INDEXES: tuple[tuple[str, str, list[str], str], ...] = (
    ("uq_requests_moves", "requests", ["account_id"], f"kind = 'move' AND status NOT IN ({ENDED})"),
    (
        "uq_moved_blocks_reserved",
        "moved_blocks",
        ["replacement_id"],
        "replacement_id IS NOT NULL AND moved_at IS NULL",
    ),
)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for column, type in COLUMNS:
            op.add_column("requests", sa.Column(column, type, nullable=True), if_not_exists=True)
        for (table, column), words in LISTS.items():
            SWITCHES._recheck(table, column, added=words)
        for name, rule in RULES.items():
            SWITCHES._check(name, rule)
        op.create_table(
            "moved_blocks",
            sa.Column("request_id", sa.Uuid(), nullable=False),
            sa.Column("block_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("replacement_id", sa.BigInteger(), nullable=True),
            sa.Column("moved_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.CheckConstraint("replacement_id <> block_id", name=op.f("ck_moved_blocks_replaces_another")),
            sa.CheckConstraint(
                "moved_at IS NULL OR replacement_id IS NOT NULL", name=op.f("ck_moved_blocks_moved_to_another")
            ),
            sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_moved_blocks_request_id")),
            sa.ForeignKeyConstraint(["block_id"], ["number_blocks.id"], name=op.f("fk_moved_blocks_block_id")),
            sa.ForeignKeyConstraint(
                ["replacement_id"], ["number_blocks.id"], name=op.f("fk_moved_blocks_replacement_id")
            ),
            sa.PrimaryKeyConstraint("request_id", "block_id", name=op.f("pk_moved_blocks")),
            if_not_exists=True,
        )
        for name, table, columns, where in INDEXES:
            # An interrupted run leaves an invalid index.
            op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                columns,
                unique=True,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        NUMBERS.AUDIT._recheck("deed", NUMBERS.AUDIT.CHECKS["deed"][0], added=DEED)
    NUMBERS.RULES._see_requests(OF_FIVE)


def downgrade() -> None:
    NUMBERS.RULES._see_requests(NUMBERS.OF_FOUR)
    # They ask for a table that goes; the next `standorte migrate` makes them again.
    for name in ("front_changes", "front_deletes"):
        op.execute(f"DROP POLICY IF EXISTS {name} ON number_blocks")
    op.execute("DELETE FROM audit_entries WHERE deed = 'move_asked'")
    NUMBERS.AUDIT._recheck("deed", NUMBERS.AUDIT.CHECKS["deed"][0], removed=DEED)
    # Nobody has had the numbers of a block that is only reserved.
    op.execute(
        "UPDATE number_blocks SET available_from = now() WHERE account_id IS NULL"
        " AND available_from = '9997-01-01 00:00:00+00' AND id IN (SELECT replacement_id FROM moved_blocks)"
    )
    op.drop_table("moved_blocks", if_exists=True)
    moves = "(SELECT id FROM requests WHERE kind = 'move')"
    for table in ("timeline_entries", "messages", "idempotency_keys", "address_documents"):
        op.execute(f"DELETE FROM {table} WHERE request_id IN {moves}")  # noqa: S608
    op.execute("DELETE FROM requests WHERE kind = 'move'")
    op.drop_index("uq_requests_moves", "requests", if_exists=True)
    for name in RULES:
        op.drop_constraint(op.f(f"ck_requests_{name}"), "requests", if_exists=True)
    for (table, column), words in LISTS.items():
        SWITCHES._recheck(table, column, removed=words)
    for column, _type in reversed(COLUMNS):
        op.drop_column("requests", column, if_exists=True)
