"""Create the tables of people's second factors and recovery codes, for a safer login.

Saves when a login was proved by a second factor, and from when on a company requires one of its people.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0037"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused", "request_uri_changed",
    "destinations_changed", "token_created", "token_revoked",
)  # fmt: skip
OF_LOGINS = (
    "password_changed", "factor_added", "factor_removed", "factors_reset", "recovery_codes_made",
    "recovery_code_used",
)  # fmt: skip
OF_COMPANIES = ("factor_demanded", "factor_not_demanded")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.create_table(
            "second_factors",
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("user_id", sa.BigInteger(), nullable=False),
            sa.Column("kind", sa.String(32), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("secret", sa.LargeBinary(), nullable=False),
            sa.Column("credential_id", sa.LargeBinary(), nullable=True),
            sa.Column("counter", sa.BigInteger(), nullable=False),
            sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.CheckConstraint("kind IN ('app', 'passkey')", name=op.f("ck_second_factors_kind")),
            sa.CheckConstraint(
                "(kind = 'passkey') = (credential_id IS NOT NULL)", name=op.f("ck_second_factors_passkey_has_id")
            ),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_second_factors_user_id")),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_second_factors")),
            sa.UniqueConstraint("credential_id", name=op.f("uq_second_factors_credential_id")),
            if_not_exists=True,
        )
        op.create_index(
            "ix_second_factors_user_id", "second_factors", ["user_id"], if_not_exists=True,
            postgresql_concurrently=True,
        )  # fmt: skip
        op.create_table(
            "recovery_codes",
            sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
            sa.Column("user_id", sa.BigInteger(), nullable=False),
            sa.Column("salt", sa.Text(), nullable=False),
            sa.Column("code_hash", sa.LargeBinary(), nullable=False),
            sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("used_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id")),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
            if_not_exists=True,
        )
        op.create_index(
            "ix_recovery_codes_user_id", "recovery_codes", ["user_id"], if_not_exists=True,
            postgresql_concurrently=True,
        )  # fmt: skip
        op.add_column("logins", sa.Column("factor_at", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True)
        op.add_column(
            "accounts",
            sa.Column("factor_required_from", sa.TIMESTAMP(timezone=True), nullable=True),
            if_not_exists=True,
        )
        # A person of our staff has a login, and no account whose log could tell of it.
        # The code before this one reads the log by account.
        op.execute(
            # Running it twice does no harm.
            "-- squawk-ignore ban-drop-not-null, prefer-robust-stmts\nALTER TABLE audit_entries ALTER COLUMN account_id DROP NOT NULL"
        )
        _check("deed", f"deed IN ({_words(*DEEDS, *OF_LOGINS, *OF_COMPANIES)})")
        _check("about_an_account", f"account_id IS NOT NULL OR deed IN ({_words(*OF_LOGINS)})")


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({_words(*OF_LOGINS, *OF_COMPANIES)})")  # noqa: S608
    op.execute("ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS ck_audit_entries_about_an_account")
    _check("deed", f"deed IN ({_words(*DEEDS)})")
    op.alter_column("audit_entries", "account_id", nullable=False)
    op.drop_column("accounts", "factor_required_from", if_exists=True)
    op.drop_column("logins", "factor_at", if_exists=True)
    for table in ("recovery_codes", "second_factors"):
        op.drop_table(table, if_exists=True)


def _words(*deeds: str) -> str:
    return ", ".join(f"'{deed}'" for deed in deeds)


def _check(name: str, rule: str) -> None:
    """Give the audit log the check constraint `name` with the SQL condition `rule`, in place of any of that name.

    Existing rows are checked, too. The check does not block writers if each statement commits on its own.
    """
    full = f"ck_audit_entries_{name}"
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS {full}, ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {full}")
