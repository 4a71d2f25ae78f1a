"""What the pages behind a mailed link share: which mail a link is from, and typing the code of the mail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask_babel import gettext as _
from sqlalchemy.orm import Session
from wtforms import Field

from models.errors import NotAwaited
from models.proofs.proofs import CodedProof
from web.portal.page.form_errors import add_error
from web.resources import resources


def issue_of(proof: CodedProof, token: str, words: Callable[[int], Sequence[str]]) -> int | None:
    """Return the issue of the proof whose mail has this token in its link; None if no mail has.

    `words` gives what the token of an issue is derived from.
    """
    given = (issue for issue in range(1, proof.issue + 1) if resources().vault.is_token(token, *words(issue)))
    return next(given, None)


def try_code(field: Field, customer_number: str, give: Callable[[Session], bool]) -> bool:
    """Give a proof with the code in this field under the throttle; a wrong one is counted and marked at the field."""
    resources().throttle.begin_try(customer_number)
    if give_proof(give):
        return True
    resources().throttle.count_wrong_try()
    add_error(field, _("This code is not right. Compare it with the newest e-mail."))
    return False


def give_proof(give: Callable[[Session], bool]) -> bool:
    """Give a proof in a transaction of its own; returns False if its code is wrong.

    True also if nobody waits for the proof any more: the page says so when it is shown again.
    """
    try:
        with resources().database.transaction() as session:
            right = give(session)
    except NotAwaited:
        return True
    return right
