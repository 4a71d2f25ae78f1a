"""The day by which the carrier promises to act on a held request. Uses no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from models.calendar_days import end_of_day
from models.states import Reason

LONGEST_HOLD = timedelta(days=2)
HOLDS: Mapping[Reason, timedelta] = {
    Reason.NO_NUMBERS_AVAILABLE: timedelta(days=5),
    Reason.GATEWAY_UNAVAILABLE: timedelta(days=1),
}
"""The longest time for which a request is held, as customers are told, by reason; `LONGEST_HOLD` for other reasons."""


def promised_until(reason: Reason, now: datetime) -> datetime:
    """Return the end of the day in Berlin by which the carrier promises to act on a request held now for `reason`."""
    return end_of_day(now + HOLDS.get(reason, LONGEST_HOLD))
