"""Texts that describe call forwardings: their condition, numbers and hours, and how they interact."""

from __future__ import annotations

from itertools import groupby

from flask_babel import get_locale
from flask_babel import gettext as _

from models.telephony.forwarded_numbers import Numbers
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, windows_of
from tasks.wording.formats import number_text


def condition_text(condition: Condition, after_seconds: int | None = None) -> str:
    """Describe the condition under which calls are forwarded: "When busy".

    `after_seconds` are the seconds after which a call counts as not answered; None leaves them out of the text.
    """
    match condition:
        case Condition.ALWAYS:
            return str(_("Always"))
        case Condition.BUSY:
            return str(_("When busy"))
        case Condition.NOT_REGISTERED:
            return str(_("When not registered"))
        case Condition.NO_ANSWER if after_seconds is not None:
            return str(_("When not answered after %(seconds)s seconds", seconds=after_seconds))
        case Condition.NO_ANSWER:
            return str(_("When not answered"))


def numbers_text(numbers: Numbers) -> str:
    """Describe the numbers that a forwarding is for: "030 123451", or "030 123450 to 030 123459".

    `numbers` are the first and the last of them, as integers of the digits in E.164.
    """
    first, last = (number_text(f"+{number}") for number in numbers)
    return first if first == last else str(_("%(first)s to %(last)s", first=first, last=last))


def forwarding_text(found: CallForwarding) -> str:
    """Describe a forwarding in one line: "030 123451: Always → 0171 1234567 · All week".

    A forwarding for all numbers of the account has no number in front: "Always → 0171 1234567 · All week".
    """
    condition = condition_text(found.condition, found.after_seconds)
    numbers = f"{numbers_text(found.numbers)}: " if found.numbers else ""
    return f"{numbers}{condition} → {number_text(found.target)} · {hours_text(found.hours)}"


def exception_text(always: CallForwarding, found: CallForwarding) -> str:
    """Return a sentence that says that `always` does not forward calls to the numbers of the forwarding `found`.

    `always` is a forwarding of all calls, for more numbers than `found`. Calls to the numbers of `found` are forwarded
    only under the condition of `found`, and ring otherwise.
    """
    assert found.numbers is not None
    facts = {
        "target": number_text(always.target),
        "numbers": numbers_text(found.numbers),
        "condition": condition_text(found.condition, found.after_seconds),
    }
    return str(
        _(
            "“Always → %(target)s” does not count for %(numbers)s: a call forwarding of its own counts there"
            " (%(condition)s). Otherwise calls to it ring.",
            **facts,
        )
    )


def exception_hint(found: CallForwarding) -> str | None:
    """Return a warning about the saved forwarding `found`, for the form of another forwarding of the account.

    A forwarding for some numbers only, under a condition such as "busy", takes these numbers out of a forwarding of all
    calls ("always"). The warning says what that means for `found`. None if it cannot happen: if `found` is switched
    off, or if it is for all numbers under another condition than "always".
    """
    if not found.enabled:
        return None
    numbers = numbers_text(found.numbers) if found.numbers else str(_("All phone numbers"))
    if found.condition is Condition.ALWAYS and found.hours != ALL_WEEK:
        return str(
            _(
                "%(numbers)s: at these times all calls are forwarded to %(target)s: %(hours)s. A call forwarding with"
                " another condition for only some of these numbers takes them out of that: their calls then ring, and"
                " only those under its condition are forwarded.",
                numbers=numbers,
                target=number_text(found.target),
                hours=hours_text(found.hours),
            )
        )
    if found.condition is Condition.ALWAYS:
        return str(
            _(
                "%(numbers)s: all calls are forwarded to %(target)s at present. A call forwarding with another"
                " condition for only some of these numbers takes them out of that: their calls then ring, and only"
                " those under its condition are forwarded.",
                numbers=numbers,
                target=number_text(found.target),
            )
        )
    if found.numbers is None:
        return None
    return str(
        _(
            "%(numbers)s: a call forwarding of its own counts there (%(condition)s). “Always” for more numbers does"
            " not forward calls to it.",
            numbers=numbers,
            condition=condition_text(found.condition, found.after_seconds),
        )
    )


def hours_text(hours: Hours) -> str:
    """Describe weekly hours in the page's language: "Mo–Fr 18:00–08:00, Sa 00:00–24:00" in German, or "All week"."""
    if hours == ALL_WEEK:
        return str(_("All week"))
    return ", ".join(map(_window_text, windows_of(hours)))


def time_text(minute: int) -> str:
    """Format a minute of the day (0 is midnight) as a time: 510 gives "08:30"."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def day_names(width: str = "abbreviated") -> dict[int, str]:
    """Return the names of the days of the week in the user's language; the keys are 0 (Monday) to 6 (Sunday).

    `width` is Babel's: "abbreviated" ("Mo") or "wide" ("Monday").
    """
    names = get_locale().days["stand-alone"][width]
    return {day: names[day].rstrip(".") for day in range(7)}


def _window_text(window: Window) -> str:
    return f"{_days_text(window)} {time_text(window.start)}–{_end_text(window.end)}"


def _end_text(minute: int) -> str:
    return time_text(minute) if minute else "24:00"


def _days_text(window: Window) -> str:
    names = day_names()
    runs = []
    for _place, run in groupby(enumerate(window.days), lambda pair: pair[1] - pair[0]):
        days = [day for _index, day in run]
        runs.append(names[days[0]] if len(days) == 1 else f"{names[days[0]]}–{names[days[-1]]}")
    return ", ".join(runs)
