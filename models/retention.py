"""How long rows are kept, and why: `KEPT` has the rule for each table of the portal's database.

The start of a period is defined by the table's method `left_over`; for messages, documents, requests, accounts and
tokens it is defined in `models/staff/old_records.py`. The job `leftovers` (`tasks.reconcile.leftovers`) deletes rows
past their period. Logins are deleted when they expire (`models.people.login_sessions`). Needs no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from models.calendar_days import BERLIN, berlin_day

BULKS = timedelta(days=30)
"""How long after its upload a bulk file that was never sent is kept. It has names and addresses (GDPR, Art. 5)."""
DRAFTS = timedelta(days=90)
"""How long after its last change the draft of an order is kept and can be resumed, to the end of the last day."""
IDEMPOTENCY_KEYS = timedelta(days=30)
"""How long an idempotency key of the API is kept with its answer: far longer than clients repeat a failed call."""
INVITATIONS = timedelta(days=30)
"""How long an expired invitation stays in the list of the account's users, where it can be renewed."""
INVITED_NAMES = timedelta(days=400)
"""How long the audit log shows the name of an invited person: a year later one can still see who invited whom."""
JOB_RUNS = timedelta(days=90)
"""How long a run of a scheduled job is kept, with its findings."""
DIRECTORY_ENTRIES = timedelta(days=400)
"""How long a withdrawn entry of the telephone directory is kept: long enough for exports that are made once a year."""
LINK_CODES = timedelta(days=30)
"""How long a link code is kept after it was used or replaced, or has expired.

Until then a person who asks why the code does not work gets an answer.
"""
UNANSWERED = timedelta(days=400)
"""How long after its expiry a proof of an e-mail or postal address is kept that nobody has given (GDPR, Art. 5)."""
TOKEN_ADDRESSES = timedelta(days=90)
"""How long after an API token's end the IP address of its last call is kept, to trace a misuse.

A token ends when it is revoked or expires.
"""
CALL_RECORDS = timedelta(days=7)
"""How long the registrar's records of calls and refused logins are kept, which serve to find faults (TDDDG § 12)."""


@dataclass(frozen=True, slots=True)
class Periods:
    """How long some kinds of rows are kept; the carrier can choose these periods by settings.

    `mails` is the time after the sending of a mail that is no business letter. `documents` is the time after the
    decision on an uploaded document. `files` is the time after the end of the last request of an uploaded file.
    `business_years` is a number of whole calendar years, for requests without a contract, for business letters, and for
    the name and contact of a closed account; § 257 HGB asks for six.
    """

    mails: timedelta = timedelta(days=400)
    documents: timedelta = timedelta(days=180)
    files: timedelta = timedelta(days=400)
    business_years: int = 6


def start_of_last_year(now: datetime) -> datetime:
    """Return the start, in Berlin, of the last calendar year: rows that ended before that moment may be deleted.

    § 172 TKG requires the data of a contract, and of the holders of a number, to be kept to the end of the calendar
    year after the one in which the contract ended or the number was lost.
    """
    return start_of_year_ago(now, 1)


def start_of_year_ago(now: datetime, years: int) -> datetime:
    """Return the start, in Berlin, of the calendar year that lies `years` before the current one.

    A row that ended before that moment ended at least `years` whole calendar years ago. The years are counted, as in §
    257 (5) HGB, from the end of the year in which the row ended.
    """
    return datetime(berlin_day(now).year - years, 1, 1, tzinfo=BERLIN)


class End(StrEnum):
    """Who deletes the rows of a table, or their personal data; `STAYS`: nobody. The values are texts for docs/."""

    BY_LEFTOVERS = "deleted"
    """The job `leftovers` deletes them."""
    BLANKED = "personal data deleted"
    """The job `leftovers` deletes the personal data in the rows, and the rows stay."""
    BY_OWN_JOB = "deleted by its job"
    BY_USE = "deleted by its use"
    """The people or programs that use the rows delete them."""
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Kept:
    """The rule for one table: how long its rows are kept, why, and how they are removed.

    `how_long` is a text for the documentation, which names the setting if there is one.
    """

    how_long: str
    why: str
    end: End


_REFERENCE = Kept("always", "says what can be ordered and where; nothing about persons", End.STAYS)
_WITH_ACCOUNT = "as long as the account, so always"
_WITH_PERSON = "until the person removes it or is erased"
_BUSINESS = "`KEEP_BUSINESS_YEARS` (6) whole years after the end"
_HGB = "§ 257 HGB: letters of trade; limitation of claims (§ 195 BGB)"
KEPT: Mapping[str, Kept] = {
    "accounts": Kept(
        f"{_WITH_ACCOUNT}; name, street and contact of a closed one {_BUSINESS} of its contracts",
        "its number is never given out again, and contracts, log and history of numbers refer to it",
        End.BLANKED,
    ),
    "address_documents": Kept(
        "`KEEP_DOCUMENTS_DAYS` (180) after the decision, if the request has ended",
        "GDPR Art. 5: the proof itself says what was proved, by whom and when; time for an objection",
        End.BY_LEFTOVERS,
    ),
    "address_proofs": Kept(
        "a given one as long as the account; one that nobody has given 400 days after its expiry",
        "§ 123 TKG, Vfg 25/2006: evidence for the area code; GDPR Art. 5",
        End.BY_LEFTOVERS,
    ),
    "alembic_version": Kept("always", "the version of the schema", End.STAYS),
    "api_tokens": Kept(
        f"{_WITH_ACCOUNT}; the IP address of its last use 90 days after its end",
        "requests refer to the token by which they came",
        End.BLANKED,
    ),
    "area_codes": _REFERENCE,
    "attempt_counts": Kept(
        "half an hour, or up to two days for those of a day", "limits on failed attempts", End.BY_OWN_JOB
    ),
    "audit_entries": Kept(
        "always",
        "§ 30 BSIG: evidence of who did what. Each seal covers all entries before, so none can be taken out. They name"
        " persons by ids, whose name goes with the person, and of sign-ins the network instead of the address; names of"
        " contract holders and numbers of forwardings stay",
        End.STAYS,
    ),
    "audit_seals": Kept("always", "the chain that proves the log", End.STAYS),
    "block_announcements": Kept("until the registrar has the block", "work that waits", End.BY_USE),
    "bulk_rows": Kept("with their file", "GDPR Art. 5: names and addresses", End.BY_LEFTOVERS),
    "bulks": Kept(
        "30 days if not sent; else `KEEP_FILES_DAYS` (400) after its last request has ended",
        "GDPR Art. 5: names and addresses; what was ordered is in the requests",
        End.BY_LEFTOVERS,
    ),
    "call_forwardings": Kept("until the customer deletes it or the account is closed", "in use", End.BY_USE),
    "collective_invoice_items": Kept(_WITH_ACCOUNT, "who was billed with whom; customer numbers only", End.STAYS),
    "collective_invoices": Kept(_WITH_ACCOUNT, "who was billed with whom; customer numbers only", End.STAYS),
    "consents": Kept("with their request", _HGB, End.BY_LEFTOVERS),
    "contract_holders": Kept(
        "to the end of the year after the one in which the last contract ended", "§ 172 TKG", End.BY_LEFTOVERS
    ),
    "contract_items": Kept(_WITH_ACCOUNT, "the history of contracts and agreed prices; no names", End.STAYS),
    "contracts": Kept(_WITH_ACCOUNT, "the history of contracts and agreed prices; no names", End.STAYS),
    "customer_numbers": Kept("always", "a customer number is never given out again", End.STAYS),
    "daily_uses": Kept("to the end of the day", "limits count by the day", End.BY_LEFTOVERS),
    "directory_entries": Kept(
        "400 days after it was withdrawn", "§ 17 TDDDG: directories that are printed once a year", End.BY_LEFTOVERS
    ),
    "email_proofs": Kept(
        "a given one as long as the account; one that nobody has given 400 days after its expiry",
        "whom the customer may name as contact without a new proof; GDPR Art. 5",
        End.BY_LEFTOVERS,
    ),
    "erasures": Kept("always", "GDPR Art. 17: to erase again what a restored backup brings back; no name", End.STAYS),
    "factor_resets": Kept("until done or withdrawn, a day", "work that waits", End.BY_OWN_JOB),
    "findings": Kept("90 days, with their run", "to see what a job has repaired", End.BY_OWN_JOB),
    "high_risk_prefixes": _REFERENCE,
    "idempotency_keys": Kept("30 days", "longer than a client repeats a call", End.BY_LEFTOVERS),
    "invitations": Kept("30 days after it has lapsed", "can be renewed until then", End.BY_LEFTOVERS),
    "invited_people": Kept("400 days", "to see a year later who has invited whom", End.BY_LEFTOVERS),
    "invoice_offers": Kept("until its last day", "work that waits", End.BY_LEFTOVERS),
    "job_heartbeats": Kept("always", "one row for each of beat's messages", End.STAYS),
    "job_runs": Kept("90 days", "to see what a job has repaired", End.BY_OWN_JOB),
    "jobs": Kept("always", "one row for each job", End.STAYS),
    "known_places": _REFERENCE,
    "link_codes": Kept("30 days after it was used, replaced or has expired", "GDPR Art. 5", End.BY_LEFTOVERS),
    "logins": Kept("30 days without use, 90 days at most", "GDPR Art. 5", End.BY_LEFTOVERS),
    "memberships": Kept("until the person leaves or is removed", "in use", End.BY_USE),
    "messages": Kept(
        "business letters `KEEP_BUSINESS_YEARS` (6) whole years, others `KEEP_MAILS_DAYS` (400), after they have left",
        "§ 257 HGB; GDPR Art. 5",
        End.BY_LEFTOVERS,
    ),
    "moved_blocks": Kept("with their request", _HGB, End.BY_LEFTOVERS),
    "number_assignments": Kept("to the end of the year after the one in which it ended", "§ 172 TKG", End.BY_LEFTOVERS),
    "number_blocks": Kept("always", "the stock of numbers; who has them is in the history", End.STAYS),
    "order_drafts": Kept("90 days after the last change", "the customer can go on until then", End.BY_LEFTOVERS),
    "outages": Kept("while a neighbour is away", "one row for each", End.BY_USE),
    "own_limits": Kept(_WITH_ACCOUNT, "one row for each company that has some; no names", End.STAYS),
    "main_consents": Kept("with their request", _HGB, End.BY_LEFTOVERS),
    "ownership_proofs": Kept("with their request", _HGB, End.BY_LEFTOVERS),
    "product_prices": _REFERENCE,
    "products": _REFERENCE,
    "recovery_codes": Kept(_WITH_PERSON, "in use", End.BY_USE),
    "requests": Kept(
        f"an order as long as its contract, so always; others {_BUSINESS}",
        f"{_HGB}; the order is the contract's origin",
        End.BY_LEFTOVERS,
    ),
    "second_factors": Kept(_WITH_PERSON, "in use", End.BY_USE),
    "sip_trunks": Kept(_WITH_ACCOUNT, "what the contract gave; no names", End.STAYS),
    "timeline_entries": Kept("with their request", _HGB, End.BY_LEFTOVERS),
    "users": Kept(
        "name and address until the person is erased, by themselves or by staff; the number always",
        "GDPR Art. 17; log, contracts and history refer to the number",
        End.BY_OWN_JOB,
    ),
}
"""The rule of each table, by table name. docs/operations.md shows the rules as a table, which a test compares."""
