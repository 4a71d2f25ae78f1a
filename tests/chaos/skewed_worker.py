"""The worker as on a host whose clock is wrong: CLOCK_OFF is how many seconds it is fast, negative if it is slow."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from models import values

_real = values.utc_now
_OFF = timedelta(seconds=float(os.environ["CLOCK_OFF"]))


def _wrong() -> datetime:
    return _real() + _OFF


# Before anything else imports it.
values.utc_now = _wrong

if __name__ == "__main__":
    from workers import process_pools

    process_pools.main()
