"""Create the table of towns and their area codes as staff have confirmed them, and rewrite keys of address proofs.

An order whose area code is not confirmed waits for staff, not for the customer. The new keys tell house numbers such as
'12' and '1/2' apart.
"""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

BEFORE = (
    "ownership_not_proven", "consent_awaited", "declined_by_owner", "email_not_confirmed", "contact_refused",
    "address_not_proved", "document_in_review", "already_attached", "is_main_account", "is_sub_account",
    "same_account", "account_closed", "not_attached", "billed_together", "area_code_mismatch",
    "product_not_orderable", "no_numbers_available", "gateway_unavailable", "gateway_refused", "internal_error",
    "cancelled_by_requester", "cancelled_by_back_office", "proof_expired", "no_administrator", "invitation_open",
)  # fmt: skip
# In the order in which the models name them.
AFTER = (*BEFORE[:15], "area_code_unconfirmed", *BEFORE[15:])


def upgrade() -> None:
    op.create_table(
        "known_places",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("postal_code", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("town", sa.Text(), nullable=False),
        sa.Column("area_code", sa.Text(), nullable=False),
        sa.Column("fits", sa.Boolean(), nullable=True),
        sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(fits IS NULL) = (decided_at IS NULL)", name=op.f("ck_known_places_answer_has_time")),
        sa.CheckConstraint(
            "decided_by IS NULL OR decided_at IS NOT NULL", name=op.f("ck_known_places_somebody_decided")
        ),
        sa.CheckConstraint("asked_at IS NOT NULL OR fits IS NOT NULL", name=op.f("ck_known_places_asked_or_known")),
        sa.ForeignKeyConstraint(["area_code"], ["area_codes.code"], name=op.f("fk_known_places_area_code")),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_known_places_decided_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_places")),
        sa.UniqueConstraint(
            "postal_code", "place", "area_code", name=op.f("uq_known_places_postal_code_place_area_code")
        ),
        if_not_exists=True,
    )
    op.create_index(op.f("ix_known_places_decided_by"), "known_places", ["decided_by"], if_not_exists=True)
    op.create_index("ix_known_places_area_code", "known_places", ["area_code"], if_not_exists=True)
    op.create_index(
        "ix_known_places_open",
        "known_places",
        ["asked_at"],
        postgresql_where=sa.text("fits IS NULL"),
        if_not_exists=True,
    )
    _reasons(AFTER)
    with op.get_context().autocommit_block():
        op.add_column("address_proofs", sa.Column("code_key", sa.Text(), nullable=True), if_not_exists=True)
        # They waited for a customer who could do nothing: now they go on, and may wait for our staff. Only after some
        # minutes, because the program before this one, which may still run, would let them wait for the customer again.
        op.execute(
            "UPDATE requests SET status = 'in_progress', reason = NULL, waiting_for = NULL, waiting_until = NULL,"
            " updated_at = now(), due_at = now() + interval '10 minutes', lease = NULL, attempts = 0"
            " WHERE id IN (SELECT id FROM requests WHERE status = 'pending' AND reason = 'area_code_mismatch'"
            " ORDER BY id FOR UPDATE)"
        )
        _rewrite_keys()


def downgrade() -> None:
    # The schema before knows no such reason: what waits for staff waits for them still.
    op.execute("UPDATE requests SET reason = 'internal_error' WHERE reason = 'area_code_unconfirmed'")
    _reasons(BEFORE)
    # The schema before derives the code of a letter from the key by which the proof is found.
    op.execute(
        "UPDATE address_proofs AS proof SET address_key = code_key WHERE code_key IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM address_proofs WHERE main_id = proof.main_id AND address_key = proof.code_key)"
    )
    op.drop_column("address_proofs", "code_key", if_exists=True)
    op.drop_table("known_places")


def _reasons(reasons: tuple[str, ...]) -> None:
    """Allow exactly these reasons of requests; existing rows are checked afterwards, without blocking writers."""
    words = ", ".join(f"'{reason}'" for reason in reasons)
    name = op.f("ck_requests_reason")
    with op.get_context().autocommit_block():
        op.execute(
            # The same rule with one word more is put in its place by the same statement.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {name},"
            f" ADD CONSTRAINT {name} CHECK (reason IN ({words})) NOT VALID"
        )
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE requests VALIDATE CONSTRAINT {name}")


def _rewrite_keys() -> None:
    """Write new keys into the address proofs of streets with two numbers, such as 'Am Markt 1/2'.

    Where several addresses had one key, the address that was ordered first keeps the proof. An address that is not
    proved yet keeps its old key as `code_key`: the code in a letter in the post was derived from it. Each proof is
    changed in a transaction of its own. Does nothing when SQL is only printed.
    """
    if op.get_context().as_sql:
        return
    ordered = sa.text(
        "SELECT main_id, street, postal_code, city FROM (SELECT requests.main_id, accounts.street,"
        " accounts.postal_code, accounts.city, min(requests.id::text) AS first FROM requests"
        " JOIN accounts ON accounts.id = requests.account_id"
        " WHERE kind = 'order' AND street ~ '[0-9][^a-zA-Z0-9]+[0-9]' GROUP BY 1, 2, 3, 4) AS places ORDER BY first"
    )
    connection = op.get_bind()
    for main_id, street, postal_code, city in connection.execute(ordered).all():
        connection.execute(
            sa.text(
                "UPDATE address_proofs SET address_key = :new, code_key = CASE WHEN proved_at IS NULL THEN :old END"
                " WHERE main_id = :main_id AND address_key = :old AND NOT EXISTS"
                " (SELECT FROM address_proofs WHERE main_id = :main_id AND address_key = :new)"
            ),
            {"main_id": main_id, "old": _old(street, postal_code, city), "new": _new(street, postal_code, city)},
        )


def _old(street: str, postal_code: str, city: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _spelled(f"{street} {postal_code} {city}"))


def _new(street: str, postal_code: str, city: str) -> str:
    marked = re.sub(
        r"(?<=[0-9])[^a-z0-9]+(?=[0-9])", lambda between: "/" if "/" in between[0] else "-", _spelled(street)
    )
    numbers = re.sub(r"(?<![0-9])[^a-z0-9]+|[^a-z0-9]+(?![0-9])", "", marked)
    return numbers + re.sub(r"[^a-z0-9]", "", _spelled(f"{postal_code} {city}"))


def _spelled(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for letter, spelling in {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}.items():
        text = text.lower().replace(letter, spelling)
    return text.replace("strasse", "str")
