"""Reserving ids and customer numbers for orders, so that one statement can insert all rows of several orders."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import IssuedCustomerNumber
from models.values import random_customer_number

_SPARE = 3
"""How many more customer numbers are proposed than are needed, because some may have been issued before."""


@dataclass(frozen=True, slots=True)
class ReservedIds:
    """The id of a new request for an order, and the id and customer number of the account that the order creates."""

    request_id: uuid.UUID
    account_id: int
    customer_number: str


def reserve_ids(session: Session, count: int) -> list[ReservedIds]:
    """Reserve the ids of `count` new orders: for each a request id, an account id and a customer number; return them.

    The customer numbers count as issued: nobody else gets them, even if they are not used. Runs one statement, or
    further ones if too many of the random customer numbers were issued before.
    """
    reserved: list[ReservedIds] = []
    while len(reserved) < count:
        rows = session.execute(_reserved_rows(), proposals(count - len(reserved)))
        reserved.extend(ReservedIds(row.request_id, row.account_id, row.customer_number) for row in rows)
    return reserved


def proposals(count: int) -> dict[str, Any]:
    """Return the parameters of the query `reserved_rows`: random customer numbers, of which it issues `count`."""
    return {"proposed": list({random_customer_number() for _ in range(count + _SPARE)}), "needed": count}


@cache
def _reserved_rows() -> sa.Select[uuid.UUID, int, str]:
    return reserved_rows()


def reserved_rows() -> sa.Select[uuid.UUID, int, str]:
    """Return a query that reserves ids for orders; its columns are `request_id`, `account_id` and `customer_number`.

    Each row is for one order. The customer numbers are recorded as issued. Execute the query with the parameters that
    `proposals(count)` returns. It has `count` rows, or fewer if too many of the proposed numbers were issued before.
    """
    number = IssuedCustomerNumber.number
    proposed = sa.func.unnest(sa.bindparam("proposed", type_=postgresql.ARRAY(sa.Text))).column_valued("proposed")
    unused = sa.select(proposed).where(~sa.exists().where(number == proposed))
    issue = postgresql.insert(IssuedCustomerNumber).from_select(
        ["number"], unused.limit(sa.bindparam("needed", type_=sa.Integer))
    )
    issued = issue.on_conflict_do_nothing().returning(number).cte("issued")
    return sa.select(
        sa.func.uuidv7(type_=sa.Uuid).label("request_id"),
        sa.func.nextval(sa.text("'accounts_id_seq'"), type_=sa.BigInteger).label("account_id"),
        issued.c.number.label("customer_number"),
    )
