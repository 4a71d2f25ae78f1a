"""The pages that change or withdraw an account's entry in the telephone directory."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response
from wtforms import Form, RadioField, SelectMultipleField, StringField
from wtforms.validators import AnyOf, DataRequired, Length, ValidationError

from models.accounts.accounts import Account
from models.contracts.catalogue import DIRECTORY_ENTRY
from models.contracts.contracts import has_product
from models.errors import InvalidField
from models.name_rules import name_fault
from models.people.looks import record_look
from models.people.rights import Action, through_main
from models.states import AccountState
from models.telephony.directory import (
    DirectoryData,
    DirectoryEntry,
    change_entry,
    entry_of,
    withdraw_entry,
)
from models.telephony.holdings import blocks_of
from tasks.wording.fields import field_error
from tasks.wording.formats import number_text
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.directory_form import ADDRESS, PUBLICATION_NAMES, PUBLICATIONS, YES_NO
from web.portal.page.form_errors import add_error, missing
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources

_PAGE = "/<string(length=7):customer_number>/telefonbuch"


class EntryForm(Form):  # type: ignore[misc]
    """The form of a directory entry: number, name as printed, whether the address is shown, and the directories."""

    directory_number = StringField(
        lazy_gettext("Phone number in the directory"),
        validators=[DataRequired(lazy_gettext("Enter the phone number.")), Length(max=60)],
    )
    directory_name = StringField(
        lazy_gettext("Name in the directory"),
        filters=[lambda typed: " ".join(typed.split()) if typed is not None else None],
        validators=[
            DataRequired(missing("directory_entry.name")),
            Length(max=120, message=lazy_gettext("At most 120 characters in one line, please.")),
        ],
    )
    directory_address = RadioField(
        lazy_gettext("Address in the directory"),
        choices=ADDRESS,
        validate_choice=False,
        validators=[AnyOf(YES_NO, message=missing("directory_entry.show_address"))],
    )
    directory_in = SelectMultipleField(
        lazy_gettext("Where it is published"),
        choices=PUBLICATIONS,
        validators=[DataRequired(missing("directory_entry.published_in"))],
    )

    def validate_directory_name(self, field: StringField) -> None:
        """Raise `ValidationError` if the typed text cannot be a name in the directory.

        A name must be printable, no error value of a spreadsheet such as #REF!, and contain no web or e-mail address.
        """
        fault = name_fault(field.data or "")
        if fault is not None:
            raise ValidationError(field_error(locale(), "directory_entry.name", fault.code, fault.character))

    @property
    def data_of_entry(self) -> DirectoryData:
        """Return the entered content of the entry. Call only if the form is valid."""
        return DirectoryData(
            self.directory_name.data, YES_NO[self.directory_address.data], tuple(self.directory_in.data)
        )


@locations.route(_PAGE, methods=["GET", "POST"])
@login_required
def directory(customer_number: str) -> Response | str | tuple[str, int]:
    """Show the account's directory entry in a form; on a valid POST save the entry and redirect to the dashboard.

    An invalid POST shows the form with its errors, with status 422. Abort with 404 unless the account is active, has
    booked a directory entry (an option), and the user may manage its trunks.
    """
    account, found = _get_entry(customer_number)
    if request.method != "POST":
        return _render("directory", account, found, form=EntryForm(MultiDict(_typed(account, found))))
    form = EntryForm(request.form)
    if form.validate():
        try:
            with resources().database.transaction() as session:
                own, number = session.get_one(Account, account.id), form.directory_number.data
                change_entry(session, principal(), own, number, form.data_of_entry, resources().clock())
        except InvalidField as error:
            add_error(form.directory_number, field_error(locale(), error.field, error.code))
        else:
            return _leave(account, _("The directory entry is saved. It stands in the next edition that we hand on."))
    return _render("directory", account, found, form=form), 422


@locations.route(_PAGE + "/zurueckziehen", methods=["GET", "POST"])
@login_required
def withdraw_from_directory(customer_number: str) -> Response | str:
    """Ask whether to withdraw the account's directory entry; on POST withdraw it and redirect to the dashboard.

    Abort with 404 if there is no entry, or unless the account is active, has booked a directory entry, and the user may
    manage its trunks.
    """
    account, found = _get_entry(customer_number)
    if found is None:
        abort(404)
    if request.method != "POST":
        return _render("withdraw", account, found)
    with resources().database.transaction() as session:
        withdraw_entry(session, principal(), session.get_one(Account, account.id), resources().clock())
    return _leave(account, _("The directory entry is withdrawn. You can publish it again at any time."))


def _get_entry(customer_number: str) -> tuple[Account, DirectoryEntry | None]:
    """Return the account with this number and its telephone directory entry, None if the account has no entry yet.

    Abort with 404 unless the account is active, has booked a directory entry, and the user may manage its trunks. A
    view by a user of the main account or by the carrier's staff is recorded in the account's audit log.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        account = get_visible_account(session, customer_number).account
        if account.state is not AccountState.ACTIVE:
            abort(404)
        ensure_right(account, Action.MANAGE_TRUNK)
        if not has_product(session, account.id, DIRECTORY_ENTRY, now):
            abort(404)
        record_look(session, principal(), account, now)
        return account, entry_of(session, account)


def _typed(account: Account, found: DirectoryEntry | None) -> list[tuple[str, str]]:
    if found is None:
        with resources().database.transaction() as session:
            blocks = blocks_of(session, account)
        number = number_text(blocks[0].numbers[0]) if blocks else ""
        return [("directory_number", number), ("directory_name", account.name)]
    return [
        ("directory_number", number_text(f"+{found.number}")),
        ("directory_name", found.name),
        ("directory_address", "yes" if found.show_address else "no"),
        *(("directory_in", place) for place in found.published_in),
    ]


def _render(name: str, account: Account, found: DirectoryEntry | None, **facts: object) -> str:
    return render_template(
        f"telephony/directory/{name}.html",
        account=account,
        found=found,
        is_foreign=through_main(principal(), Action.MANAGE_TRUNK, account) is not None,
        number_text=number_text,
        publication_names=PUBLICATION_NAMES,
        **facts,
    )


def _leave(account: Account, said: str) -> Response:
    flash(said)
    return redirect(url_for("locations.show", customer_number=account.customer_number), 303)
