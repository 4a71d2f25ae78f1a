"""The step `assign`: give a trunk the number block reserved for it, and add the block to the contract."""

from __future__ import annotations

from models.changes.more_numbers import add_numbers
from models.requests.requests import Request
from tasks.steps.step import Outcome, Work


def assign(work: Work, request: Request) -> Outcome:
    """Give the reserved number block to the trunk, and add its product to the contract. Returns None: the step is done.

    The trunk becomes due to be written to the registrar. Raises `RuleBroken`, which rejects the request and frees the
    block, if the account or the trunk was closed. Safe to run twice: a block that the trunk has already stays as it is.
    """
    block = add_numbers(work.session, request, work.now)
    request.note(work.now, "numbers_added", numbers=block.display)
    return None
