"""The SQLAlchemy metadata of all tables of the portal's database, for migrations; importing it defines every table."""

from __future__ import annotations

from models.accounts import accounts, company_limits, contract_holders
from models.bulk import bulk
from models.contracts import catalogue, contracts
from models.db.base import Base
from models.jobs import findings, jobs, outages
from models.links import collective_invoices, invoice_membership
from models.messages import outbox
from models.orders import drafts
from models.people import (
    api_tokens,
    attempt_counts,
    audit_chain,
    audit_log,
    erasure_requests,
    invitations,
    invited_people,
    login_sessions,
    second_factors,
    users,
)
from models.proofs import documents, proofs
from models.requests import idempotency, moved_blocks, requests
from models.staff import factor_resets
from models.telephony import (
    area_codes,
    directory,
    forwarding,
    high_risk,
    number_history,
    numbers,
    place_answers,
    trunks,
)

MODULES = (
    accounts, users, api_tokens, catalogue, contracts, area_codes, trunks, numbers, requests, moved_blocks, proofs,
    documents, outbox,
    collective_invoices, invoice_membership, idempotency, jobs, findings, outages, drafts, login_sessions, invitations,
    bulk, audit_log, audit_chain, forwarding, number_history, contract_holders, directory, place_answers, high_risk,
    company_limits, erasure_requests, second_factors, factor_resets, invited_people, attempt_counts,
)  # fmt: skip
metadata = Base.metadata
