"""What the checks of all kinds of bulk files share: reading cells, and naming the cell that breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import InvalidField
from models.states import Kind
from tasks.files.uploaded_cells import cell_fault
from web.portal.bulk.columns import COLUMNS, Cells

Errors = dict[str, list[Any]]


def refuse(errors: Errors, column: str, rule: Callable[..., object], *typed: Any) -> None:
    """Call `rule(*typed)`; if it raises `InvalidField`, put the error into `errors` as that of the column.

    The entry is `[code, allowed]`: the broken rule, and the valid values or None. It replaces an earlier one.
    """
    try:
        rule(*typed)
    except InvalidField as error:
        errors[column] = [error.code, error.allowed]


def faults_of(cells: Cells) -> Errors:
    """Return the errors of cells that cannot be read, such as an error value of a spreadsheet, by column key."""
    return {column: [fault, None] for column, cell in cells.items() if (fault := cell_fault(cell)) is not None}


def number_or_text(cell: str) -> int | str:
    """Return the cell as an int if it has only digits, at most 6; otherwise return the text unchanged.

    The API's schema then reports the text as an error.
    """
    return int(cell) if cell.isdecimal() and len(cell) < 7 else cell


def validate(form: type[Any], body: Mapping[str, Any], cells: Cells, kind: Kind, errors: Errors) -> Any:
    """Validate `body` by the API's schema `form`; return the result, or None if the body is invalid.

    The errors of an invalid body are added to `errors` by column key. `cells` are the cells from which the body was
    made.
    """
    try:
        return form.model_validate(body)
    except ValidationError as error:
        columns = {column.path: column for column in COLUMNS[kind]}
        for part in error.errors(include_input=False, include_url=False):
            path = ".".join(str(step) for step in part["loc"] if isinstance(step, str) and step != "link_code")
            column = columns[path]
            missing = not cells[column.key] and not column.optional
            allowed = part.get("ctx", {}).get("allowed")
            errors.setdefault(column.key, ["missing", None] if missing else [part["type"], allowed])
        return None
