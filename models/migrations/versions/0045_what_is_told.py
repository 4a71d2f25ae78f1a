"""Logins and API tokens are found by functions, so that the front need not read the hashes by which a caller is told."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

DEFINER = import_module("models.migrations.versions.0042_cheap_callers").DEFINER

FUNCTIONS = {
    # The login, or the API token (also a revoked one), whose secret has this hash; null if there is none.
    "login_of_secret(hash bytea) RETURNS bigint": """
BEGIN
    RETURN (SELECT id FROM logins WHERE secret_hash = hash);
END""",
    "token_of_secret(hash bytea) RETURNS bigint": """
BEGIN
    RETURN (SELECT id FROM api_tokens WHERE token_hash = hash);
END""",
}


def upgrade() -> None:
    for head, body in FUNCTIONS.items():
        op.execute(f"CREATE OR REPLACE FUNCTION {head} {DEFINER} STABLE AS $body${body} $body$")


def downgrade() -> None:
    for head in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    # `standorte migrate` makes it.
    op.execute("DROP FUNCTION IF EXISTS own_data")
