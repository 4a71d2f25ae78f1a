"""Which of several call forwardings applies to a call: the most exact one, at the hour of the call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from models.telephony.forwarded_numbers import Numbers, has_number, width
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import covers, overlap


def in_force(forwardings: Iterable[CallForwarding], trunks: Iterable[SipTrunk], at: datetime) -> list[CallForwarding]:
    """Return which of an account's forwardings apply at the moment `at`: enabled, and with that moment in their hours.

    A forwarding is left out if more exact ones take its place for every number. `trunks` are the account's trunks: if
    all of them are suspended, or there are none, no forwarding applies.
    """
    if all(trunk.state is TrunkState.SUSPENDED for trunk in trunks):
        return []
    found = [forwarding for forwarding in forwardings if forwarding.enabled and covers(forwarding.hours, at)]
    # Between two edges of ranges all numbers are treated alike; the one after a range is in a wider range or in none.
    edges = {edge for one in found if one.numbers for edge in (one.numbers[0], one.numbers[1] + 1)}
    applied = {id(one) for number in (None, *edges) for one in applying(found, number)}
    return [one for one in found if id(one) in applied]


def applying(forwardings: Sequence[CallForwarding], number: int | None) -> list[CallForwarding]:
    """Return which of the forwardings in force apply to calls to `number`: at most one for each condition.

    `number` is in E.164 without the plus sign; None stands for a number that no range includes. Of one condition the
    most exact forwarding applies. "Always" applies alone, but only if no more exact forwarding of another condition is
    in force for the number. The route FORWARDINGS of `workers/sip/kamailio.cfg` follows this rule for calls.
    """
    found = sorted((one for one in forwardings if has_number(one.numbers, number)), key=lambda one: width(one.numbers))
    exact = [one for one in found if width(one.numbers) == width(found[0].numbers)]
    if always := [one for one in exact if one.condition is Condition.ALWAYS]:
        return always
    best: dict[Condition, CallForwarding] = {}
    for one in found:
        best.setdefault(one.condition, one)
    return [one for condition, one in best.items() if condition is not Condition.ALWAYS]


def exceptions_to(always: CallForwarding, forwardings: Iterable[CallForwarding]) -> list[CallForwarding]:
    """Return the forwardings for whose numbers `always`, a forwarding of condition "always", does not hold.

    `forwardings` are all of the account. Returned are the enabled ones of another condition that are for a part of its
    numbers, at some of its hours: calls to that part are forwarded only under their conditions. A forwarding is left
    out if another enabled one of condition "always" is for exactly its numbers, at some of the hours of `always`. Empty
    if `always` is disabled or has another condition.
    """
    if always.condition is not Condition.ALWAYS or not always.enabled:
        return []
    found = [one for one in forwardings if one.enabled and overlap(one.hours, always.hours)]
    own = {one.numbers for one in found if one.condition is Condition.ALWAYS}
    return [one for one in found if one.numbers not in own and _is_part(one.numbers, always.numbers)]


def _is_part(numbers: Numbers | None, whole: Numbers | None) -> bool:
    return width(numbers) < width(whole) and has_number(whole, numbers[0] if numbers else None)
