"""Details that an order must give for some options, such as the mobile number for the mobile fallback."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from models.contracts.catalogue import DIRECTORY_ENTRY, MOBILE_BACKUP
from models.errors import InvalidField

DETAILS: Mapping[str, str] = {MOBILE_BACKUP: "mobile_number", DIRECTORY_ENTRY: "directory_entry"}
"""A dict of the key of an option to the field of an order that has the option's details."""


def ensure_details(option_keys: Collection[str], given: Mapping[str, object]) -> None:
    """Raise `InvalidField` if a chosen option lacks its details, or if details are given for an option not chosen.

    `given` must have each field that holds details of an option (`mobile_number` and `directory_entry`), with None if
    nothing was given for it. The error names the field of the option; its code is `missing` or `without_option`.
    """
    for option, field in DETAILS.items():
        if (given[field] is not None) == (option in option_keys):
            continue
        if option in option_keys:
            raise InvalidField(field, "missing")
        raise InvalidField(field, "without_option", option)
