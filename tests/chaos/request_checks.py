"""The auditor's checks of requests: none is lost, doubled or unfinished, the API is right, and no work stands still."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import Evidence, check

ENDED = {"completed", "rejected", "cancelled"}
LAST_CODES = {"completed", "rejected", "cancelled"}
AFTER_THE_END = {"confirmed", "mail_refused"}
"""Codes of timeline entries that may follow the end of a request: they tell how the mails about the end went."""
STANDS_STILL = "30 seconds"
TOLD = ("main", "kind", "status", "step", "reason", "customer_number")
"""The fields of a request that are compared between the API's answer and the request's row."""


@check("lost: accepted, and not there")
def lost(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each call answered with 202 whose request is missing.

    Also yield one for each bulk file that was sent and is missing.
    """
    known = {str(row["id"]) for row in evidence.ask("SELECT id FROM requests")}
    for call in evidence.record["accepted"]:
        if call["id"] not in known:
            yield f"{call['kind']} {call['id']}"
    sent = {str(row["id"]) for row in evidence.ask("SELECT id FROM bulks WHERE sent_at IS NOT NULL")}
    for id in evidence.record["bulks"]:
        if id not in sent:
            yield f"bulk {id}"


API_AGREES = "the API says otherwise than the rows"


@check(API_AGREES)
def told(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each request that the API does not list exactly once with the values of its row."""
    listed: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for one in evidence.record["answers"]:
        listed[one["id"]].append(tuple(one[name] for name in TOLD))
    rows = {
        str(row["id"]): tuple(row[name] for name in TOLD)
        for row in evidence.ask(
            "SELECT r.id, a.customer_number AS main, r.kind, r.status, r.step, r.reason, r.customer_number"
            " FROM requests r JOIN accounts a ON a.id = r.main_id"
        )
    }
    for id in sorted({*listed, *rows}):
        wanted = [rows[id]] if id in rows else []
        if listed[id] != wanted:
            yield f"{id} is told as {listed[id]} and is {wanted}"


@check("answers that no client expected")
def unexpected(evidence: Evidence) -> Iterator[str]:
    """Yield each error on which a client of the load stopped."""
    yield from evidence.record["failed"]


@check("doubled: there, and never accepted")
def invented(evidence: Evidence) -> Iterator[str]:
    """Yield a finding if there are more requests than calls explain. A call without an answer explains one request.

    Also yield a finding for each bulk whose number of requests differs from its number of rows.
    """
    asked = {call["id"] for call in evidence.record["accepted"]}
    there = {str(row["id"]) for row in evidence.ask("SELECT id FROM requests WHERE bulk_id IS NULL")}
    unknown = sorted(there - asked)
    if len(unknown) > evidence.record["unanswered"]:
        yield f"{len(unknown)} requests, {evidence.record['unanswered']} calls without an answer: {unknown[:5]}"
    for row in evidence.ask(
        "SELECT bulk_id, count(*) FROM requests WHERE bulk_id IS NOT NULL GROUP BY bulk_id"
        " HAVING count(*) <> (SELECT count(*) FROM bulk_rows WHERE bulk_rows.bulk_id = requests.bulk_id)"
    ):
        yield f"bulk {row['bulk_id']} has {row['count']} requests"


@check("not ended")
def unended(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each request that is not completed.

    If a client has cancelled it, any final status is right.
    """
    cancelled = set(evidence.record["cancelled"])
    for row in evidence.ask("SELECT id, kind, status, step, reason FROM requests ORDER BY id"):
        wanted = ENDED if str(row["id"]) in cancelled else {"completed"}
        if row["status"] not in wanted:
            yield f"{row['kind']} {row['id']} is {row['status']} ({row['reason']}) at {row['step']}"


@check("timelines out of order")
def timelines(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each timeline whose times go backwards, or which has entries after the request's end.

    Entries about the mails that report the end may follow it.
    """
    entries: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row in evidence.ask("SELECT request_id, code, at FROM timeline_entries ORDER BY id"):
        entries[str(row["request_id"])].append((row["code"], row["at"]))
    for id, told in entries.items():
        times = [at for _, at in told]
        if times != sorted(times):
            yield f"{id} goes back in time: {[code for code, _ in told]}"
        ends = [place for place, (code, _) in enumerate(told) if code in LAST_CODES]
        # Mails about the end are told after it.
        if len(ends) > 1 or (ends and any(code not in AFTER_THE_END for code, _ in told[ends[0] + 1 :])):
            yield f"{id} goes on after its end: {[code for code, _ in told]}"


@check("rows that stand still")
def still(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each table with rows that have been due for more than 30 seconds (`STANDS_STILL`).

    A claimed row does not count: its due time lies in the future until the claim expires.
    """
    for table in ("requests", "messages", "sip_trunks", "block_announcements", "bulks", "jobs"):
        for row in evidence.ask(
            f"SELECT count(*), min(due_at) FROM {table}"
            f" WHERE due_at < now() - interval '{STANDS_STILL}' HAVING count(*) > 0"
        ):
            yield f"{row['count']} of {table} since {row['min']:%H:%M:%S}"
