"""The form of a call forwarding, with its weekly schedule and the presets that can fill it."""

from __future__ import annotations

import re
from enum import StrEnum

from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from wtforms import BooleanField, FieldList, Form, FormField, RadioField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.errors import InvalidField
from models.telephony.forwarding import LONGEST_WAIT, SHORTEST_WAIT, CallForwarding, Condition, ForwardingDraft
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, hours_of, windows_of
from tasks.wording.fields import field_error
from tasks.wording.formats import number_text
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.telephony.forwarding_text import numbers_text, time_text

ALL, SOME = "all", "some"
MOST_LINES = 100
_MORE_LINES = 2
_NO_DAY = -1
_TIME = re.compile(r"([01]?\d|2[0-4])(?:[:.]?([0-5]\d))?")
_USUAL_WAIT = 20


class Preset(StrEnum):
    """The presets that can fill the form of a new call forwarding, as named in the query parameter `vorlage`."""

    OUTSIDE_OFFICE_HOURS = "ausserhalb"
    TO_MOBILE = "mobil"
    NOT_ANSWERED = "niemand-nimmt-ab"


PRESET_NAMES = {
    Preset.OUTSIDE_OFFICE_HOURS: lazy_gettext("Outside office hours"),
    Preset.TO_MOBILE: lazy_gettext("Always to a mobile phone"),
    Preset.NOT_ANSWERED: lazy_gettext("When nobody answers"),
}
_WEEK = list(range(7))
_PRESETS: dict[Preset, dict[str, object]] = {
    Preset.OUTSIDE_OFFICE_HOURS: {
        "condition": Condition.ALWAYS,
        "when": SOME,
        "windows": [
            {"days": _WEEK, "start": "18:00", "end": "08:00"},
            {"days": [5, 6], "start": "08:00", "end": "18:00"},
        ],
    },
    Preset.TO_MOBILE: {"condition": Condition.ALWAYS},
    Preset.NOT_ANSWERED: {"condition": Condition.NO_ANSWER},
}


def _day(typed: object) -> int:
    return int(typed) if isinstance(typed, int) or typed in tuple("0123456") else _NO_DAY


class WindowForm(Form):  # type: ignore[misc]
    """One line of the weekly schedule: days (0 is Monday), and the typed times at which forwarding begins and ends."""

    days = SelectMultipleField(coerce=_day, choices=[SelectChoice(day, day) for day in _WEEK], validate_choice=False)
    start = StringField()
    end = StringField()


class ForwardingForm(FlaskForm):  # type: ignore[misc]
    """The form of a call forwarding: when calls are forwarded, to which number, for which numbers, at which hours.

    `numbers` is `ALL` for all numbers of the account, or `SOME` for those from `first` to `last`. `when` is `ALL` for
    the whole week, or `SOME` for the weekly schedule in `windows`. `after_seconds` is used only for the condition "not
    answered". `asked` is the high-risk number that the user has to confirm, and `confirmed` the number that the user
    has confirmed, both in E.164. A field that the browser did not send keeps its initial value.
    """

    condition = RadioField(
        lazy_gettext("When are calls forwarded?"),
        choices=[
            SelectChoice(Condition.ALWAYS, lazy_gettext("Always")),
            SelectChoice(Condition.BUSY, lazy_gettext("When busy")),
            SelectChoice(Condition.NO_ANSWER, lazy_gettext("When not answered")),
            SelectChoice(Condition.NOT_REGISTERED, lazy_gettext("When not registered")),
        ],
        validators=[DataRequired(lazy_gettext("Choose when calls are forwarded."))],
    )
    after_seconds = StringField(
        lazy_gettext("Seconds before a call counts as not answered"),
        default=str(_USUAL_WAIT),
        validators=[Length(max=10)],
    )
    target = StringField(
        lazy_gettext("Forward to"),
        validators=[DataRequired(lazy_gettext("Enter the number to forward to.")), Length(max=60)],
    )
    numbers = RadioField(
        lazy_gettext("For which phone numbers?"),
        choices=[
            SelectChoice(ALL, lazy_gettext("All phone numbers")),
            SelectChoice(SOME, lazy_gettext("One number or a range")),
        ],
        default=ALL,
        validators=[DataRequired(lazy_gettext("Choose the phone numbers."))],
    )
    first = StringField(lazy_gettext("Phone number, or the first of a range"), validators=[Length(max=60)])
    last = StringField(lazy_gettext("Last number of the range"), validators=[Length(max=60)])
    when = RadioField(
        lazy_gettext("At which hours?"),
        choices=[SelectChoice(ALL, lazy_gettext("All week")), SelectChoice(SOME, lazy_gettext("By a weekly schedule"))],
        default=ALL,
        validators=[DataRequired(lazy_gettext("Choose the hours."))],
    )
    windows = FieldList(FormField(WindowForm))
    enabled = BooleanField(lazy_gettext("Switched on"), default=True)
    confirmed = StringField(lazy_gettext("High-risk destination"), validators=[Length(max=60)])
    asked: str | None = None

    def offer_another_line(self) -> None:
        """Add the usual empty lines to the weekly schedule (`offer_lines`), and one more that the user asked for."""
        self.offer_lines()
        self.windows.append_entry()

    def offer_lines(self) -> None:
        """Add empty lines to the weekly schedule until it has at least three and its second-to-last line is empty.

        So the user usually has two empty lines to fill in.
        """
        while len(self.windows) < 3 or _is_typed(self.windows[-_MORE_LINES].form):
            self.windows.append_entry()

    def draft(self) -> ForwardingDraft | None:
        """Validate the form and return the typed forwarding; None if the form is invalid, with errors at its fields."""
        if not self.validate():
            return None
        condition, hours = Condition(self.condition.data), self._hours()
        seconds = self.after_seconds.data.strip()
        wait = int(seconds) if condition is Condition.NO_ANSWER and re.fullmatch("[0-9]{1,4}", seconds) else None
        if hours is None:
            return None
        first = (self.first.data or "") if self.numbers.data == SOME else None
        target, last = self.target.data.strip(), self.last.data or ""
        confirmed = self.confirmed.data or None
        return ForwardingDraft(condition, target, wait, hours, self.enabled.data, first, last, confirmed)

    def add_rule_error(self, error: InvalidField) -> None:
        """Add the error of a broken business rule, as a text, to the field of the form that is wrong.

        `error.field` is `target`, `after_seconds`, `numbers`, `hours` or `confirmed`; the error of any other field is
        shown at `target`.
        """
        fields = {"after_seconds": self.after_seconds, "numbers": self.first, "hours": self.when}
        if error.field == "confirmed":
            self.asked = str(error.allowed)
            fields["confirmed"] = self.confirmed
        add_error(fields.get(error.field, self.target), _error_text(error))

    def _hours(self) -> Hours | None:
        if self.when.data == ALL:
            return ALL_WEEK
        if len(self.windows) > MOST_LINES:
            add_error(self.when, gettext("A weekly schedule has %(most)s lines at most.", most=MOST_LINES))
            return None
        windows = []
        for line in self.windows:
            if not _is_typed(line.form):
                continue
            start, end = _minute(line.form.start.data), _minute(line.form.end.data)
            if not line.form.days.data or _NO_DAY in line.form.days.data or start is None or end is None:
                add_error(
                    self.when, gettext("Every line of the schedule needs its days, and from when to when: 08:00.")
                )
                return None
            windows.append(Window(tuple(sorted(line.form.days.data)), start, end))
        return hours_of(windows)


def values_of(found: CallForwarding) -> dict[str, object]:
    """Return the values, by field name, with which the form of the existing call forwarding `found` is filled."""
    windows = windows_of(found.hours) if found.hours != ALL_WEEK else []
    first, last = found.numbers or (None, None)
    return {
        "condition": found.condition,
        "after_seconds": str(found.after_seconds or _USUAL_WAIT),
        "target": number_text(found.target),
        "numbers": ALL if first is None else SOME,
        "first": "" if first is None else number_text(f"+{first}"),
        "last": "" if last in (None, first) else number_text(f"+{last}"),
        "when": SOME if windows else ALL,
        "windows": [
            {"days": list(window.days), "start": time_text(window.start), "end": time_text(window.end)}
            for window in windows
        ],
        "enabled": found.enabled,
    }


def values_of_preset(name: str | None) -> dict[str, object]:
    """Return the values, by field name, with which the preset `name` fills the form of a new call forwarding.

    Empty if there is no preset with this name.
    """
    return _PRESETS[Preset(name)] if name in set(Preset) else {}


def _is_typed(line: WindowForm) -> bool:
    return bool(line.days.data or (line.start.data or "").strip() or (line.end.data or "").strip())


def _minute(typed: str | None) -> int | None:
    found = _TIME.fullmatch((typed or "").strip())
    if found is None:
        return None
    minute = int(found[1]) * 60 + int(found[2] or 0)
    return minute % (24 * 60) if minute <= 24 * 60 else None


def _error_text(error: InvalidField) -> str:
    match error.code:
        case _ if error.field == "numbers":
            return _numbers_error_text(error)
        case "emergency_number":
            return str(gettext("Calls cannot be forwarded to an emergency number."))
        case "costly_number":
            return str(gettext("Calls cannot be forwarded to premium rate, shared cost and other service numbers."))
        case "not_as_dialled":
            return field_error(locale(), "target", error.code)
        case "own_number":
            return str(gettext("This number belongs to this account: calls would go round in a circle."))
        case "outside_limit":
            return str(
                gettext(
                    "The SIP trunk of these numbers may not call this number: its country is not among those allowed,"
                    " or it is a high-risk destination such as a satellite network. An administrator changes that on"
                    " the dashboard, under “Destinations of outgoing calls”."
                )
            )
        case "administrator_confirms":
            return str(
                gettext(
                    "Calls to this number can cost several euros a minute: it belongs to a satellite network, is an"
                    " international premium number or is in a country known for fraud. Only an administrator of this"
                    " account or of its main account may forward calls to it. Ask one, or enter another number."
                )
            )
        case "high_risk":
            return str(gettext("Confirm that calls may go to this number, or enter another one."))
        case "needs_area_code":
            return str(gettext("Enter the number with its area code: 030 123456, or +43 1 58858 for other countries."))
        case "overlap":
            number = number_text(str(error.allowed))
            return str(gettext("At these hours the same condition forwards to %(number)s already.", number=number))
        case "none":
            return str(gettext("Enter at least one line of the schedule, or choose “All week”."))
        case "not_in_range":
            span = {"least": SHORTEST_WAIT, "most": LONGEST_WAIT}
            return str(gettext("Enter %(least)s to %(most)s seconds.", **span))
    return str(gettext("This is no phone number that can be called. Check it, and enter it with its area code."))


def _numbers_error_text(error: InvalidField) -> str:
    match error.code:
        case "backwards":
            return str(gettext("The last number of the range comes before the first one."))
        case "crosses" if isinstance(error.allowed, tuple):
            said = numbers_text(error.allowed)
            return str(
                gettext(
                    "This range overlaps another one in part: %(numbers)s. Choose the same range, or one that lies"
                    " inside it or around it.",
                    numbers=said,
                )
            )
    return str(gettext("Enter phone numbers of this account, with their area code."))
