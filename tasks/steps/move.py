"""The step `move`: give an account its new connection address, and its trunks the numbers that go with it.

The step `confirm` waits until the registrar has them.
"""

from __future__ import annotations

from models.changes.making_moves import make_move
from models.requests.requests import Request
from tasks.steps.step import Outcome, Work
from tasks.wording.formats import number_text, numbers_text


def move(work: Work, request: Request) -> Outcome:
    """Change the account's address and replace the numbers that cannot stay there. Returns None: the step is done.

    The trunks become due to be written to the registrar. Raises `RuleBroken`, which rejects the request and frees the
    reserved blocks, if the account is not active, has no open trunk, or has a number that cannot stay and of which that
    was not said. Safe to run twice: the change and the request's next step are saved in one transaction.
    """
    for lost in make_move(work.session, request, work.now):
        assert lost.numbers is not None
        request.note(work.now, "forwarding_lost", numbers=numbers_text(*lost.numbers), target=number_text(lost.target))
    place = request.place
    request.note(work.now, "moved", street=place.street, postal_code=place.postal_code, city=place.city)
    return None
