"""Create the table of high-risk destinations, and save for each trunk which destinations it may call, against fraud.

Existing trunks may call the same destinations as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused", "request_uri_changed",
)  # fmt: skip

# The sources are named in docs/decisions/0031-high-risk-destinations.md.
HIGH_RISK = {
    "satellite network (ITU E.164)": ("870", "881"),
    "international network (ITU E.164)": ("878", "882", "883", "888"),
    "international premium or shared cost number (ITU E.164)": ("808", "979"),
    "price announcement ordered by the Bundesnetzagentur": (
        "212", "216", "223", "224", "225", "229", "231", "232", "248", "249", "252", "255", "256", "257", "261", "355",
        "381", "387", "389", "960", "967",
    ),
    "calls of fraud end there (CFCA)": ("53", "263"),
    "blocked unless asked for (Cox Communications)": ("220", "236", "239", "994"),
    "call-back fraud (FBI)": ("1246", "1264", "1268", "1284", "1473", "1649", "1664", "1767"),
    "revenue share fraud (iconX)": ("1809", "1829", "1849"),
}  # fmt: skip


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        # A trunk that was there before may call what it could, and so may one that the old version still makes.
        op.add_column(
            "sip_trunks", sa.Column("countries", postgresql.ARRAY(sa.Text()), nullable=True), if_not_exists=True
        )
        high_risk: sa.Column[bool] = sa.Column("high_risk", sa.Boolean(), server_default=sa.true(), nullable=False)
        op.add_column("sip_trunks", high_risk, if_not_exists=True)
        op.create_table(
            "high_risk_prefixes",
            sa.Column("prefix", sa.Text(), nullable=False),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.CheckConstraint("prefix ~ '^[1-9][0-9]{0,7}$'", name=op.f("ck_high_risk_prefixes_prefix")),
            sa.PrimaryKeyConstraint("prefix", name=op.f("pk_high_risk_prefixes")),
            if_not_exists=True,
        )
        rows = [{"prefix": prefix, "reason": reason} for reason, prefixes in HIGH_RISK.items() for prefix in prefixes]
        table = sa.table("high_risk_prefixes", sa.column("prefix", sa.Text()), sa.column("reason", sa.Text()))
        op.execute(postgresql.insert(table).values(rows).on_conflict_do_nothing())
        _deeds(*DEEDS, "destinations_changed")


def downgrade() -> None:
    op.execute("DELETE FROM audit_entries WHERE deed = 'destinations_changed'")
    _deeds(*DEEDS)
    op.drop_table("high_risk_prefixes", if_exists=True)
    op.drop_column("sip_trunks", "high_risk", if_exists=True)
    op.drop_column("sip_trunks", "countries", if_exists=True)


def _deeds(*deeds: str) -> None:
    """Allow exactly these values of `deed`, the kind of an entry, in the audit log, then check existing rows.

    The check does not block writers if each statement commits on its own.
    """
    words = ", ".join(f"'{deed}'" for deed in deeds)
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS ck_audit_entries_deed,"
        f" ADD CONSTRAINT ck_audit_entries_deed CHECK (deed IN ({words})) NOT VALID"
    )
    op.execute("ALTER TABLE audit_entries VALIDATE CONSTRAINT ck_audit_entries_deed")
