"""The history of phone numbers: who had a number from when to when (§ 172 TKG).

Each row is about a whole number block, with names and addresses as they were at that time. An exclusion constraint
prevents two rows of one block from overlapping in time. A row is kept until the end of the calendar year after the one
in which the account lost the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.accounts.contract_holders import OWNED, OWNER
from models.db.base import Base
from models.db.batch_insert import batch_execute, execute_queued
from models.retention import start_of_last_year
from models.telephony.numbers import NumberBlock


class NumberAssignment(Base):
    """The assignment of a number block to one account and one contract holder, from `since` until `until`.

    `until` is None while the account still has the block. `holder_…` is the name and address of the contract holder,
    `street`, `postal_code` and `city` the connection address, all as they were during the assignment.
    """

    __tablename__ = "number_assignments"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    block_id: Mapped[int] = mapped_column(sa.ForeignKey("number_blocks.id"))
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    holder_name: Mapped[str]
    holder_street: Mapped[str]
    holder_postal_code: Mapped[str]
    holder_city: Mapped[str]
    street: Mapped[str]
    postal_code: Mapped[str]
    city: Mapped[str]

    __table_args__ = (
        sa.CheckConstraint("until >= since", name="ends_after_start"),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(block_id, block_id, '[]')"), "&&"),
            (sa.text("tstzrange(since, until)"), "&&"),
            name="ex_number_assignments_overlap",
            using="gist",
        ),
        sa.Index("uq_number_assignments_open", "block_id", unique=True, postgresql_where=sa.text("until IS NULL")),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the account lost the block before last year began in Berlin."""
        return cls.until < start_of_last_year(now)


_PAGE = 2_000
"""How many number blocks one call of `complete_history` updates."""
# With plain SQL, because a statement of the ORM would first write every other change of the session.
_COLUMNS = ("holder_name", "holder_street", "holder_postal_code", "holder_city", "street", "postal_code", "city")
_LISTED = ", ".join(_COLUMNS)


def _owner_of(account_id: str) -> str:
    """Return an SQL subquery for a LATERAL join: the present contract holder and connection address of an account.

    `account_id` is an SQL expression for the account's id, such as a column name. The columns are `account_id` and
    those of `_COLUMNS`. If no contract holder is stored, the name and address of the account that has the contracts
    take its place.
    """
    # With LIMIT, PostgreSQL looks up each account by its index: otherwise it reads all accounts for a page of blocks.
    return f"""
        LATERAL (
            SELECT account.id AS account_id,
                   coalesce(holder.name, owner.name) AS holder_name,
                   coalesce(holder.street, owner.street) AS holder_street,
                   coalesce(holder.postal_code, owner.postal_code) AS holder_postal_code,
                   coalesce(holder.city, owner.city) AS holder_city,
                   account.street, account.postal_code, account.city
            FROM accounts AS account
            JOIN accounts AS owner ON owner.id = {OWNER}
            LEFT JOIN contract_holders AS holder ON holder.account_id = owner.id
            WHERE account.id = {account_id}
            LIMIT 1
        ) AS owners
    """  # noqa: S608 - words of our own


_BEGIN = sa.text(f"""
    INSERT INTO number_assignments (block_id, account_id, since, {_LISTED})
    SELECT block_id, owners.account_id, since, {_LISTED}
    FROM json_to_recordset(CAST(:rows AS json)) AS begun (block_id bigint, account_id bigint, since timestamptz)
    CROSS JOIN {_owner_of("begun.account_id")}
""")  # noqa: S608
_END = sa.text("""
    UPDATE number_assignments SET until = greatest(since, :now) WHERE block_id = :block_id AND until IS NULL
""")


def _renewal(accounts: str, blocks: str = "IS NOT NULL") -> tuple[sa.TextClause, sa.TextClause]:
    """Return two SQL statements that update the history of numbers to the present owners of the blocks.

    The first ends open assignments (without an end) whose account, holder or address is not the present one. The second
    inserts an open assignment for each block of an account that has none. `accounts` and `blocks` limit both
    statements. They are SQL comparisons, such as `IN (…)`, which follow the name of a column with account ids or block
    ids.
    """
    known, true = (", ".join(f"{table}.{name}" for name in ("account_id", *_COLUMNS)) for table in ("known", "owners"))
    end = f"""
        UPDATE number_assignments AS known SET until = greatest(known.since, :now)
        FROM number_blocks AS block LEFT JOIN {_owner_of("block.account_id")} ON TRUE
        WHERE known.until IS NULL AND block.id = known.block_id
          AND known.account_id {accounts} AND known.block_id {blocks}
          AND ROW ({known}) IS DISTINCT FROM ROW ({true})
    """  # noqa: S608
    begin = f"""
        INSERT INTO number_assignments (block_id, account_id, since, {_LISTED})
        SELECT block.id, owners.account_id, :now, {_LISTED}
        FROM number_blocks AS block CROSS JOIN {_owner_of("block.account_id")}
        WHERE block.account_id {accounts} AND block.id {blocks}
          AND NOT EXISTS (SELECT FROM number_assignments WHERE block_id = block.id AND until IS NULL)
        ON CONFLICT DO NOTHING
    """  # noqa: S608
    return sa.text(end), sa.text(begin)


_RENEWALS = _renewal(f"IN {OWNED}")
_COMPLETION = _renewal("IS NOT NULL", "BETWEEN :first AND :last")


def begin_assignment(session: Session, block_id: int, account_id: int, now: datetime) -> None:
    """Record that the account gets the number block now, with the account's contract holder and connection address.

    Holder and address are read, and the row is inserted, at the next flush or commit: with one statement for all blocks
    that were recorded until then.
    """
    batch_execute(session, _BEGIN, block_id=block_id, account_id=account_id, since=now)


def end_assignment(session: Session, block_id: int, now: datetime) -> None:
    """Record that the block's account loses the block now; do nothing if no account has the block.

    Runs one statement, and one more if calls of `begin_assignment` are not written yet.
    """
    execute_queued(session, _BEGIN)
    session.execute(_END, {"block_id": block_id, "now": now})


def last_end(block_id: sa.SQLColumnExpression[int]) -> sa.ScalarSelect[datetime | None]:
    """Return SQL for the time at which an account last lost the block with this id; null if the history has none."""
    ends = sa.select(sa.func.max(NumberAssignment.until)).where(NumberAssignment.block_id == block_id)
    return ends.scalar_subquery()


def renew_history(session: Session, account_id: int, now: datetime) -> None:
    """Record the account's present contract holder and connection address in the history of its numbers.

    If they have changed, open assignments end and new ones begin. The same is done for the accounts whose contract
    holder is this account's, because it has ordered them. Runs two statements.
    """
    execute_queued(session, _BEGIN)
    for statement in _RENEWALS:
        session.execute(statement, {"account_id": account_id, "now": now})


def complete_history(session: Session, now: datetime, after: int = 0) -> tuple[int, int | None]:
    """Update the history of some number blocks to the accounts, contract holders and addresses that they have now.

    Needed after changes that were not recorded: an import of customers, or changes by an older version of this software
    that runs in parallel and has no history. Goes through the 2,000 blocks (`_PAGE`) whose ids follow `after`. Returns
    how many rows were ended or inserted, and the last id of these blocks, which is `after` for the next call. The id is
    None if there was no block. Safe to run twice.
    """
    page = sa.select(NumberBlock.id).where(NumberBlock.id > after).order_by(NumberBlock.id).limit(_PAGE).subquery()
    last = session.scalar(sa.select(sa.func.max(page.c.id)))
    if last is None:
        return 0, None
    values = {"now": now, "first": after + 1, "last": last}
    return sum(session.connection().execute(statement, values).rowcount for statement in _COMPLETION), last


def block_of(session: Session, number: int) -> NumberBlock | None:
    """Return the block that contains a number (E.164, as an integer); None if the number is not the carrier's."""
    return session.scalar(sa.select(NumberBlock).where(NumberBlock.has(number)))


def assignments_of(session: Session, block: NumberBlock) -> Sequence[sa.Row[NumberAssignment, str]]:
    """Return a block's assignments that are still stored, the newest first, each with its account's customer number."""
    query = (
        sa.select(NumberAssignment, Account.customer_number)
        .join(Account, Account.id == NumberAssignment.account_id)
        .where(NumberAssignment.block_id == block.id)
        .order_by(NumberAssignment.since.desc(), NumberAssignment.id.desc())
    )
    return session.execute(query).all()
