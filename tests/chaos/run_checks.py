"""The auditor's checks of the run itself: orders go through after each fault, and no page fails without a fault."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, check

HEALS_WITHIN = 60.0
"""The most seconds after a fault until an order goes through again."""
FAILS_PAGES = ("front: ", "database: restarted", "database: connections cut", "database: its host silent")
"""Beginnings of the names of faults during which the portal's pages may fail: those of web application and database."""
PAGES_HEAL_WITHIN = 15.0
"""Seconds after the end of a fault of `FAILS_PAGES` in which pages may still fail.

They may fail for longer if it takes longer until an order goes through.
"""


@check("faults that did not heal")
def unhealed(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each fault after which no order was completed within `HEALS_WITHIN` seconds."""
    for fault in evidence.record["faults"]:
        if fault["healed"] is None or fault["healed"] > HEALS_WITHIN:
            yield f"{fault['name']}: {fault['healed']}"


@check("pages that failed without a fault that explains it")
def failed_pages(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each failed try on the portal's pages that no fault explains.

    Also yield one for each kind of try that never succeeded.
    """
    tries = evidence.record["pages"]
    explained = [
        (
            fault["began"],
            fault["ended"] + max(PAGES_HEAL_WITHIN, math.inf if fault["healed"] is None else fault["healed"]),
        )
        for fault in evidence.record["faults"]
        if fault["name"].startswith(FAILS_PAGES)
    ]
    for one in tries:
        if one["error"] is not None and not any(
            began <= one["ended"] and one["began"] <= healed for began, healed in explained
        ):
            yield f"{one['what']}: {one['error']}"
    succeeded = {one["what"] for one in tries if one["error"] is None}
    for what in sorted({one["what"] for one in tries} - succeeded):
        yield f"{what}: never succeeded"
