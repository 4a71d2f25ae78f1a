"""The step `change`: give a trunk another number of channels, and its contract the tariff ordered with them."""

from __future__ import annotations

from models.changes.changes import make_change
from models.requests.requests import Request
from tasks.steps.step import Outcome, Work


def change(work: Work, request: Request) -> Outcome:
    """Give the trunk the number of channels that the request asks for, and its contract the product (tariff).

    The trunk becomes due to be written to the registrar. Returns None: the step is done. Raises `RuleBroken`, which
    rejects the request, if the account or the trunk was closed. Safe to run twice: a trunk and a contract that were
    changed already stay as they are.
    """
    make_change(work.session, request, work.now)
    request.note(work.now, "changed", channels=request.channels, before=request.replaced_channels)
    return None
