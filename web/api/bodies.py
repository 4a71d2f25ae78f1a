"""How requests and accounts look in the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.proofs.status import ProofStatus, proof_statuses
from models.requests.requests import Request, TimelineEntry
from models.views import lists
from tasks.wording.next_steps import next_action
from tasks.wording.timeline import sentence
from web.api.problems import language
from web.resources import resources


def request_body(session: Session, of: Request) -> dict[str, Any]:
    """One request."""
    [body] = request_bodies(session, [of])
    return body


def request_bodies(session: Session, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Each of these requests, with a fixed number of statements."""
    timelines = lists.timelines(session, [of.id for of in requests])
    asked = proof_statuses(session, requests, resources().clock())
    return [_as_body(of, timelines[of.id], asked[of.id]) for of in requests]


def _as_body(of: Request, timeline: list[TimelineEntry], asked: list[ProofStatus]) -> dict[str, Any]:
    locale = language() if request.headers.get("Accept-Language") else of.locale
    upcoming = next_action(of, locale)
    return {
        "id": str(of.id),
        "kind": of.kind,
        "status": of.status,
        "step": of.step,
        "reason": of.reason,
        "customer_number": of.customer_number,
        "next": upcoming
        and {
            "actor": upcoming.actor,
            "what": upcoming.what,
            "until": upcoming.until and upcoming.until.isoformat(),
        },
        "proofs": [
            {"kind": proof.kind, "state": proof.state, "until": proof.until and proof.until.isoformat()}
            for proof in asked
        ],
        "timeline": [
            {"at": entry.at.isoformat(), "code": entry.code, "text": sentence(entry, locale)} for entry in timeline
        ],
        "created_at": of.created_at.isoformat(),
        "ended_at": of.ended_at and of.ended_at.isoformat(),
    }


def account_body(account: Account, running: Request | None) -> dict[str, Any]:
    """An account, with the request that is on its way for it."""
    return {
        "customer_number": account.customer_number,
        "role": account.role,
        "state": account.state,
        "origin": account.origin,
        "name": account.name,
        "street": account.street,
        "postal_code": account.postal_code,
        "city": account.city,
        "contact_name": account.contact_name,
        "contact_email": account.contact_email,
        "contact_phone": account.contact_phone,
        "attached_at": account.attached_at and account.attached_at.isoformat(),
        "request": running and str(running.id),
    }
