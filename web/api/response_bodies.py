"""The JSON bodies in which the API represents requests and accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask import request
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.changes.cancellations import agreed_cancellation
from models.changes.moves import agreed_move
from models.changes.quotes import TrunkTerms, agreed_lines, agreed_quote
from models.contracts.catalogue import ProductKind, all_products
from models.contracts.costs import costs_of
from models.db.batch_insert import queued_rows
from models.people.rights import Action, may
from models.proofs.proof_status import ProofStatus, proof_statuses
from models.requests.contract_end import last_day_of
from models.requests.moved_blocks import replacements_of
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Kind, Status
from models.telephony.numbers import NumberBlock
from models.views import request_lists
from tasks.wording.next_steps import next_action
from tasks.wording.timeline import sentence
from web.api.access import caller
from web.api.problems import language
from web.resources import resources


def request_body(session: Session, of: Request) -> dict[str, Any]:
    """Return the JSON body of one request, with the state of its proofs and its timeline."""
    [body] = request_bodies(session, [of])
    return body


def new_request_body(session: Session, of: Request) -> dict[str, Any]:
    """Return the JSON body of a new order that is not in the database yet, without running a statement.

    The timeline is made from the entries that are queued in the session for the next flush. The body has no proofs.
    """
    rows = queued_rows(session, TimelineEntry)
    return _as_body(of, [TimelineEntry(**row) for row in rows if row["request_id"] == of.id], [])


def request_bodies(session: Session, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Return the JSON bodies of the requests, in the order of `requests`, with a fixed number of SQL statements."""
    timelines = request_lists.timelines(session, [of.id for of in requests])
    proofs = proof_statuses(session, requests, resources().clock())
    return [_as_body(of, timelines[of.id], proofs[of.id], _terms_of(session, of)) for of in requests]


def request_url(of: Request) -> str:
    """Return the URL path, without the host, at which the API shows the request."""
    return f"/api/v1/requests/{of.id}"


def _cancellation_body(of: Request) -> dict[str, Any] | None:
    if of.kind is not Kind.CANCEL:
        return None
    # While it is planned, not for a former main account, as with a change; a closed account has no other reader.
    if of.status is not Status.COMPLETED and (of.account is None or not may(caller(), Action.VIEW, of.account)):
        return None
    monthly = costs_of(agreed_cancellation(of)).monthly.net
    return {"last_day": last_day_of(of).isoformat(), "monthly_cents": monthly}


def _terms_of(session: Session, of: Request) -> dict[str, Any]:
    """Return what a request changes: the bodies `change`, `numbers` and `move`, each None for other kinds."""
    return {
        "change": _change_body(session, of),
        "numbers": _numbers_body(session, of),
        "move": _move_body(session, of),
    }


_NO_TERMS = {"change": None, "numbers": None, "move": None}


def _move_body(session: Session, of: Request) -> dict[str, Any] | None:
    # As with a change, not for a former main account.
    if of.kind is not Kind.MOVE or of.account is None or not may(caller(), Action.VIEW, of.account):
        return None
    before, after, costs = agreed_move(of)
    return {
        "before": asdict(before),
        "after": asdict(after),
        "area_code": of.area_code,
        "replaced": [
            {
                "replaced_first_number": f"+{goes.first_number}",
                "replaced_last_number": f"+{goes.last_number}",
                "first_number": f"+{comes.first_number}" if comes is not None else None,
                "last_number": f"+{comes.last_number}" if comes is not None else None,
            }
            for goes, comes in replacements_of(session, of)
        ],
        "monthly_cents_before": costs.monthly.net,
        "monthly_cents": costs.monthly.net,
        "one_off_cents": 0,
    }


def _change_body(session: Session, of: Request) -> dict[str, Any] | None:
    # A former main account sees that there is a change, and not the terms of a contract that it may not see.
    if of.kind is not Kind.CHANGE or of.account is None or not may(caller(), Action.VIEW, of.account):
        return None
    quote = agreed_quote(of)
    return {
        "effective_on": quote.effective_on and quote.effective_on.isoformat(),
        "before": _terms_body(session, quote.before),
        "after": _terms_body(session, quote.after),
    }


def _numbers_body(session: Session, of: Request) -> dict[str, Any] | None:
    # As with a change, not for a former main account.
    if of.kind is not Kind.NUMBERS or of.account is None or not may(caller(), Action.VIEW, of.account):
        return None
    before, after = (costs_of(lines) for lines in agreed_lines(of))
    # Hidden from the front, when it has become another customer's.
    block = session.get(NumberBlock, of.reserved_block_id) if of.holds_numbers else None
    return {
        "area_code": of.area_code,
        "block_size": of.block_size,
        "first_number": f"+{block.first_number}" if block is not None else None,
        "last_number": f"+{block.last_number}" if block is not None else None,
        "monthly_cents_before": before.monthly.net,
        "monthly_cents": after.monthly.net,
        "one_off_cents": after.one_off.net,
    }


def _terms_body(session: Session, terms: TrunkTerms) -> dict[str, Any]:
    products, costs = all_products(session), terms.costs
    tariffs = [line.product_key for line in terms.lines if products[line.product_key].kind is ProductKind.TRUNK]
    return {
        "product": tariffs[0] if tariffs else None,
        "channels": terms.channels,
        "monthly_cents": costs.monthly.net,
        "one_off_cents": costs.one_off.net,
    }


def _as_body(
    of: Request,
    timeline: list[TimelineEntry],
    proofs: list[ProofStatus],
    terms: dict[str, Any] | None = None,
) -> dict[str, Any]:
    locale = language() if request.headers.get("Accept-Language") else of.locale
    upcoming = next_action(of, locale, resources().clock())
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
            for proof in proofs
        ],
        "effective_on": of.effective_on and of.effective_on.isoformat(),
        **(terms or _NO_TERMS),
        "cancellation": _cancellation_body(of),
        "timeline": [
            {"at": entry.at.isoformat(), "code": entry.code, "text": sentence(entry, locale)} for entry in timeline
        ],
        "created_at": of.created_at.isoformat(),
        "ended_at": of.ended_at and of.ended_at.isoformat(),
    }


def account_body(account: Account, running: Request | None) -> dict[str, Any]:
    """Return the JSON body of the account; `running` is the running request about it, None if there is none."""
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
        "tags": account.tags or [],
        "request": running and str(running.id),
    }
