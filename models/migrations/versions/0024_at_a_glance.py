"""Save why a document was refused, and index suspended trunks and the texts of accounts and people for searches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_PLAIN = "translate(lower(({}) COLLATE pg_c_utf8), 'äöüßáàâãåéèêëíìîïóòôõúùûñç', 'aousaaaaaeeeeiiiioooouuunc')"
_SPELLED = (
    "replace(replace(replace(replace(lower(({}) COLLATE pg_c_utf8), 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue'), 'ß', 'ss')"
)
_ACCOUNT = (
    "customer_number", "name", "street", "postal_code", "city", "contact_name", "contact_email", "contact_phone",
)  # fmt: skip
_USER = ("name", "email")
_REASONS = "'unreadable', 'other_address', 'other_company', 'too_old', 'wrong_kind', 'does_not_show', 'other'"


def upgrade() -> None:
    op.add_column("address_documents", sa.Column("refusal", sa.String(32), nullable=True), if_not_exists=True)
    op.add_column("address_documents", sa.Column("refusal_note", sa.Text(), nullable=True), if_not_exists=True)
    checks = {
        "refusal": f"refusal IN ({_REASONS})",
        "only_refused_has_reason": "released IS FALSE OR refusal IS NULL",
    }
    for name, rule in checks.items():
        _check(name, rule)
    _put("ix_sip_trunks_suspended", "sip_trunks (account_id) WHERE state = 'suspended'")
    _put("ix_accounts_text", f"accounts USING gin ({_text(_ACCOUNT)} gin_trgm_ops)")
    _put("ix_users_text", f"users USING gin ({_text(_USER)} gin_trgm_ops)")
    # In another transaction than that which has added them.
    for name in checks:
        op.execute(f"ALTER TABLE address_documents VALIDATE CONSTRAINT {op.f(f'ck_address_documents_{name}')}")


def downgrade() -> None:
    for name in ("ix_users_text", "ix_accounts_text", "ix_sip_trunks_suspended"):
        with op.get_context().autocommit_block():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.drop_column("address_documents", "refusal_note", if_exists=True)
    op.drop_column("address_documents", "refusal", if_exists=True)


def _text(columns: tuple[str, ...]) -> str:
    """Return SQL for a text to search in: the joined columns without accents, then again with umlauts spelled out."""
    whole = " || ' ' || ".join(f"COALESCE({column}, '')" for column in columns)
    return f"({_PLAIN.format(whole)} || ' ' || {_SPELLED.format(whole)})"


def _check(name: str, rule: str) -> None:
    """Add the check constraint `name` with the SQL condition `rule` to address_documents, if it is missing.

    It is NOT VALID: existing rows are checked later.
    """
    full = op.f(f"ck_address_documents_{name}")
    op.execute(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = '{full}') THEN"
        f" ALTER TABLE address_documents ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID; END IF; END $$"
    )


def _put(name: str, columns: str) -> None:
    """Create an index without blocking writers, in place of an invalid one that an interrupted run may have left.

    `columns` is the rest of the statement after ON.
    """
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {columns}")
