"""Refuse the web process decisions that are not its caller's to make, and keep revoked API tokens revoked.

Row-level security says which rows the web process may change, not which columns: a caller who may send a question again
could also answer it. These triggers look at the columns that decide something, and only if they are changed.
"""

from __future__ import annotations

from alembic import op

revision = "0074"
down_revision = "0073"
branch_labels = None
depends_on = None

DEFINER = "LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp"
# Whether the person administers the account whose consent, or main account whose consent, the request needs.
IS_ASKED = """
BEGIN
    IF kind = 'consents' THEN
        RETURN EXISTS (
            SELECT FROM requests AS asking JOIN accounts AS asked ON asked.customer_number = asking.customer_number
                JOIN memberships AS team ON team.account_id = asked.id
            WHERE asking.id = is_asked.request AND team.user_id = is_asked.person AND team.role = 'administrator'
        );
    END IF;
    RETURN EXISTS (
        SELECT FROM main_consents AS question JOIN memberships AS team ON team.account_id = question.main_id
        WHERE question.request_id = is_asked.request AND team.user_id = is_asked.person AND team.role = 'administrator'
    );
END"""
# For a function of a trigger: the condition under which the web process may make the change.
MAY: dict[str, str] = {
    # A public page with the code of a mail names the person whom the mail was for.
    "answer": "NEW.decision IS NULL OR ((NEW.decided_by = caller_id() OR NEW.decided_by = ANY (caller_people()))"
    " AND is_asked(TG_TABLE_NAME::text, NEW.request_id, NEW.decided_by))",
    "approve": "NEW.approved IS NULL OR (NEW.approval_by = caller_id() AND (NEW.main_id = ANY (caller_leads())"
    " OR NEW.account_id = ANY (caller_leads())"
    " OR (SELECT main_id FROM public.accounts WHERE id = NEW.account_id) = ANY (caller_leads())))",
    "release": "NEW.released IS NULL OR caller_is_staff()",
    "rule_company": "NEW.id = ANY (caller_administers())",
}
# By trigger, which is named after its table: the columns whose change it looks at, and the function.
TRIGGERS: dict[str, tuple[str, str]] = {
    "consents": ("decision, decided_by", "answer"),
    "main_consents": ("decision, decided_by", "answer"),
    "requests": ("approved, approval_by", "approve"),
    "address_documents": ("released, decided_by", "release"),
    "accounts": ("factor_required_from, approval_from_cents", "rule_company"),
}


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION is_asked(kind text, request uuid, person bigint) RETURNS boolean"
        f" {DEFINER} AS $body${IS_ASKED} $body$"
    )
    for name, condition in MAY.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION refuse_to_{name}() RETURNS trigger LANGUAGE plpgsql AS $body$\n"
            f"BEGIN\n    IF current_user <> 'standorte_front' OR ({condition}) THEN RETURN NEW; END IF;\n"
            "    RAISE EXCEPTION 'not for this caller to decide' USING ERRCODE = 'insufficient_privilege';\nEND $body$"
        )
    for table, (columns, name) in TRIGGERS.items():
        op.execute(
            f"CREATE OR REPLACE TRIGGER {table}_decided_by_those_asked BEFORE UPDATE OF {columns} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION refuse_to_{name}()"
        )
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql AS $body$\n"
        "BEGIN RAISE EXCEPTION 'a revoked token stays revoked' USING ERRCODE = 'insufficient_privilege'; END $body$"
    )
    op.execute(
        "CREATE OR REPLACE TRIGGER api_tokens_stay_revoked BEFORE UPDATE OF revoked_at ON api_tokens"
        " FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL) EXECUTE FUNCTION refuse_revival()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS api_tokens_stay_revoked ON api_tokens")
    op.execute("DROP FUNCTION IF EXISTS refuse_revival")
    for table in TRIGGERS:
        op.execute(f"DROP TRIGGER IF EXISTS {table}_decided_by_those_asked ON {table}")
    for name in MAY:
        op.execute(f"DROP FUNCTION IF EXISTS refuse_to_{name}")
    op.execute("DROP FUNCTION IF EXISTS is_asked")
