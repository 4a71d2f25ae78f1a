"""The form in which a user proves their second factor, at sign-in and again before some actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from wtforms import HiddenField, StringField
from wtforms.validators import Length

from models.db.caller import Named, name_to_database
from models.people.passkeys import Answer, prove_by_passkey
from models.people.second_factors import prove
from models.people.sign_in_log import Refused
from models.people.users import User
from web.portal.page.browser_names import here
from web.portal.page.form_errors import add_error
from web.portal.page.known_browsers import this_browser
from web.portal.people.access_log import count_refused_sign_in
from web.portal.people.passkey_site import passkey_site
from web.resources import resources

T = TypeVar("T")


class FactorForm(FlaskForm):  # type: ignore[misc]
    """The form for a code of the authenticator app, a recovery code, or the answer of a passkey.

    `question` is the challenge to the passkey, encrypted; `credential` is the passkey's answer as JSON.
    """

    code = StringField(lazy_gettext("Code"), validators=[Length(max=40)])
    question = HiddenField()
    credential = HiddenField(validators=[Length(max=20_000)])


def proved(form: FactorForm, user: User, then: Callable[[Session, User], T]) -> T | None:
    """Check the submitted form; if it proves the user's second factor, call `then` and return its result, else None.

    `then` is called with the session and the user, in the transaction that marks the code as used. A missing or wrong
    code adds an error to the form. Wrong codes are counted; after too many, the request is answered with 429. If no
    form was submitted, return None without an error.
    """
    if not form.validate_on_submit():
        return None
    if not (form.code.data or form.credential.data):
        add_error(form.code, gettext("Please enter a code."))
        return None
    resources().throttle.begin_factor_try(user.id, this_browser(user.email))
    with resources().database.transaction() as session:
        name_to_database(session, Named.PERSON, user.id)
        found = session.get_one(User, user.id)
        if _is_right(session, found, form):
            return then(session, found)
    count_refused_sign_in(user.email, Refused.FACTOR)
    if form.credential.data:
        add_error(form.code, gettext("That did not work with the passkey. Please try again, or enter a code."))
    else:
        add_error(
            form.code, gettext("This code is not right, or was used already. An app shows a new one each half minute.")
        )
    return None


def _is_right(session: Session, user: User, form: FactorForm) -> bool:
    vault, now = resources().vault, resources().clock()
    if not form.credential.data:
        return prove(session, vault, user, form.code.data, here(), now)
    site = passkey_site()
    answer = Answer(form.question.data or "", form.credential.data)
    return site is not None and prove_by_passkey(session, vault, site, user, answer, now)
