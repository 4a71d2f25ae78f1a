"""Save whom an order invites to its account, and since when a question for consent has reached no administrator.

The back office looks after such questions. Two new reasons say why a sub-account cannot be detached.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

REASONS = (
    "ownership_not_proven", "consent_awaited", "declined_by_owner", "email_not_confirmed", "address_not_proved",
    "document_in_review", "already_attached", "is_main_account", "is_sub_account", "same_account", "account_closed",
    "not_attached", "billed_together", "area_code_mismatch", "product_not_orderable", "no_numbers_available",
    "gateway_unavailable", "gateway_refused", "internal_error", "cancelled_by_requester", "cancelled_by_back_office",
    "proof_expired",
)  # fmt: skip
NEW_REASONS = ("no_administrator", "invitation_open")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for column in ("local_user_name", "local_user_email"):
            op.add_column("requests", sa.Column(column, sa.Text(), nullable=True), if_not_exists=True)
        op.add_column(
            "consents", sa.Column("unreached_since", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
        )
        op.add_column(
            "invitations",
            sa.Column("by_order", sa.Boolean(), nullable=False, server_default=sa.false()),
            if_not_exists=True,
        )
        _check("local_user_is_whole", "(local_user_name IS NULL) = (local_user_email IS NULL)")
        _check("local_user_email_lower", "local_user_email = lower(local_user_email)")
        _check("reason", _one_of((*REASONS, *NEW_REASONS)))
        for name in ("local_user_is_whole", "local_user_email_lower", "reason"):
            op.execute(f"ALTER TABLE requests VALIDATE CONSTRAINT ck_requests_{name}")
        # An interrupted run leaves an invalid index.
        op.drop_index("ix_consents_unreached", table_name="consents", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_consents_unreached",
            "consents",
            ["request_id"],
            postgresql_where=sa.text("unreached_since IS NOT NULL AND decision IS NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    # The schema before has no words for these refusals.
    op.execute("UPDATE requests SET reason = 'not_attached' WHERE reason IN ('no_administrator', 'invitation_open')")
    _check("reason", _one_of(REASONS))
    op.execute("ALTER TABLE requests VALIDATE CONSTRAINT ck_requests_reason")
    for name in ("local_user_is_whole", "local_user_email_lower"):
        op.drop_constraint(op.f(f"ck_requests_{name}"), "requests", if_exists=True)
    op.drop_column("invitations", "by_order", if_exists=True)
    op.drop_index("ix_consents_unreached", table_name="consents", if_exists=True)
    op.drop_column("consents", "unreached_since", if_exists=True)
    for column in ("local_user_name", "local_user_email"):
        op.drop_column("requests", column, if_exists=True)


def _one_of(reasons: tuple[str, ...]) -> str:
    return f"reason IN ({', '.join(repr(reason) for reason in reasons)})"


def _check(name: str, rule: str) -> None:
    """Give requests the check constraint `name` with the SQL condition `rule`, in place of any of that name.

    It is NOT VALID: existing rows are checked later.
    """
    full = op.f(f"ck_requests_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {full}, ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
