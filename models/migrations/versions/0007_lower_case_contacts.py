"""Require contacts' e-mail addresses in lower case and messages in German or English, and correct existing rows.

So addresses can be compared, and every message has a text in its language.
"""

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
    """Add the check constraint `name` with the SQL condition `rule` to a table, and check its existing rows.

    Writers wait until the migration is committed.
    """
    full = op.f(f"ck_{table}_{name}")
    op.create_check_constraint(full, table, rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_messages_locale"), "messages")
    op.drop_constraint(op.f("ck_accounts_contact_email_lower"), "accounts")
