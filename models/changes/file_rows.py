"""Rows of files about accounts: what a row would do and cost, and the request that it becomes, by the file's kind.

A row is a JSON object, its draft: the facts that are asked for (`customer_number` and those of the kind, days as ISO
dates), and what the person has been shown. These are `shown`, a text that changes with whatever is agreed; `says`,
further facts for the page; and, for kinds about contracts, the net cents `monthly_before`, `monthly_after` and
`one_off`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import Limits
from models.bulk.bulk import Bulk
from models.changes.cancellations import Cancellation, quote_cancellation, submit_cancellation
from models.changes.changes import ChangeDraft, quote_change, submit_change, trunk_to_change
from models.changes.more_numbers import NumbersDraft, quote_numbers, submit_numbers
from models.changes.moves import MoveDraft, quote_move, submit_move
from models.changes.quotes import Quote
from models.errors import PricesChanged
from models.links.links import ensure_detachable, submit_detach
from models.people.rights import Principal
from models.requests.requests import Request
from models.same_address import Place
from models.states import Kind
from models.values import Locale

Facts = Mapping[str, Any]
_Quoter = Callable[[Session, Principal, Account, Facts, Locale, datetime], dict[str, Any]]
_Submitter = Callable[[Session, Principal, Account, Facts, Bulk, datetime, Limits], Request]


def quote_row(
    session: Session, principal: Principal, account: Account, kind: Kind, facts: Facts, locale: Locale, now: datetime
) -> dict[str, Any]:
    """Return the draft of a row from the facts that were typed: with the trunk and day that are meant, and the quote.

    Saves nothing. Raises what the quotes of single requests raise: `AlreadyRequested`, `CannotClose`, `Forbidden`,
    `InvalidField`, `NotFound` and `RuleBroken`.
    """
    return {**facts, **_QUOTERS[kind](session, principal, account, facts, locale, now)}


def submit_row(
    session: Session, principal: Principal, account: Account, bulk: Bulk, draft: Facts, now: datetime, usual: Limits
) -> Request:
    """Save the request of a row of the bulk file, as its draft says, and return it.

    `usual` are the limits of companies without limits of their own. Raises `PricesChanged` if something else would be
    agreed now than the draft says, and what the functions for single requests raise, such as `LimitReached`.
    """
    return _SUBMITTERS[bulk.kind](session, principal, account, draft, bulk, now, usual)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _text(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _costs(quote: Quote) -> dict[str, Any]:
    before, after = quote.before.costs, quote.after.costs
    return {
        "monthly_before": before.monthly.net,
        "monthly_after": after.monthly.net,
        "one_off": after.one_off.net,
    }


def _change_draft(facts: Facts, locale: Locale) -> ChangeDraft:
    return ChangeDraft(facts["product_key"], facts["channels"], _day(facts["effective_on"]), locale)


def _quote_change(
    session: Session, principal: Principal, account: Account, facts: Facts, locale: Locale, now: datetime
) -> dict[str, Any]:
    trunk = trunk_to_change(session, principal, account, facts["sip_user"])
    quote = quote_change(session, principal, account, trunk.id, _change_draft(facts, locale), now)
    day = _text(quote.effective_on)
    return {"sip_user": trunk.sip_user, "effective_on": day, **_costs(quote), "shown": quote.shown_text}


def _submit_change(
    session: Session, principal: Principal, account: Account, draft: Facts, bulk: Bulk, now: datetime, _usual: Limits
) -> Request:
    trunk = trunk_to_change(session, principal, account, draft["sip_user"])
    change, shown = _change_draft(draft, bulk.locale), draft["shown"]
    return submit_change(session, principal, account, trunk.id, change, now, shown=shown, bulk_id=bulk.id)


def _numbers_draft(facts: Facts, locale: Locale) -> NumbersDraft:
    return NumbersDraft(facts["area_code"], facts["block_size"], _day(facts["effective_on"]), locale)


def _quote_numbers(
    session: Session, principal: Principal, account: Account, facts: Facts, locale: Locale, now: datetime
) -> dict[str, Any]:
    trunk = trunk_to_change(session, principal, account, facts["sip_user"])
    quote = quote_numbers(session, principal, account, trunk.id, _numbers_draft(facts, locale), now)
    return {
        "sip_user": trunk.sip_user,
        "effective_on": _text(quote.terms.effective_on),
        **_costs(quote.terms),
        "shown": quote.shown_text,
        "says": {"numbers_after": quote.numbers_after, "needs_certificate": quote.needs_certificate},
    }


def _submit_numbers(
    session: Session, principal: Principal, account: Account, draft: Facts, bulk: Bulk, now: datetime, usual: Limits
) -> Request:
    trunk = trunk_to_change(session, principal, account, draft["sip_user"])
    numbers, shown = _numbers_draft(draft, bulk.locale), draft["shown"]
    return submit_numbers(
        session, principal, account, trunk.id, numbers, now, shown=shown, usual=usual, bulk_id=bulk.id
    )


def _move_draft(facts: Facts, locale: Locale) -> MoveDraft:
    place = Place(facts["street"], facts["postal_code"], facts["city"])
    return MoveDraft(place, facts["area_code"], _day(facts["effective_on"]), locale)


def _quote_move(
    session: Session, principal: Principal, account: Account, facts: Facts, locale: Locale, now: datetime
) -> dict[str, Any]:
    quote = quote_move(session, principal, account, _move_draft(facts, locale), now)
    monthly = quote.costs.monthly.net
    return {
        "effective_on": _text(quote.effective_on),
        "monthly_before": monthly,
        "monthly_after": monthly,
        "one_off": 0,
        "shown": quote.shown_text,
        "says": {
            "goes": [block.display for block in quote.goes],
            "area_code": quote.area_code,
            "lost": len(quote.lost),
            "aimed": len(quote.aimed),
            "is_proved": quote.is_proved,
            "in_stock": quote.in_stock,
        },
    }


def _submit_move(
    session: Session, principal: Principal, account: Account, draft: Facts, bulk: Bulk, now: datetime, usual: Limits
) -> Request:
    move, shown = _move_draft(draft, bulk.locale), draft["shown"]
    return submit_move(session, principal, account, move, now, shown=shown, usual=usual, bulk_id=bulk.id)


def _shown_end(quote: Cancellation) -> str:
    return f"{quote.last_day}-{quote.costs.monthly.net}"


def _quote_cancellation(
    session: Session, principal: Principal, account: Account, facts: Facts, _locale: Locale, now: datetime
) -> dict[str, Any]:
    quote = quote_cancellation(session, principal, account, _day(facts["last_day"]), now)
    return {
        "last_day": _text(quote.last_day),
        "monthly_before": quote.costs.monthly.net,
        "monthly_after": 0,
        "one_off": 0,
        "shown": _shown_end(quote),
    }


def _submit_cancellation(
    session: Session, principal: Principal, account: Account, draft: Facts, bulk: Bulk, now: datetime, _usual: Limits
) -> Request:
    day = _day(draft["last_day"])
    if _shown_end(quote_cancellation(session, principal, account, day, now)) != draft["shown"]:
        raise PricesChanged
    return submit_cancellation(session, principal, account, day, bulk.locale, now, bulk_id=bulk.id)


def _quote_detachment(
    session: Session, principal: Principal, account: Account, facts: Facts, _locale: Locale, now: datetime
) -> dict[str, Any]:
    return {"effective_on": _text(ensure_detachable(session, principal, account, _day(facts["effective_on"]), now))}


def _submit_detachment(
    session: Session, principal: Principal, account: Account, draft: Facts, bulk: Bulk, now: datetime, _usual: Limits
) -> Request:
    day = _day(draft["effective_on"])
    # A file moves no detachment that somebody has planned meanwhile.
    ensure_detachable(session, principal, account, day, now)
    return submit_detach(session, principal, account, bulk.locale, now, day, bulk_id=bulk.id)


_QUOTERS: Mapping[Kind, _Quoter] = {
    Kind.CHANGE: _quote_change,
    Kind.NUMBERS: _quote_numbers,
    Kind.MOVE: _quote_move,
    Kind.CANCEL: _quote_cancellation,
    Kind.DETACH: _quote_detachment,
}
_SUBMITTERS: Mapping[Kind, _Submitter] = {
    Kind.CHANGE: _submit_change,
    Kind.NUMBERS: _submit_numbers,
    Kind.MOVE: _submit_move,
    Kind.CANCEL: _submit_cancellation,
    Kind.DETACH: _submit_detachment,
}
