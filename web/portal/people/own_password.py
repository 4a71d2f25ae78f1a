"""The form field for the user's own password, and its check, for forms that show or change something secret."""

from __future__ import annotations

from flask_babel import gettext, lazy_gettext
from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import PasswordField
from wtforms.validators import DataRequired, Length

from models.people.passwords import authenticate
from models.people.sign_in_log import Refused
from web.portal.page.form_errors import add_error
from web.portal.page.login_session import principal
from web.portal.people.access_log import count_refused_sign_in
from web.resources import resources


def own_password_field() -> PasswordField:
    """Create a form field for the password with which the user signs in."""
    return PasswordField(
        lazy_gettext("Your password"),
        validators=[DataRequired(lazy_gettext("Please enter your password.")), Length(max=1024)],
    )


class OwnPasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for the user's own password alone, before something is done that only the user may do."""

    password = own_password_field()


def is_own_password(field: PasswordField) -> bool:
    """Return whether the field has the password of the signed-in user; if it does not, add an error to the field.

    Wrong passwords are counted for the login of this browser; after too many, the request is answered with 429.
    """
    resources().throttle.begin_own_password_try(current_user.login_id)
    with resources().database.transaction() as session:
        user = authenticate(session, principal().email, field.data)
    if user is not None:
        return True
    count_refused_sign_in(principal().email, Refused.OWN_PASSWORD)
    add_error(field, gettext("This is not your current password."))
    return False
