"""Tests that Kamailio's SQL query and the portal's own rule choose the same forwarding for a call."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from random import Random

import psycopg
import pytest

from models.calendar_days import BERLIN
from models.telephony.forwarded_numbers import Numbers
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.forwarding_precedence import applying
from models.telephony.weekly_hours import ALL_WEEK, WEEK, covers, minute_of
from tasks.ports import Forwarding, TrunkRecord
from workers.gateways.registrar import KamailioRegistrar, plain_url
from workers.stack.kamailio import CONFIGURATION

FIRST = 493050000000
LINE, HALF, TWO, ONE, LAST = (
    (FIRST, FIRST + 9), (FIRST, FIRST + 4), (FIRST + 1, FIRST + 2), (FIRST + 2, FIRST + 2), (FIRST + 9, FIRST + 9),
)  # fmt: skip
RANGES: list[Numbers | None] = [None, None, LINE, HALF, TWO, ONE, LAST]
USER = "t000000000001"


def query() -> str:
    """Return the SQL query of the route FORWARDINGS in Kamailio's configuration, as a query for psycopg.

    It asks for the trunk with the SIP user `USER`. Its parameters are, in this order, the time and the called number.
    """
    [found] = re.findall(
        r'route\[FORWARDINGS\] \{\s*.*?"registrar", "(.*?)",\s*"\$avp', CONFIGURATION.read_text(), re.S
    )
    text = str(found).replace("%", "%%")
    for variable, parameter in {"$avp(called)": USER, "$def(SIP_DOMAIN)": "sip.example"}.items():
        text = text.replace(variable, parameter)
    return text.replace("'$avp(number)'", "%s").replace("now() AT", "%s::timestamptz AT")


def test_the_time_of_day_is_that_of_the_portal() -> None:
    assert f"AT TIME ZONE '{BERLIN.key}'" in query()


@pytest.mark.parametrize("seed", range(40))
def test_a_call_follows_the_rule_of_the_portal(registrar_url: str, seed: int) -> None:
    dice = Random(seed)
    at = datetime(2026, 3, dice.randint(2, 8), dice.randint(0, 23), dice.randint(0, 59), tzinfo=UTC)
    now = minute_of(at)
    other_hours = ((0, now),) if now else ((1, WEEK),)
    listed: list[CallForwarding] = []
    for numbers in set(dice.choices(RANGES, k=4)):
        for condition in dice.sample(list(Condition), dice.randint(1, 3)):
            first, last = numbers or (None, None)
            id, hours = len(listed) + 1, dice.choice([ALL_WEEK, ALL_WEEK, other_hours])
            seconds = id + 10 if condition is Condition.NO_ANSWER else None
            facts = {"first_number": first, "last_number": last, "enabled": True, "after_seconds": seconds}
            listed.append(
                CallForwarding(id=id, condition=condition, hours=hours, target=f"+4917100000{id:02}", **facts)
            )
    told = tuple(
        Forwarding(
            one.condition, one.target, one.after_seconds, one.hours, one.numbers, one.id if one.numbers else None
        )
        for one in listed
    )
    registrar = KamailioRegistrar(registrar_url)
    assert registrar.put_trunks([TrunkRecord("order-1", USER, "sip.example", "x", 4, (), "10179", told)]) == [None]
    registrar.close()
    in_force = [one for one in listed if covers(one.hours, at)]
    with psycopg.connect(plain_url(registrar_url)) as connection:
        for number in range(FIRST, FIRST + 11):
            rows = connection.execute(query().encode(), (at, f"+{number}")).fetchall()
            followed = {one.condition: one for one in applying(in_force, number)}
            targets = {condition: one.target for condition, one in followed.items()}
            always, busy, no_answer, seconds, not_registered = rows[0]
            assert len(rows) == 1 and always == targets.get(Condition.ALWAYS, "")
            # Where "always" applies, Kamailio asks for no other.
            if not always:
                answers = (busy, no_answer, not_registered)
                assert answers == tuple(targets.get(one, "") for one in list(Condition)[1:])
                if no_answer:
                    assert seconds == str(followed[Condition.NO_ANSWER].after_seconds)
