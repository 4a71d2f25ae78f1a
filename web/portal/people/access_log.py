"""Counts refused sign-ins for the limits on attempts, and records them in the audit log."""

from __future__ import annotations

from models.people.sign_in_log import Refused, note_refused_sign_in
from web.portal.page.browser_names import here
from web.resources import resources


def count_refused_sign_in(email: str, why: Refused) -> None:
    """Count the attempt of this HTTP request as failed, and record it in the audit logs of the person's accounts.

    `email` is the address of the person whose password or second factor was tried. If no user has the address, nothing
    is recorded. `why` says what was wrong. Call this outside a transaction.
    """
    throttle = resources().throttle
    throttle.count_wrong_try()
    is_last = throttle.tries_left() == 0
    with resources().database.transaction() as session:
        note_refused_sign_in(session, email, why, here(), resources().clock(), is_last=is_last)
