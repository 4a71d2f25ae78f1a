"""The form of a call forwarding, with its weekly schedule."""

from __future__ import annotations

import re

from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from wtforms import BooleanField, FieldList, Form, FormField, RadioField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.errors import InvalidField
from models.telephony.forwarding import LONGEST_WAIT, SHORTEST_WAIT, CallForwarding, Condition, ForwardingDraft
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, hours_of, windows_of
from web.portal.page.form_errors import add_error
from web.portal.telephony.forwarding_text import number_text, time_text

ALL, SOME = "all", "some"
_MORE_LINES = 2
_TIME = re.compile(r"([01]?\d|2[0-4])(?:[:.]?([0-5]\d))?")
_USUAL_WAIT = 20


class WindowForm(Form):  # type: ignore[misc]
    """One line of the weekly schedule: days (0 is Monday), and the typed times of day at which it starts and ends."""

    days = SelectMultipleField(coerce=int, choices=[SelectChoice(day, day) for day in range(7)])
    start = StringField(validators=[Length(max=10)])
    end = StringField(validators=[Length(max=10)])


class ForwardingForm(FlaskForm):  # type: ignore[misc]
    """The form of a call forwarding: when calls are forwarded, to which number, and at which hours of the week.

    `when` is `ALL` for the whole week, or `SOME` for the weekly schedule in `windows`. `after_seconds` is used only if
    calls are forwarded when not answered.
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
        lazy_gettext("Seconds before a call counts as not answered"), validators=[Length(max=10)]
    )
    target = StringField(
        lazy_gettext("Forward to"),
        validators=[DataRequired(lazy_gettext("Enter the number to forward to.")), Length(max=60)],
    )
    when = RadioField(
        lazy_gettext("At which hours?"),
        choices=[SelectChoice(ALL, lazy_gettext("All week")), SelectChoice(SOME, lazy_gettext("By a weekly schedule"))],
        default=ALL,
        validators=[DataRequired(lazy_gettext("Choose the hours."))],
    )
    windows = FieldList(FormField(WindowForm), max_entries=20)
    enabled = BooleanField(lazy_gettext("Switched on"), default=True)

    def fill(self, found: CallForwarding | None) -> None:
        """Fill the form with the data of the forwarding `found`; None fills the defaults of a new forwarding."""
        self.after_seconds.data = str((found and found.after_seconds) or _USUAL_WAIT)
        if found is not None:
            self.condition.data, self.target.data = found.condition, number_text(found.target)
            self.when.data, self.enabled.data = ALL if found.hours == ALL_WEEK else SOME, found.enabled
            for window in windows_of(found.hours) if found.hours != ALL_WEEK else ():
                line = {"days": list(window.days), "start": time_text(window.start), "end": time_text(window.end)}
                self.windows.append_entry(line)

    def offer_lines(self) -> None:
        """Add empty lines to the weekly schedule until it has at least three and its second-to-last line is empty."""
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
        return ForwardingDraft(condition, self.target.data.strip(), wait, hours, self.enabled.data)

    def add_rule_error(self, error: InvalidField) -> None:
        """Show the message for a business rule's error at the field that broke the rule.

        `error.field` is `target`, `after_seconds` or `hours`.
        """
        field = {"target": self.target, "after_seconds": self.after_seconds, "hours": self.when}[error.field]
        add_error(field, _error_text(error))

    def _hours(self) -> Hours | None:
        if self.when.data == ALL:
            return ALL_WEEK
        windows = []
        for line in self.windows:
            if not _is_typed(line.form):
                continue
            start, end = _minute(line.form.start.data), _minute(line.form.end.data)
            if not line.form.days.data or start is None or end is None:
                add_error(
                    self.when, gettext("Every line of the schedule needs its days, and from when to when: 08:00.")
                )
                return None
            windows.append(Window(tuple(sorted(line.form.days.data)), start, end))
        return hours_of(windows)


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
        case "emergency_number":
            return str(gettext("Calls cannot be forwarded to an emergency number."))
        case "costly_number":
            return str(gettext("Calls cannot be forwarded to premium rate or shared cost numbers."))
        case "own_number":
            return str(gettext("This number belongs to this account: calls would go round in a circle."))
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
