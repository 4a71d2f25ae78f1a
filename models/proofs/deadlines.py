"""Deadlines of proofs: how long codes are valid, when people are reminded, and how many codes they can get."""

from __future__ import annotations

from datetime import timedelta

VALID_FOR = timedelta(days=14)
"""How long a mailed or printed code is valid, as the carrier's help pages promise; to the end of the last day.

A request whose proof is not given in this time is rejected.
"""
LINK_CODE_VALID_FOR = timedelta(days=7)
"""How long a link code is valid, to the end of the last day."""
REMINDED_AFTER = (timedelta(days=7), timedelta(days=12))
"""How long after a request for a code or consent by mail the person is reminded. Nobody is reminded by letter."""
CERTIFICATE_REMINDED_BEFORE = (timedelta(days=7), timedelta(days=2))
"""The times before the deadline for a certificate of need at which people are reminded to hand it in."""
NEW_MAIL_AFTER = timedelta(minutes=10)
"""The least time between two requests for a code by mail."""
NEW_CONSENT_AFTER = timedelta(days=1)
"""The least time between two requests for the same consent."""
NEW_LETTER_AFTER = timedelta(days=3)
"""The least time between two requests for a code by letter: the post takes its time."""
LEAST_LEFT = timedelta(days=7)
"""The least time that a code must still be valid for a new order to share it; otherwise a new code is requested.

It is also the least time to hand in another certificate of need after one was refused.
"""
MOST_ISSUES = 5
"""The most codes that one person gets for one proof, so that nobody is pestered."""
