"""Jobs `audit_seal` and `audit_check`: seal new entries of the audit log, and check all entries against their seals.

A seal is a hash of an entry and of the seal before it. It shows if an entry was changed or deleted later.
"""

from __future__ import annotations

import structlog

from models.jobs.jobs import last_successes
from models.people.audit_chain import ChainCheck, ChainFlaw, ChainHead, chain_head, seal_entries
from tasks.reconcile.job_run import Run

PAGE = 1000
"""The most entries that are sealed or checked in one transaction."""
SEALING = "audit_seal"
"""The name of the job that seals entries. The count `position` of its latest run is the position of the newest seal."""

log = structlog.get_logger()


def seal_audit_log(run: Run) -> None:
    """Seal the entries of the audit log that have no seal yet. Safe to run twice.

    Logs the position and hash of the newest seal: an attacker who rewrites the log and its seals in the database cannot
    also change logs that were shipped to another machine.
    """
    began = run.now
    after: int | None = None
    full = True
    while full:
        with run.transaction() as session:
            sealed = seal_entries(session, began, PAGE, after)
            head = chain_head(session)
        run.counts["sealed"] += len(sealed)
        full = len(sealed) == PAGE
        after = sealed[-1] if sealed else None
    run.counts["position"] = head.position
    if run.counts["sealed"] and not run.dry:
        log.info("audit.sealed", position=head.position, hash=head.hash.hex())


def check_audit_log(run: Run) -> None:
    """Check the whole audit log against its seals, and report each flaw as a finding.

    Repairs nothing. Safe to run twice.
    """
    check = ChainCheck()
    ended = False
    while not ended:
        with run.transaction() as session:
            flaws = check.next_page(session, PAGE)
            _report(run, flaws or [])
        ended = flaws is None
    with run.transaction() as session:
        sealing = last_successes(session).get(SEALING)
        known = [ChainHead(int(sealing.counts.get("position", 0)), b"")] if sealing else []
        _report(run, check.end(session, known, PAGE))
    run.counts["checked"] += check.sealed
    run.counts["not_yet_sealed"] += check.unsealed


def _report(run: Run, flaws: list[ChainFlaw]) -> None:
    for found in flaws:
        subject = str(found.position if found.entry_id is None else found.entry_id)
        run.find(found.flaw, subject, repaired=False, position=found.position, entry=found.entry_id)
