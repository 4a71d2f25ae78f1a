"""Marks rows of a bulk file as refused, with the code of the reason that the customer reads."""

from __future__ import annotations

from models.bulk.bulk import BulkRow, RowFate
from models.errors import (
    AlreadyRequested,
    CannotClose,
    DomainError,
    InvalidField,
    NotFound,
    PricesChanged,
    RuleBroken,
    TooEarly,
)
from models.states import Reason


def refuse(row: BulkRow, error: DomainError) -> None:
    """Mark the row of the bulk file as refused, with the error's code as the reason that the customer reads."""
    row.fate = RowFate.REFUSED
    match error:
        case RuleBroken(reason=reason):
            row.refusal = str(reason)
        case InvalidField(code=code):
            row.refusal = code
        case AlreadyRequested():
            row.refusal = "already_requested"
        case TooEarly():
            row.refusal = "asked_too_often"
        case CannotClose(code=code):
            row.refusal = f"obstacle_{code}"
        case PricesChanged():
            row.refusal = "prices_changed"
        case NotFound():
            row.refusal = str(Reason.TRUNK_CLOSED)
        case _:
            row.refusal = "forbidden"
