"""Every table of the portal's database in one place, for migrations and for whoever needs the whole."""

from __future__ import annotations

from models import (
    accounts,
    audit,
    bulk,
    catalogue,
    contracts,
    drafts,
    findings,
    forwarding,
    idempotency,
    invitations,
    invoices,
    jobs,
    logins,
    messages,
    people,
    proofs,
    requests,
    telephony,
)
from models.base import Base

MODULES = (
    accounts, people, catalogue, contracts, telephony, requests, proofs, messages, invoices, idempotency,
    jobs, findings, drafts, logins, invitations, bulk, audit, forwarding,
)  # fmt: skip
metadata = Base.metadata
