"""Details that an order must give for some options, such as the mobile number to which calls fall back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from models.contracts.catalogue import DIRECTORY_ENTRY, MOBILE_BACKUP
from models.errors import InvalidField

DETAILS: Mapping[str, str] = {MOBILE_BACKUP: "mobile_number", DIRECTORY_ENTRY: "directory_entry"}
"""The field of an order with the details of an option, by the option's key."""


def ensure_details(option_keys: Collection[str], given: Mapping[str, object]) -> None:
    """Raise `InvalidField` if a chosen option lacks its details, or if details are given for an option not chosen.

    `given` maps each field of `DETAILS`, such as `mobile_number`, to what was given for it; None if nothing. The
    error's code is `missing` or `without_option`.
    """
    for option, field in DETAILS.items():
        if (given[field] is not None) == (option in option_keys):
            continue
        if option in option_keys:
            raise InvalidField(field, "missing")
        raise InvalidField(field, "without_option", option)
