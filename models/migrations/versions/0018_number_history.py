"""Create the history of number blocks: which account and contract holder had a block from when to when (§ 172 TKG).

For blocks that have an account now it begins when their trunk, or else the account, was created.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TEXTS = ("holder_name", "holder_street", "holder_postal_code", "holder_city", "street", "postal_code", "city")


def upgrade() -> None:
    op.create_table(
        "number_assignments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("block_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("until", sa.TIMESTAMP(timezone=True), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.CheckConstraint("until >= since", name=op.f("ck_number_assignments_ends_after_start")),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(block_id, block_id, '[]')"), "&&"),
            (sa.text("tstzrange(since, until)"), "&&"),
            name=op.f("ex_number_assignments_overlap"),
            using="gist",
        ),
        sa.ForeignKeyConstraint(["block_id"], ["number_blocks.id"], name=op.f("fk_number_assignments_block_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_number_assignments_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_assignments")),
        if_not_exists=True,
    )
    op.create_index("ix_number_assignments_account_id", "number_assignments", ["account_id"], if_not_exists=True)
    op.create_index(
        "uq_number_assignments_open",
        "number_assignments",
        ["block_id"],
        unique=True,
        postgresql_where=sa.text("until IS NULL"),
        if_not_exists=True,
    )
    # After the commit: a new foreign key locks the tables that it refers to.
    with op.get_context().autocommit_block():
        op.execute(
            "INSERT INTO number_assignments (block_id, account_id, since, holder_name, holder_street,"
            " holder_postal_code, holder_city, street, postal_code, city)"
            " SELECT block.id, account.id, coalesce(trunk.created_at, account.created_at), owner.name, owner.street,"
            " owner.postal_code, owner.city, account.street, account.postal_code, account.city"
            " FROM number_blocks AS block JOIN accounts AS account ON account.id = block.account_id"
            " JOIN accounts AS owner"
            " ON owner.id = CASE WHEN account.origin = 'order' THEN account.main_id ELSE account.id END"
            " LEFT JOIN sip_trunks AS trunk ON trunk.id = block.trunk_id ON CONFLICT DO NOTHING"
        )


def downgrade() -> None:
    op.drop_table("number_assignments")
