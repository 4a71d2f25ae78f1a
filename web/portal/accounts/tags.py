"""The page on which people of a main account set the tags of a sub-account."""

from __future__ import annotations

from flask import flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField
from wtforms.validators import ValidationError

from models.accounts.accounts import Account
from models.errors import InvalidField, TooEarly
from models.links.tags import set_tags, tags_of
from models.people.rights import Action
from tasks.wording.fields import field_error
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error, too_often_text
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources


def _is_sent(_form: FlaskForm, field: StringField) -> None:
    # An empty field removes all tags; one that the browser left out must not.
    if not field.raw_data:
        raise ValidationError(_("Enter the tags, or leave the field empty."))


class TagsForm(FlaskForm):  # type: ignore[misc]
    """The form for the tags of a sub-account, separated by commas."""

    tags = StringField(lazy_gettext("Tags"), validators=[_is_sent])


@locations.route("/<string(length=7):customer_number>/schlagwoerter", methods=["GET", "POST"])
@login_required
def tags(customer_number: str) -> Response | tuple[str, int]:
    """Show the sub-account's tags in a form; on a valid POST save them and redirect to the dashboard with a message.

    An invalid POST shows the form with its error, with status 422. Abort with 404 unless the user leads the account's
    main account.
    """
    form = TagsForm()
    with resources().database.transaction() as session:
        account = ensure_right(get_visible_account(session, customer_number).account, Action.TAG)
        assert account.main_id is not None
        known = tags_of(session, account.main_id)
    if not form.is_submitted():
        form.tags.data = ", ".join(account.tags or [])
    elif form.validate():
        try:
            with resources().database.transaction() as session:
                found = session.get_one(Account, account.id)
                set_tags(session, principal(), found, form.tags.data.split(","), resources().clock())
        except InvalidField as error:
            add_error(form.tags, field_error(locale(), error.field, error.code, error.allowed))
        except TooEarly as error:
            add_error(form.tags, too_often_text(error))
        else:
            flash(_("The tags are saved."))
            return redirect(url_for("locations.show", customer_number=customer_number), 303)
    page = render_template("accounts/tags.html", account=account, form=form, known=known)
    return page, 422 if form.errors else 200
