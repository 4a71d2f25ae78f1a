"""Counts refused sign-ins, and records them in the audit log."""

from __future__ import annotations

from models.people.sign_in_log import Refused, note_refused_sign_in
from web.portal.page.browser_names import here
from web.resources import resources


def count_refused_sign_in(email: str, why: Refused) -> None:
    """Count the attempt begun in this request as failed, and record it in the audit log of the person's accounts.

    `email` is the address of the person whose password or second factor was tried; nothing is recorded if nobody signs
    in with it. Call this outside a transaction.
    """
    throttle = resources().throttle
    throttle.count_wrong_try()
    is_last = throttle.tries_left() == 0
    with resources().database.transaction() as session:
        note_refused_sign_in(session, email, why, here(), resources().clock(), is_last=is_last)
