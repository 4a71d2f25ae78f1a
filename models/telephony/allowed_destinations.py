"""Which countries and high-risk destinations a trunk may call: defaults, choices in an order, and later changes.

Each change is recorded in the account's audit log.
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
"""The most trunks that one call of `follow_high_risk` locks and schedules for a registrar update."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The destinations that a trunk may call, as a person has chosen them.

    `countries` are keys of `PREFIXES` (`models.telephony.country_prefixes`); None allows all countries. `high_risk`:
    high-risk destinations are allowed, too. `confirmed`: the person has confirmed that they are to be allowed.
    """

    countries: tuple[str, ...] | None
    high_risk: bool
    confirmed: bool = False


def limits_for(fallback: str | None) -> list[str]:
    """Return the keys of the countries that a new trunk may call by default: those of the EU and the EEA.

    `fallback` is the mobile number to which an order forwards calls while no phone is registered, in E.164 with the
    plus sign, or None. If that number belongs to another country, the country is added.
    """
    if fallback is None or rules_of(EEA).allows(fallback):
        return list(EEA)
    fitting = [key for key in PREFIXES if rules_of((*EEA, key)).allows(fallback)]
    return [*EEA, *fitting[:1]]


def chosen_limits(countries: Sequence[str]) -> list[str]:
    """Return the keys of the chosen countries in the form that is stored: Germany added, sorted, without duplicates.

    Raises `InvalidField` (field `countries`, code `too_many`) if there are more than a trunk's list can have.
    """
    found = sorted({*countries, *GERMANY})
    if len(found) > MOST_COUNTRIES:
        raise InvalidField("countries", "too_many", MOST_COUNTRIES)
    return found


def ensure_fallback_within(countries: Sequence[str] | None, fallback: str | None) -> None:
    """Raise `InvalidField` if the countries chosen in an order exclude its mobile fallback, or are too many.

    The field is `countries`, the code `forwardings_outside` (with the number) or `too_many`. `countries` are keys; None
    means the default countries, which always include the fallback's. `fallback` is the mobile number to which calls go
    while no phone is registered, in E.164, or None.
    """
    if countries is None:
        return
    if fallback is not None and not rules_of(chosen_limits(countries)).allows(fallback):
        raise InvalidField("countries", "forwardings_outside", [fallback])
    chosen_limits(countries)


def ensure_may_choose(
    person: Principal, account: Account, countries: Sequence[str] | None, fallback: str | None
) -> None:
    """Raise `InvalidField` if an order chooses countries that the person may not choose for the account.

    Anybody who may order may choose the default countries: EU, EEA, and that of the mobile fallback. Other countries
    need the right `ALLOW_DESTINATIONS`, which no API token gives. The field is `countries`, the code
    `administrator_chooses`, with the keys of these other countries. `countries` are keys, None for no choice.
    `fallback` is the mobile number to which calls go while no phone is registered, in E.164, or None. `account` is the
    ordering main account.
    """
    further = sorted(set(countries or ()) - set(limits_for(fallback)))
    if further and not may(person, Action.ALLOW_DESTINATIONS, account):
        raise InvalidField("countries", "administrator_chooses", further)


def change_limits(
    session: Session, person: Principal, account: Account, id: int, limits: CallLimits, now: datetime
) -> bool:
    """Set the destinations that the account's trunk `id` may call, and schedule a registrar update.

    Locks account and trunk, and records the change in the account's audit log. Safe to run twice: returns False if
    nothing changes. Germany is always allowed. The other administrators get a mail if high-risk destinations are newly
    allowed.

    Raises `Forbidden` if the account is not active, or if the person is not an administrator of it or of its main
    account. Raises `NotFound` if the account has no trunk with this id that is not closed. Raises `InvalidField` for
    the field `countries` with the code `too_many`, or with `forwardings_outside` if enabled forwardings lead to newly
    excluded countries; the error then has their targets. Raises `InvalidField` for the field `confirmed` with the code
    `high_risk` if high-risk destinations are newly allowed without a confirmation.
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
    """Schedule a registrar update of the trunks that a new or removed high-risk prefix affects.

    `prefix` is in E.164 without the plus sign. A trunk is affected if it may not call high-risk destinations, but may
    call a country whose numbers can begin with the prefix. Two kinds of trunks are left out: closed ones, and those
    taken over from an older system that the portal does not write to the registrar yet. Locks and schedules at most
    `MOST_FOLLOWING` (5,000) trunks with ids above `after`. Returns the highest of their ids, which is `after` for the
    next call; None if no trunk was left.
    """
    keys = [key for key, begins in PREFIXES.items() if any(_overlap(prefix, begin) for begin in begins)]
    concerned = (
        sa.select(SipTrunk.id)
        .where(
            SipTrunk.id > after,
            SipTrunk.state != TrunkState.CLOSED,
            SipTrunk.unadopted_since.is_(None),
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
