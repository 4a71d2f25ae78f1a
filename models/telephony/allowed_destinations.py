"""The destinations that trunks may call: those of a new trunk, what an order may choose, and later changes.

The account's log records each change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.db.work_queue import WorkKind, made_due
from models.errors import InvalidField
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.telephony.country_prefixes import EEA, GERMANY, MOST_COUNTRIES, PREFIXES, rules_of
from models.telephony.forwarding import enabled_of, trunks_for
from models.telephony.high_risk import ensure_confirmed, tell_administrators
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk, TrunkState

MOST_FOLLOWING = 5_000
"""The most trunks that one transaction schedules after a change of the high-risk prefixes, and so locks."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The destinations that a trunk may call: the keys of its countries (None: all), and whether high-risk ones, too.

    `confirmed` is whether the person has confirmed that high-risk destinations are to be allowed.
    """

    countries: tuple[str, ...] | None
    high_risk: bool
    confirmed: bool = False


def limits_for(fallback: str | None) -> list[str]:
    """Return the keys of the countries that a new trunk may call: those of EU and EEA.

    If the ordered mobile fallback, `fallback` (E.164 with the plus sign, None without one), leads to another country,
    that country is added.
    """
    if fallback is None or rules_of(EEA).allows(fallback):
        return list(EEA)
    fitting = [key for key in PREFIXES if rules_of((*EEA, key)).allows(fallback)]
    return [*EEA, *fitting[:1]]


def chosen_limits(countries: Sequence[str]) -> list[str]:
    """Return the keys of chosen countries as they are stored: sorted, each once, with Germany.

    Raises `InvalidField` (`countries`, `too_many`) for more than a trunk's list can have.
    """
    found = sorted({*countries, *GERMANY})
    if len(found) > MOST_COUNTRIES:
        raise InvalidField("countries", "too_many", MOST_COUNTRIES)
    return found


def ensure_fallback_within(countries: Sequence[str] | None, fallback: str | None) -> None:
    """Raise `InvalidField` if an order chooses countries without that of its mobile fallback, or too many.

    The error is for `countries`, with the code `forwardings_outside` and the number, or `too_many`. `countries` are
    keys, None for the usual ones, to which the fallback's is added; `fallback` is in E.164, None without one.
    """
    if countries is None:
        return
    if fallback is not None and not rules_of(chosen_limits(countries)).allows(fallback):
        raise InvalidField("countries", "forwardings_outside", [fallback])
    chosen_limits(countries)


def ensure_may_choose(
    person: Principal, account: Account, countries: Sequence[str] | None, fallback: str | None
) -> None:
    """Raise `InvalidField` if an order chooses more countries than the person may choose for the account.

    A person who may order chooses among the usual ones: EU, EEA and the country of the mobile fallback. Further ones
    need the right `ALLOW_DESTINATIONS`, which no API token gives. The error is for `countries`, with the code
    `administrator_chooses` and the keys of the further ones. `countries` are keys, None for no choice; `fallback` is
    the ordered mobile fallback in E.164, None without one; `account` is the main account that orders.
    """
    further = sorted(set(countries or ()) - set(limits_for(fallback)))
    if further and not may(person, Action.ALLOW_DESTINATIONS, account):
        raise InvalidField("countries", "administrator_chooses", further)


def change_limits(
    session: Session, person: Principal, account: Account, id: int, limits: CallLimits, now: datetime
) -> bool:
    """Set the destinations that the account's trunk `id` may call, and schedule the registrar to be updated.

    Locks account and trunk, and records the change in the account's log. Safe to run twice: returns False if these are
    set already. Germany is always among the countries. The other administrators get a mail if high-risk destinations
    are allowed that were not. Raises `Forbidden` if the account is not active or the person is no administrator of it
    or its main account, `NotFound` if the account has no open trunk with this id, and `InvalidField`: for `countries`
    with the code `too_many`, or `forwardings_outside` with the targets of the enabled forwardings that lead to other
    countries; for `confirmed` with `high_risk` if high-risk destinations are not confirmed.
    """
    lock_active_account(session, account)
    trunk = find_trunk(session, person, Action.ALLOW_DESTINATIONS, account, id, lock=True)
    countries = chosen_limits(limits.countries) if limits.countries is not None else None
    if outside := _targets_outside(session, account, trunk, countries):
        raise InvalidField("countries", "forwardings_outside", outside)
    anew = limits.high_risk and not trunk.high_risk
    if anew:
        ensure_confirmed(person, account, "high_risk", confirmed=limits.confirmed)
    if (trunk.countries, trunk.high_risk) == (countries, limits.high_risk):
        return False
    trunk.countries, trunk.high_risk = countries, limits.high_risk
    trunk.changed(now)
    facts = {"sip_user": trunk.sip_user, "countries": countries, "high_risk": limits.high_risk}
    record(session, person, account, AuditEvent.DESTINATIONS_CHANGED, Action.ALLOW_DESTINATIONS, now, facts)
    if anew:
        path = f"/standortverwaltung/{account.customer_number}/sip/{trunk.id}/ziele"
        tell_administrators(session, person, account, path, {"sip_user": trunk.sip_user}, now)
    return True


def follow_high_risk(session: Session, prefix: str, now: datetime, *, after: int = 0) -> int | None:
    """Schedule an update at the registrar of the trunks whose rules change with a high-risk prefix, new or removed.

    These are the open trunks that may not call high-risk destinations, and may call a country of the prefix. `prefix`
    is in E.164 without the plus sign. Locks and schedules at most `MOST_FOLLOWING` (5,000) trunks, with ids above
    `after`; returns the highest id, with which to go on, or None if there are no more.
    """
    keys = [key for key, begins in PREFIXES.items() if any(_overlap(prefix, begin) for begin in begins)]
    concerned = (
        sa.select(SipTrunk.id)
        .where(
            SipTrunk.id > after,
            SipTrunk.state != TrunkState.CLOSED,
            ~SipTrunk.high_risk,
            SipTrunk.countries.is_(None) | SipTrunk.countries.overlap(keys),
        )
        .order_by(SipTrunk.id)
        .limit(MOST_FOLLOWING)
    )
    ids = session.scalars(concerned.with_for_update()).all()
    scheduled = sa.update(SipTrunk).where(SipTrunk.id.in_(ids)).values(due_at=now, lease=None, attempts=0)
    session.execute(scheduled.execution_options(synchronize_session=False))
    made_due(session, WorkKind.REGISTRAR, now)
    return ids[-1] if ids else None


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _targets_outside(session: Session, account: Account, trunk: SipTrunk, countries: Sequence[str] | None) -> list[str]:
    rules = rules_of(countries)
    outside = [one for one in enabled_of(session, [account.id]) if not rules.allows(one.target)]
    # A forwarding from before there were limits stays: only what the change would newly exclude is named.
    before = rules_of(trunk.countries)
    concerned = [one for one in outside if before.allows(one.target)]
    return [one.target for one in concerned if trunk in trunks_for(session, account, one.numbers)]
