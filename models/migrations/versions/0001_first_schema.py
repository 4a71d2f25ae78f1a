"""Create the first tables: accounts, people, price list, contracts, number blocks, trunks, requests and messages.

Triggers keep a customer number from being used again, and a main account from becoming a sub-account.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A customer number is never reused: the ledger only grows, and an account keeps its number and its row for good.
KEEP_CUSTOMER_NUMBERS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a customer number is never reused, an account never deleted'
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER customer_numbers_never_reused BEFORE UPDATE OR DELETE ON customer_numbers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER accounts_keep_number BEFORE UPDATE OF customer_number ON accounts
    FOR EACH ROW WHEN (OLD.customer_number <> NEW.customer_number) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER accounts_never_deleted BEFORE DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

# With sub-accounts the foreign key keeps a main account in its role; this keeps it also without any.
KEEP_MAIN_ACCOUNTS = """
CREATE FUNCTION refuse_main_as_sub() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a main account never becomes a sub-account'
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER accounts_main_never_sub BEFORE UPDATE OF role ON accounts
    FOR EACH ROW WHEN (OLD.role = 'main' AND NEW.role = 'sub') EXECUTE FUNCTION refuse_main_as_sub();
"""


def upgrade() -> None:
    op.create_table(
        "area_codes",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("code ~ '^0[1-9][0-9]{1,4}$'", name=op.f("ck_area_codes_form")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_area_codes")),
    )
    op.create_table(
        "customer_numbers",
        sa.Column("number", sa.Text(), nullable=False),
        sa.CheckConstraint("number ~ '^[1-9][0-9]{6}$'", name=op.f("ck_customer_numbers_seven_digits")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_customer_numbers")),
    )
    op.create_table(
        "job_heartbeats",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_heartbeats")),
    )
    op.create_table(
        "products",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "trunk",
                "number_block",
                "option",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("name_de", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("block_size", sa.Integer(), nullable=True),
        sa.Column("monthly_cents", sa.Integer(), nullable=False),
        sa.Column("one_off_cents", sa.Integer(), nullable=False),
        sa.Column("orderable", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'number_block') = (block_size IS NOT NULL)", name=op.f("ck_products_block_has_size")
        ),
        sa.CheckConstraint("(kind = 'trunk') = (channels IS NOT NULL)", name=op.f("ck_products_trunk_has_channels")),
        sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name=op.f("ck_products_prices")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_products")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("is_staff", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("locale IN ('de', 'en')", name=op.f("ck_users_locale")),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("customer_number", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("standalone", "main", "sub", name="role", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "ordered",
                "active",
                "closed",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("main_id", sa.BigInteger(), nullable=True),
        sa.Column("main_role", sa.Text(), sa.Computed("'main'", persisted=True), nullable=False),
        sa.Column(
            "origin",
            sa.Enum(
                "order",
                "link",
                "collective_invoice",
                name="origin",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("attached_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("contact_name", sa.Text(), nullable=False),
        sa.Column("contact_email", sa.Text(), nullable=False),
        sa.Column("contact_phone", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("(role = 'sub') = (attached_at IS NOT NULL)", name=op.f("ck_accounts_sub_has_time")),
        sa.CheckConstraint("(role = 'sub') = (main_id IS NOT NULL)", name=op.f("ck_accounts_sub_has_main")),
        sa.CheckConstraint("(role = 'sub') = (origin IS NOT NULL)", name=op.f("ck_accounts_sub_has_origin")),
        sa.CheckConstraint("postal_code ~ '^[0-9]{5}$'", name=op.f("ck_accounts_postal_code")),
        sa.CheckConstraint("main_id <> id", name=op.f("ck_accounts_no_self_link")),
        sa.ForeignKeyConstraint(
            ["customer_number"], ["customer_numbers.number"], name=op.f("fk_accounts_customer_number")
        ),
        sa.ForeignKeyConstraint(
            ["main_id", "main_role"], ["accounts.id", "accounts.role"], name="fk_accounts_main_is_main"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("customer_number", name=op.f("uq_accounts_customer_number")),
        sa.UniqueConstraint("id", "role", name="uq_accounts_id_role"),
    )
    op.create_index(
        "ix_accounts_main_id_id",
        "accounts",
        ["main_id", "id"],
        unique=False,
        postgresql_where=sa.text("main_id IS NOT NULL"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_api_tokens_account_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(op.f("ix_api_tokens_account_id"), "api_tokens", ["account_id"], unique=False)
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "call_forwardings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "condition",
            sa.Enum(
                "always",
                "busy",
                "no_answer",
                "not_registered",
                name="condition",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("after_seconds", sa.Integer(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(condition = 'no_answer') = (after_seconds IS NOT NULL)",
            name=op.f("ck_call_forwardings_seconds"),
        ),
        sa.CheckConstraint("target ~ '^\\+[1-9][0-9]{6,14}$'", name=op.f("ck_call_forwardings_target_e164")),
        sa.CheckConstraint("after_seconds BETWEEN 5 AND 120", name=op.f("ck_call_forwardings_seconds_range")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_call_forwardings_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_forwardings")),
        sa.UniqueConstraint("account_id", "condition", name=op.f("uq_call_forwardings_account_id_condition")),
    )
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "administrator",
                "location_manager",
                "local_member",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_memberships_account_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id")),
        sa.PrimaryKeyConstraint("user_id", "account_id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_account_id"), "memberships", ["account_id"], unique=False)
    op.create_table(
        "requests",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("order", "link", "detach", name="kind", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "acknowledged",
                "in_progress",
                "pending",
                "held",
                "completed",
                "rejected",
                "cancelled",
                "failed",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "step",
            sa.Enum(
                "verify",
                "provision",
                "attach",
                "confirm",
                name="step",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Enum(
                "ownership_not_proven",
                "already_attached",
                "is_main_account",
                "is_sub_account",
                "same_account",
                "account_closed",
                "area_code_mismatch",
                "product_not_orderable",
                "no_numbers_available",
                "gateway_unavailable",
                "gateway_refused",
                "internal_error",
                "cancelled_by_requester",
                "cancelled_by_back_office",
                "proof_expired",
                name="reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("main_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("customer_number", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("product_key", sa.Text(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("area_code", sa.Text(), nullable=True),
        sa.Column("block_size", sa.Integer(), nullable=True),
        sa.Column("option_keys", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column(
            "waiting_for",
            sa.Enum(
                "carrier",
                "requester",
                "contact",
                "other_account",
                name="waiting_for",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("waiting_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'order') = (product_key IS NOT NULL AND channels IS NOT NULL AND area_code IS NOT NULL AND block_size IS NOT NULL AND option_keys IS NOT NULL)",
            name=op.f("ck_requests_order_is_whole"),
        ),
        sa.CheckConstraint("(status = 'pending') = (waiting_for IS NOT NULL)", name=op.f("ck_requests_pending_waits")),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'failed', 'rejected')) = (ended_at IS NOT NULL)",
            name=op.f("ck_requests_end_has_time"),
        ),
        sa.CheckConstraint(
            "(status IN ('pending', 'held', 'rejected', 'cancelled', 'failed')) = (reason IS NOT NULL)",
            name=op.f("ck_requests_reason_given"),
        ),
        sa.CheckConstraint(
            "due_at IS NOT NULL OR status = 'held' OR status IN ('cancelled', 'completed', 'failed', 'rejected')",
            name=op.f("ck_requests_never_stands_still"),
        ),
        sa.CheckConstraint("kind = 'link' OR account_id IS NOT NULL", name=op.f("ck_requests_account_known")),
        sa.CheckConstraint("locale IN ('de', 'en')", name=op.f("ck_requests_locale")),
        sa.CheckConstraint(
            "status NOT IN ('cancelled', 'completed', 'failed', 'rejected') OR due_at IS NULL",
            name=op.f("ck_requests_end_is_not_due"),
        ),
        sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name=op.f("ck_requests_lease_ends")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_requests_account_id")),
        sa.ForeignKeyConstraint(["area_code"], ["area_codes.code"], name=op.f("fk_requests_area_code")),
        sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_requests_main_id")),
        sa.ForeignKeyConstraint(["product_key"], ["products.key"], name=op.f("fk_requests_product_key")),
        sa.ForeignKeyConstraint(["requested_by"], ["users.id"], name=op.f("fk_requests_requested_by")),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name=op.f("fk_requests_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_account_id"), "requests", ["account_id"], unique=False)
    op.create_index(
        "ix_requests_due_at",
        "requests",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_requests_main_id_id", "requests", ["main_id", "id"], unique=False)
    op.create_index(op.f("ix_requests_requested_by"), "requests", ["requested_by"], unique=False)
    op.create_index(
        "uq_requests_running_link",
        "requests",
        ["main_id", "customer_number"],
        unique=True,
        postgresql_where=sa.text("kind = 'link' AND status NOT IN ('cancelled', 'completed', 'failed', 'rejected')"),
    )
    op.create_table(
        "contracts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("ended_at > started_at", name=op.f("ck_contracts_ends_after_start")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_contracts_account_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_contracts_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contracts")),
        sa.UniqueConstraint("request_id", name=op.f("uq_contracts_request_id")),
    )
    op.create_index(op.f("ix_contracts_account_id"), "contracts", ["account_id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("answer", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key_length")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_idempotency_keys_account_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_idempotency_keys_request_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id")),
        sa.PrimaryKeyConstraint("account_id", "user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("recipient_name", sa.Text(), nullable=False),
        sa.Column("recipient_address", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "sent",
                "refused",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("queued_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name=op.f("ck_messages_sent_has_time")),
        sa.CheckConstraint("recipient_address = lower(recipient_address)", name=op.f("ck_messages_address_lower")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_messages_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "request_id",
            "template",
            "recipient_address",
            name=op.f("uq_messages_request_id_template_recipient_address"),
        ),
    )
    op.create_index(
        "ix_messages_queued",
        "messages",
        ["queued_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "ownership_proofs",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "method",
            sa.Enum(
                "administers_both",
                "credentials",
                name="method",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("proved_by", sa.BigInteger(), nullable=False),
        sa.Column("proved_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ownership_proofs_account_id")),
        sa.ForeignKeyConstraint(["proved_by"], ["users.id"], name=op.f("fk_ownership_proofs_proved_by")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_ownership_proofs_request_id")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_ownership_proofs")),
    )
    op.create_index(op.f("ix_ownership_proofs_account_id"), "ownership_proofs", ["account_id"], unique=False)
    op.create_table(
        "timeline_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_timeline_entries_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeline_entries")),
    )
    op.create_index("ix_timeline_entries_request_id_id", "timeline_entries", ["request_id", "id"], unique=False)
    op.create_table(
        "contract_items",
        sa.Column("contract_id", sa.BigInteger(), nullable=False),
        sa.Column("product_key", sa.Text(), nullable=False),
        sa.Column("monthly_cents", sa.Integer(), nullable=False),
        sa.Column("one_off_cents", sa.Integer(), nullable=False),
        sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name=op.f("ck_contract_items_prices")),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_contract_items_contract_id")),
        sa.ForeignKeyConstraint(["product_key"], ["products.key"], name=op.f("fk_contract_items_product_key")),
        sa.PrimaryKeyConstraint("contract_id", "product_key", name=op.f("pk_contract_items")),
    )
    op.create_table(
        "sip_trunks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("contract_id", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("sip_user", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "active",
                "suspended",
                "closed",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("channels > 0", name=op.f("ck_sip_trunks_channels")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sip_trunks_account_id")),
        sa.ForeignKeyConstraint(["contract_id"], ["contracts.id"], name=op.f("fk_sip_trunks_contract_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_sip_trunks_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sip_trunks")),
        sa.UniqueConstraint("request_id", name=op.f("uq_sip_trunks_request_id")),
        sa.UniqueConstraint("sip_user", name=op.f("uq_sip_trunks_sip_user")),
    )
    op.create_index(op.f("ix_sip_trunks_account_id"), "sip_trunks", ["account_id"], unique=False)
    op.create_index(op.f("ix_sip_trunks_contract_id"), "sip_trunks", ["contract_id"], unique=False)
    op.create_table(
        "number_blocks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("area_code", sa.Text(), nullable=False),
        sa.Column("first_number", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("trunk_id", sa.BigInteger(), nullable=True),
        sa.Column("available_from", sa.TIMESTAMP(timezone=True), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(first_number, first_number + size)"), "&&"),
            using="gist",
            name="ex_number_blocks_overlap",
        ),
        sa.CheckConstraint(
            "starts_with(first_number::text, '49' || substr(area_code, 2))",
            name=op.f("ck_number_blocks_in_area"),
        ),
        sa.CheckConstraint(
            "account_id IS NOT NULL OR trunk_id IS NULL", name=op.f("ck_number_blocks_trunk_needs_account")
        ),
        sa.CheckConstraint("mod(first_number, size) = 0", name=op.f("ck_number_blocks_aligned")),
        sa.CheckConstraint("size IN (1, 10, 100)", name=op.f("ck_number_blocks_size")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_number_blocks_account_id")),
        sa.ForeignKeyConstraint(["area_code"], ["area_codes.code"], name=op.f("fk_number_blocks_area_code")),
        sa.ForeignKeyConstraint(["trunk_id"], ["sip_trunks.id"], name=op.f("fk_number_blocks_trunk_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_blocks")),
    )
    op.create_index(op.f("ix_number_blocks_account_id"), "number_blocks", ["account_id"], unique=False)
    op.create_index(
        "ix_number_blocks_free",
        "number_blocks",
        ["area_code", "size", "available_from", "id"],
        unique=False,
        postgresql_where=sa.text("account_id IS NULL"),
    )
    op.create_index(op.f("ix_number_blocks_trunk_id"), "number_blocks", ["trunk_id"], unique=False)
    op.execute(KEEP_CUSTOMER_NUMBERS)
    op.execute(KEEP_MAIN_ACCOUNTS)


def downgrade() -> None:
    op.drop_index(op.f("ix_number_blocks_trunk_id"), table_name="number_blocks")
    op.drop_index("ix_number_blocks_free", table_name="number_blocks", postgresql_where=sa.text("account_id IS NULL"))
    op.drop_index(op.f("ix_number_blocks_account_id"), table_name="number_blocks")
    op.drop_table("number_blocks")
    op.drop_index(op.f("ix_sip_trunks_contract_id"), table_name="sip_trunks")
    op.drop_index(op.f("ix_sip_trunks_account_id"), table_name="sip_trunks")
    op.drop_table("sip_trunks")
    op.drop_table("contract_items")
    op.drop_index("ix_timeline_entries_request_id_id", table_name="timeline_entries")
    op.drop_table("timeline_entries")
    op.drop_index(op.f("ix_ownership_proofs_account_id"), table_name="ownership_proofs")
    op.drop_table("ownership_proofs")
    op.drop_index("ix_messages_queued", table_name="messages", postgresql_where=sa.text("state = 'queued'"))
    op.drop_table("messages")
    op.drop_table("idempotency_keys")
    op.drop_index(op.f("ix_contracts_account_id"), table_name="contracts")
    op.drop_table("contracts")
    op.drop_index(
        "uq_requests_running_link",
        table_name="requests",
        postgresql_where=sa.text("kind = 'link' AND status NOT IN ('cancelled', 'completed', 'failed', 'rejected')"),
    )
    op.drop_index(op.f("ix_requests_requested_by"), table_name="requests")
    op.drop_index("ix_requests_main_id_id", table_name="requests")
    op.drop_index("ix_requests_due_at", table_name="requests", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_index(op.f("ix_requests_account_id"), table_name="requests")
    op.drop_table("requests")
    op.drop_index(op.f("ix_memberships_account_id"), table_name="memberships")
    op.drop_table("memberships")
    op.drop_table("call_forwardings")
    op.drop_index(op.f("ix_api_tokens_user_id"), table_name="api_tokens")
    op.drop_index(op.f("ix_api_tokens_account_id"), table_name="api_tokens")
    op.drop_table("api_tokens")
    op.drop_index("ix_accounts_main_id_id", table_name="accounts", postgresql_where=sa.text("main_id IS NOT NULL"))
    op.drop_table("accounts")
    op.drop_table("users")
    op.drop_table("products")
    op.drop_table("job_heartbeats")
    op.drop_table("customer_numbers")
    op.drop_table("area_codes")
    op.execute("DROP FUNCTION refuse_main_as_sub")
    op.execute("DROP FUNCTION refuse_change")
