"""Add functions that find a login or token by its hash, so that the front need not read hashes.

Also allow entries of the audit log for a withdrawn reset of second factors.
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

RULES = import_module("models.migrations.versions.0043_mails_and_resets")

WITHDRAWN = "factor_reset_withdrawn"
_after = RULES.OF_LOGINS.index(RULES.ASKED) + 1
OF_LOGINS = (*RULES.OF_LOGINS[:_after], WITHDRAWN, *RULES.OF_LOGINS[_after:])
# Each acts as the owner. Their bodies are read here and now, so no setting of a caller changes what they mean; a
# function that sets its search path takes three times as long, and these run at each request.
FUNCTIONS = {
    # The login, or the API token (also a revoked one), whose secret has this hash; null if there is none.
    "login_of_secret(hash bytea)": "SELECT id FROM logins WHERE secret_hash = hash",
    "token_of_secret(hash bytea)": "SELECT id FROM api_tokens WHERE token_hash = hash",
}


def upgrade() -> None:
    for head, body in FUNCTIONS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {head} RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER RETURN ({body})"
        )
    with op.get_context().autocommit_block():
        _deeds(*OF_LOGINS)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed = '{WITHDRAWN}'")  # noqa: S608
    _deeds(*RULES.OF_LOGINS)
    for head in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    # `standorte migrate` makes it.
    op.execute("DROP FUNCTION IF EXISTS own_data")


def _deeds(*of_logins: str) -> None:
    """Allow exactly these kinds of audit entries (`deed`) about logins; those about other things stay allowed.

    Only entries of these kinds may name no account. Existing rows are checked, too.
    """
    listed = ", ".join(f"'{deed}'" for deed in (*RULES.DEEDS, *of_logins, *RULES.OF_COMPANIES))
    alone = ", ".join(f"'{deed}'" for deed in of_logins)
    for name, rule in (
        ("deed", f"deed IN ({listed})"),
        ("about_an_account", f"account_id IS NOT NULL OR deed IN ({alone})"),
    ):
        full = op.f(f"ck_audit_entries_{name}")
        op.execute(
            # The same statement puts the new one there.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS {full},"
            f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
        )
        op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {full}")
