"""Contacts' addresses are in small letters, and mails are in a language that we write."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET contact_email = lower(contact_email) WHERE contact_email <> lower(contact_email)")
    op.execute("UPDATE messages SET locale = 'de' WHERE locale NOT IN ('de', 'en')")
    _check("accounts", "contact_email_lower", "contact_email = lower(contact_email)")
    _check("messages", "locale", "locale IN ('de', 'en')")


def _check(table: str, name: str, rule: str) -> None:
    """Add a check without holding up writers while the rows are read."""
    full = op.f(f"ck_{table}_{name}")
    op.create_check_constraint(full, table, rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_messages_locale"), "messages")
    op.drop_constraint(op.f("ck_accounts_contact_email_lower"), "accounts")
