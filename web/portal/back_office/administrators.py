"""The page on which staff invite an administrator of an account that has none, or only one."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext, lazy_gettext
from werkzeug.wrappers import Response
from wtforms import RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.accounts.accounts import Account, account_by_number
from models.errors import AlreadyUser, SeveralAdministrators
from models.people.invitations import open_administrator_invitation
from models.people.looks import record_look
from models.people.users import administrators_of
from models.staff.administrators import name_administrator
from models.states import AccountState
from models.values import as_locale
from web.portal.back_office.requests_and_jobs import office
from web.portal.page.form_errors import add_error
from web.portal.page.login_session import principal
from web.portal.people.person_form import PersonForm
from web.resources import resources


class AdministratorForm(PersonForm):
    """The form in which staff name an administrator of an account, and note what proves that this person may be one."""

    language = RadioField(
        lazy_gettext("Language of the e-mail"),
        choices=[SelectChoice("de", "Deutsch"), SelectChoice("en", "English")],
        default="de",
    )
    proof = TextAreaField(
        lazy_gettext("What proof have you seen?"),
        validators=[
            DataRequired(lazy_gettext("Note what proof you have seen, and how it reached you.")),
            Length(20, 1000, lazy_gettext("Note the proof in 20 to 1,000 characters.")),
        ],
    )


@office.route("/konten/<string(length=7):customer_number>/administrator", methods=["GET", "POST"])
def administrator(customer_number: str) -> Response | tuple[str, int]:
    """Show the form in which staff name an administrator of the account; on a valid POST invite the person.

    The POST redirects to the account's dashboard; an invalid POST shows the form with its errors (status 422). If the
    account has more than one administrator, the page says that they can invite others themselves (status 409 on
    POST). Abort with 404 if there is no such account or it is not active.
    """
    form = AdministratorForm()
    with resources().database.transaction() as session:
        account = account_by_number(session, customer_number)
        if account is None or account.state is not AccountState.ACTIVE:
            abort(404)
        record_look(session, principal(), account, resources().clock())
        present = administrators_of(session, account.id)
        invited = open_administrator_invitation(session, account, resources().clock())
    status = 200
    if form.validate_on_submit():
        to = form.recipient(as_locale(form.language.data))
        try:
            with resources().database.transaction() as session:
                own = session.get_one(Account, account.id)
                name_administrator(session, principal(), own, to, form.proof.data.strip(), resources().clock())
        except AlreadyUser:
            add_error(form.email, gettext("This person administers the account already."))
        except SeveralAdministrators:
            # The page read them before the other member of staff named one.
            with resources().database.transaction() as session:
                present = administrators_of(session, account.id)
            status = 409
        else:
            flash(gettext("The invitation to %(email)s is on its way.", email=to.address))
            return redirect(url_for("locations.show", customer_number=customer_number), 303)
    page = render_template(
        "back_office/administrator.html", form=form, account=account, present=present, invited=invited
    )
    return page, 422 if form.errors else status
