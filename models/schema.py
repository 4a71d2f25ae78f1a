"""Every table of the portal's database in one place, for migrations and for whoever needs the whole."""

from __future__ import annotations

from models import (
    accounts,
    catalogue,
    contracts,
    idempotency,
    jobs,
    messages,
    people,
    proofs,
    requests,
    telephony,
)
from models.base import Base

MODULES = (accounts, people, catalogue, contracts, telephony, requests, proofs, messages, idempotency, jobs)
metadata = Base.metadata
