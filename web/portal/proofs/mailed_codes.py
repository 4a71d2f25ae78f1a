"""Functions for the pages behind mailed links: find the mail that a link is from, and check the code from it."""

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
    """Return the number, counted from 1, of the mail whose link contains this token; None if the token is wrong.

    The mails sent for a proof are numbered. `words` returns, for the number of a mail, the words from which the token
    in its link is derived.
    """
    given = (issue for issue in range(1, proof.sent_issue + 1) if resources().vault.is_token(token, *words(issue)))
    return next(given, None)


def try_code(field: Field, customer_number: str, give: Callable[[Session], bool]) -> bool:
    """Call `give`, which submits the code typed in `field` and returns whether it is right; return its result.

    `give` runs in a transaction of its own. A wrong code adds an error to the field and counts towards the limit of
    wrong codes for the customer number; beyond the limit, the request is answered with 429. Also return True if `give`
    raises `NotAwaited`: no request waits for the proof any more, and the page that is shown next says so.
    """
    # Counted apart from the codes of letters, for which nobody needs the link of a mail.
    resources().throttle.begin_code_try(f"{customer_number} by mail")
    if give_proof(give):
        return True
    resources().throttle.count_wrong_try()
    add_error(field, _("This code is not right. Compare it with the newest e-mail."))
    return False


def give_proof(give: Callable[[Session], bool]) -> bool:
    """Call `give`, which submits a proof and returns whether it is right, in a new transaction; return its result.

    Also return True if `give` raises `NotAwaited`: no request waits for the proof any more, and the page that is shown
    next says so.
    """
    try:
        with resources().database.transaction() as session:
            right = give(session)
    except NotAwaited:
        return True
    return right
