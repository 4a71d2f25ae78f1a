"""The step `assign`: give a trunk the number block that was reserved for it, and its contract the block's line."""

from __future__ import annotations

from models.changes.more_numbers import add_numbers
from models.requests.requests import Request
from tasks.steps.step import Outcome, Work


def assign(work: Work, request: Request) -> Outcome:
    """Give the reserved block to the trunk, and make the trunk due to be written to the registrar.

    Returns None: the step is done. Raises `RuleBroken`, which rejects the request and frees the block, if the account
    or the trunk was closed. Safe to run twice: a block that the trunk has stays as it is.
    """
    block = add_numbers(work.session, request, work.now)
    request.note(work.now, "numbers_added", numbers=block.display)
    return None
