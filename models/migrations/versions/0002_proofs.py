"""Create the tables of proofs that people have to give, make messages a work queue, and allow detach requests.

So an order can wait until an e-mail address and a connection address are proved, and a link request for consent.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REASONS = (
    "ownership_not_proven", "already_attached", "is_main_account", "is_sub_account", "same_account", "account_closed",
    "area_code_mismatch", "product_not_orderable", "no_numbers_available", "gateway_unavailable", "gateway_refused",
    "internal_error", "cancelled_by_requester", "cancelled_by_back_office", "proof_expired",
)  # fmt: skip
STEPS = ("verify", "provision", "attach", "confirm")
METHODS = ("administers_both", "credentials")
# In the order in which the models name them.
NEW_REASONS = (
    REASONS[0], "consent_awaited", "declined_by_owner", "email_not_confirmed", "address_not_proved",
    "document_in_review", *REASONS[1:6], "not_attached", "billed_together", *REASONS[6:],
)  # fmt: skip
NEW_STEPS = ("verify", "provision", "attach", "detach", "confirm")
NEW_METHODS = (*METHODS, "link_code", "consent", "collective_invoice")


def upgrade() -> None:
    op.create_table(
        "address_proofs",
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column(
            "method",
            sa.Enum("letter", "document", name="method", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("proved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("proved_by", sa.BigInteger(), nullable=True),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column("sent_issue", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), nullable=False),
        sa.Column("reminders", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "method <> 'document' OR proved_by IS NOT NULL", name=op.f("ck_address_proofs_somebody_released_it")
        ),
        sa.CheckConstraint("(method IS NULL) = (proved_at IS NULL)", name=op.f("ck_address_proofs_method_has_time")),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_address_proofs_main_id")),
        sa.ForeignKeyConstraint(["proved_by"], ["users.id"], name=op.f("fk_address_proofs_proved_by")),
        sa.PrimaryKeyConstraint("main_id", "address_key", name=op.f("pk_address_proofs")),
    )
    op.create_table(
        "email_proofs",
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("proved_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column("sent_issue", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), nullable=False),
        sa.Column("reminders", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_email_proofs_main_id")),
        sa.PrimaryKeyConstraint("main_id", "address", name=op.f("pk_email_proofs")),
    )
    op.create_table(
        "link_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_link_codes_account_id")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_link_codes_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_codes")),
    )
    op.create_index(
        "uq_link_codes_open", "link_codes", ["account_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "address_documents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("uploaded_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("uploaded_by", sa.BigInteger(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=True),
        sa.Column("decided_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "media_type IN ('application/pdf', 'image/png', 'image/jpeg')", name=op.f("ck_address_documents_media_type")
        ),
        sa.CheckConstraint(
            "(released IS NULL) = (decided_at IS NULL)", name=op.f("ck_address_documents_decision_has_time")
        ),
        sa.CheckConstraint(
            "(released IS NULL) = (decided_by IS NULL)", name=op.f("ck_address_documents_decision_has_author")
        ),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_address_documents_decided_by")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_address_documents_request_id")),
        sa.ForeignKeyConstraint(["uploaded_by"], ["users.id"], name=op.f("fk_address_documents_uploaded_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_documents")),
    )
    op.create_index(
        "uq_address_documents_open",
        "address_documents",
        ["request_id"],
        unique=True,
        postgresql_where=sa.text("released IS NULL"),
    )
    op.create_table(
        "consents",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column(
            "decision",
            sa.Enum("accepted", "declined", name="decision", native_enum=False, create_constraint=True, length=32),
            nullable=True,
        ),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column("sent_issue", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("wrong_tries", sa.Integer(), nullable=False),
        sa.Column("reminders", sa.Integer(), nullable=False),
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_consents_decision_has_time")),
        sa.CheckConstraint("(decision IS NULL) = (decided_by IS NULL)", name=op.f("ck_consents_decision_has_author")),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_consents_decided_by")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_consents_request_id")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_consents")),
    )
    op.add_column("users", sa.Column("email_confirmed_at", sa.TIMESTAMP(timezone=True)))
    _grow("requests", "reason", NEW_REASONS)
    _grow("requests", "step", NEW_STEPS)
    _grow("ownership_proofs", "method", NEW_METHODS)
    op.alter_column("ownership_proofs", "proved_by", nullable=True)
    _check("ownership_proofs", "somebody_proved_it", "(method = 'collective_invoice') = (proved_by IS NULL)")
    op.alter_column("requests", "requested_by", nullable=True)
    op.add_column("requests", sa.Column("asked_proof", sa.String(32)))
    op.execute("UPDATE requests SET asked_proof = 'administers_both' WHERE kind = 'link'")
    _check("requests", "asked_proof", _one_of("asked_proof", NEW_METHODS))
    _check("requests", "link_asks_for_proof", "(kind = 'link') = (asked_proof IS NOT NULL)")
    op.drop_index("uq_requests_running_link", table_name="requests")
    op.create_index(
        "uq_requests_running",
        "requests",
        ["main_id", "customer_number", "kind"],
        unique=True,
        postgresql_where=sa.text(
            "kind IN ('link', 'detach') AND status NOT IN ('cancelled', 'completed', 'failed', 'rejected')"
        ),
    )
    _messages_as_queue()


def _messages_as_queue() -> None:
    op.add_column("messages", sa.Column("channel", sa.String(32), nullable=False, server_default="mail"))
    op.add_column("messages", sa.Column("occasion", sa.Text(), nullable=False, server_default=""))
    op.add_column("messages", sa.Column("proof", sa.ARRAY(sa.Text())))
    op.add_column("messages", sa.Column("announced", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("messages", sa.Column("due_at", sa.TIMESTAMP(timezone=True)))
    op.add_column("messages", sa.Column("lease", sa.Uuid()))
    op.add_column("messages", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE messages SET due_at = queued_at WHERE state = 'queued'")
    # What was queued before has the portal's address whole.
    op.execute("UPDATE messages SET facts = facts - 'portal_url' || jsonb_build_object('path', '/standortverwaltung')")
    for column in ("channel", "occasion", "announced", "attempts"):
        op.alter_column("messages", column, server_default=None)
    _check("messages", "channel", _one_of("channel", ("mail", "letter")))
    _check("messages", "lease_ends", "due_at IS NOT NULL OR lease IS NULL")
    _check("messages", "queued_is_due", "(state = 'queued') = (due_at IS NOT NULL)")
    op.drop_constraint(op.f("ck_messages_address_lower"), "messages")
    _check("messages", "address_lower", "channel = 'letter' OR recipient_address = lower(recipient_address)")
    op.drop_index("ix_messages_queued", table_name="messages")
    op.create_index("ix_messages_due_at", "messages", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_constraint(op.f("uq_messages_request_id_template_recipient_address"), "messages")
    op.create_unique_constraint(
        op.f("uq_messages_request_id_template_occasion_recipient_address"),
        "messages",
        ["request_id", "template", "occasion", "recipient_address"],
    )


def _check(table: str, name: str, rule: str) -> None:
    """Add the check constraint `name` with the SQL condition `rule` to a table, and check its existing rows.

    Writers wait until the migration is committed.
    """
    full = op.f(f"ck_{table}_{name}")
    op.create_check_constraint(full, table, rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def _grow(table: str, column: str, values: tuple[str, ...]) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{column}"), table)
    _check(table, column, _one_of(column, values))


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def downgrade() -> None:
    op.drop_constraint(op.f("uq_messages_request_id_template_occasion_recipient_address"), "messages")
    op.create_unique_constraint(
        op.f("uq_messages_request_id_template_recipient_address"),
        "messages",
        ["request_id", "template", "recipient_address"],
    )
    op.drop_index("ix_messages_due_at", table_name="messages")
    op.create_index("ix_messages_queued", "messages", ["queued_at"], postgresql_where=sa.text("state = 'queued'"))
    op.drop_constraint(op.f("ck_messages_address_lower"), "messages")
    for column in ("channel", "occasion", "proof", "announced", "due_at", "lease", "attempts"):
        op.drop_column("messages", column)
    _check("messages", "address_lower", "recipient_address = lower(recipient_address)")
    op.drop_index("uq_requests_running", table_name="requests")
    op.create_index(
        "uq_requests_running_link",
        "requests",
        ["main_id", "customer_number"],
        unique=True,
        postgresql_where=sa.text("kind = 'link' AND status NOT IN ('cancelled', 'completed', 'failed', 'rejected')"),
    )
    op.drop_column("requests", "asked_proof")
    op.alter_column("requests", "requested_by", nullable=False)
    op.drop_constraint(op.f("ck_ownership_proofs_somebody_proved_it"), "ownership_proofs")
    op.alter_column("ownership_proofs", "proved_by", nullable=False)
    _grow("ownership_proofs", "method", METHODS)
    _grow("requests", "step", STEPS)
    _grow("requests", "reason", REASONS)
    op.drop_column("users", "email_confirmed_at")
    for table in ("consents", "address_documents", "link_codes", "email_proofs", "address_proofs"):
        op.drop_table(table)
