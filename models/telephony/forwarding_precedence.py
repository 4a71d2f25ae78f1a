"""Which of several call forwardings applies to a call: the one for the fewest numbers, at the time of the call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from models.telephony.forwarded_numbers import Numbers, has_number, width
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import covers, overlap


def in_force(forwardings: Iterable[CallForwarding], trunks: Iterable[SipTrunk], at: datetime) -> list[CallForwarding]:
    """Return those of an account's forwardings that apply at the time `at`: enabled, and with hours that include it.

    A forwarding is left out if, for each of its numbers, a forwarding for fewer numbers takes precedence. `trunks` are
    the account's trunks. If all of them are suspended, or there are none, the result is empty.
    """
    if all(trunk.state is TrunkState.SUSPENDED for trunk in trunks):
        return []
    found = [forwarding for forwarding in forwardings if forwarding.enabled and covers(forwarding.hours, at)]
    # Between two edges of ranges all numbers are treated alike; the one after a range is in a wider range or in none.
    edges = {edge for one in found if one.numbers for edge in (one.numbers[0], one.numbers[1] + 1)}
    applied = {id(one) for number in (None, *edges) for one in applying(found, number)}
    return [one for one in found if id(one) in applied]


def applying(forwardings: Sequence[CallForwarding], number: int | None) -> list[CallForwarding]:
    """Return which of the forwardings apply to calls to `number`: at most one for each condition.

    `forwardings` are those that are enabled at the time of the call. `number` is in E.164 without the plus sign; None
    stands for a number in no range. For each condition, the forwarding for the fewest numbers applies. The condition
    "always" has a rule of its own: its forwarding is left out if one of another condition is for fewer numbers, and
    otherwise applies alone. The route FORWARDINGS of `workers/sip/kamailio.cfg` forwards calls by the same rule.
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
    """Return those of the account's forwardings that take precedence over `always` for a part of its numbers.

    `always` is a forwarding of condition "always", and `forwardings` are all of the account. Returned are the enabled
    forwardings of another condition for a part of the numbers of `always`, at some of its hours. Calls to these numbers
    are forwarded only under the other condition. A forwarding is left out if, for exactly its numbers, there is also an
    enabled forwarding of condition "always" at some of the hours of `always`. The result is empty if `always` is
    disabled or has another condition.
    """
    if always.condition is not Condition.ALWAYS or not always.enabled:
        return []
    found = [one for one in forwardings if one.enabled and overlap(one.hours, always.hours)]
    own = {one.numbers for one in found if one.condition is Condition.ALWAYS}
    return [one for one in found if one.numbers not in own and _is_part(one.numbers, always.numbers)]


def _is_part(numbers: Numbers | None, whole: Numbers | None) -> bool:
    return width(numbers) < width(whole) and has_number(whole, numbers[0] if numbers else None)
