"""The form for the contract holder of an account, used on a page of its own and in the last step of an order.

The contract holder is the company or person with whom the carrier has the account's contracts.
"""

from __future__ import annotations

from datetime import datetime

from flask_babel import lazy_gettext
from wtforms import Form, RadioField, StringField
from wtforms.fields.choices import SelectChoice

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, HolderData, LegalForm, check_holder
from models.calendar_days import berlin_day
from tasks.wording.fields import field_error
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale

HOLDER_FORMS = {
    LegalForm.COMPANY: lazy_gettext("Company or association in a register"),
    LegalForm.PERSON: lazy_gettext("Person, also as a sole trader"),
    LegalForm.OTHER: lazy_gettext("Public body, or partnership without a register"),
}


class HolderFields(Form):  # type: ignore[misc]
    """The form fields of a contract holder. The prefix `holder_` sets them apart from other fields of an order."""

    holder_name = StringField(lazy_gettext("Legal name"))
    holder_form = RadioField(
        lazy_gettext("Legal form"),
        choices=[SelectChoice(form, words) for form, words in HOLDER_FORMS.items()],
        validate_choice=False,
    )
    holder_register_number = StringField(lazy_gettext("Register number"))
    holder_born_on = StringField(lazy_gettext("Date of birth"))
    holder_street = StringField(lazy_gettext("Street and house number"))
    holder_postal_code = StringField(lazy_gettext("Postal code"))
    holder_city = StringField(lazy_gettext("City"))

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is typed into any of the fields."""
        return not any((field.data or "").strip() for field in self)

    def checked(self, now: datetime) -> HolderData | None:
        """Check the typed contract holder and return it; None if it is wrong, with the errors added to the fields.

        `now` gives the present day, after which no date of birth may lie.
        """
        typed = {field.name.removeprefix("holder_"): field.data or "" for field in self}
        found = check_holder(typed, berlin_day(now))
        if isinstance(found, HolderData):
            return found
        for problem in found:
            say = field_error(locale(), f"holder.{problem.field}", problem.code, problem.allowed)
            add_error(self[f"holder_{problem.field}"], say)
        return None


def holder_values(known: ContractHolder | Account) -> dict[str, str]:
    """Return the values that fill the form when it is opened, by field name.

    `known` is the saved contract holder. While there is none, `known` is the account, whose name and address are
    proposed.
    """
    values = {name: getattr(known, name) for name in ("name", "street", "postal_code", "city")}
    if isinstance(known, ContractHolder):
        born = known.born_on.strftime("%d.%m.%Y") if known.born_on is not None else ""
        values |= {"form": str(known.form), "register_number": known.register_number or "", "born_on": born}
    return {f"holder_{name}": value for name, value in values.items()}
