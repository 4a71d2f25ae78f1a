"""The sentences that say what keeps an account from being closed, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from models.errors import CannotClose
from models.values import Locale
from tasks.wording.translate import N_, translate

OBSTACLES: Mapping[str, str] = {
    "has_sub_accounts": N_(
        "The account is a main account with sub-accounts (%(facts)s). Cancel or detach these first: a main "
        "account ends only when no sub-account is left."
    ),
    "request_runs": N_(
        "The account has running orders or link requests. Wait until they are completed, or cancel them first."
    ),
    "bulk_runs": N_("A file of the account with orders or link requests is being worked on. Wait until it has ended."),
    "billed_together": N_(
        "The account pays for others by a collective invoice: %(facts)s. Ask our customer service to take the others "
        "off it first."
    ),
}
"""The sentence for each `code` of the error `CannotClose`; the codes are about accounts that act as main accounts."""


def obstacle_text(obstacle: CannotClose, locale: Locale) -> str:
    """Return a sentence on why the account cannot be closed or cancelled, and what has to be done first."""
    return translate(locale, OBSTACLES[obstacle.code], facts=", ".join(obstacle.facts))
