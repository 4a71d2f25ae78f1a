"""Limit invitations and questions for consent in a day, and create the tables of factor resets and invited people.

A reset of second factors that staff asked for is done later by a job. The names of invited people are kept for the
audit log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

OLD = "'open_orders', 'blocks', 'letters', 'contacts'"
NEW = f"{OLD}, 'invitations', 'consents'"
COLUMNS = ("invitations", "consents")
DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused", "request_uri_changed",
    "destinations_changed", "token_created", "token_revoked",
)  # fmt: skip
OF_LOGINS = (
    "password_changed", "factor_added", "factor_removed", "factor_reset_asked", "factors_reset", "recovery_codes_made",
    "recovery_code_used",
)  # fmt: skip
OF_COMPANIES = ("factor_demanded", "factor_not_demanded")
ASKED = "factor_reset_asked"


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for column in COLUMNS:
            op.add_column("own_limits", sa.Column(column, sa.Integer(), nullable=True), if_not_exists=True)
        _check("own_limits", "mails_above_zero", "invitations > 0 AND consents > 0")
        _check("daily_uses", "what", f"what IN ({NEW})")
        _check("bulks", "waits_for", f"waits_for IN ({NEW})")
        op.create_table(
            "factor_resets",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("asked_by", sa.BigInteger(), nullable=False),
            sa.Column("proof", sa.Text(), nullable=False),
            sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.ForeignKeyConstraint(["asked_by"], ["users.id"], name=op.f("fk_factor_resets_asked_by")),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_factor_resets_user_id")),
            sa.PrimaryKeyConstraint("user_id", name=op.f("pk_factor_resets")),
            if_not_exists=True,
        )
        op.create_table(
            "invited_people",
            sa.Column("invitation_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("account_id", sa.BigInteger(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("email", sa.Text(), nullable=False),
            sa.Column("invited_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invited_people_account_id")),
            sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_invited_people")),
            if_not_exists=True,
        )
        op.create_index(
            "ix_invited_people_email", "invited_people", ["email"], postgresql_concurrently=True, if_not_exists=True
        )
        _check("audit_entries", "deed", f"deed IN ({_words(*DEEDS, *OF_LOGINS, *OF_COMPANIES)})")
        about = f"account_id IS NOT NULL OR deed IN ({_words(*OF_LOGINS)})"
        _check("audit_entries", "about_an_account", about)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed = '{ASKED}'")  # noqa: S608
    before = [deed for deed in OF_LOGINS if deed != ASKED]
    _check("audit_entries", "about_an_account", f"account_id IS NOT NULL OR deed IN ({_words(*before)})")
    _check("audit_entries", "deed", f"deed IN ({_words(*DEEDS, *before, *OF_COMPANIES)})")
    op.drop_table("invited_people", if_exists=True)
    op.drop_table("factor_resets", if_exists=True)
    op.execute("DELETE FROM daily_uses WHERE what IN ('invitations', 'consents')")
    op.execute("UPDATE bulks SET waits_for = NULL WHERE waits_for IN ('invitations', 'consents')")
    _check("bulks", "waits_for", f"waits_for IN ({OLD})")
    _check("daily_uses", "what", f"what IN ({OLD})")
    op.drop_constraint(op.f("ck_own_limits_mails_above_zero"), "own_limits", if_exists=True)
    for column in reversed(COLUMNS):
        op.drop_column("own_limits", column, if_exists=True)


def _check(table: str, name: str, rule: str) -> None:
    full = op.f(f"ck_{table}_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {full},"
        f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def _words(*deeds: str) -> str:
    return ", ".join(f"'{deed}'" for deed in deeds)
