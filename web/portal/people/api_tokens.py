"""The pages on which administrators of an account make, see and revoke its API tokens."""

from __future__ import annotations

from datetime import timedelta

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext, lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length

from models.accounts.accounts import Account, account_by_number
from models.errors import NotFound, TokenNameTaken, TooEarly, TooManyTokens
from models.people.api_tokens import LONGEST_LIFE, LONGEST_NAME, find_token, issue_token, revoke_token, tokens_of
from models.people.rights import Action, Scope
from models.people.users import User
from tasks.wording.labels import scopes_text
from web.portal.page.account_access import ensure_right
from web.portal.page.form_errors import add_error, too_often_text
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import refuse_unsuitable_name
from web.portal.people.own_password import is_own_password, own_password_field
from web.portal.people.users import users
from web.resources import resources

SCOPES = {"read": frozenset({Scope.READ}), "all": frozenset(Scope)}
"""The scopes that a new token gets, by the value of the form field `scopes`."""


class TokenForm(FlaskForm):  # type: ignore[misc]
    """The form for a new API token: its name, its scopes, its lifetime in days, and the user's own password."""

    name = StringField(
        lazy_gettext("Name of the token"),
        validators=[
            DataRequired(lazy_gettext("Enter a name by which you will know the token again.")),
            Length(max=LONGEST_NAME, message=lazy_gettext("A name has at most %(max)d characters.")),
            # It stands in a mail to other people.
            refuse_unsuitable_name,
        ],
    )
    scopes = RadioField(
        lazy_gettext("The token may"),
        choices=[
            SelectChoice("read", lazy_gettext("Only read")),
            SelectChoice("all", lazy_gettext("Read, order, change, cancel, link and detach")),
        ],
        validators=[InputRequired(lazy_gettext("Choose what the token may do."))],
    )
    days = RadioField(
        lazy_gettext("Valid for"),
        coerce=int,
        default=LONGEST_LIFE.days,
        choices=[
            SelectChoice(30, lazy_gettext("30 days")),
            SelectChoice(90, lazy_gettext("90 days")),
            SelectChoice(180, lazy_gettext("180 days")),
            SelectChoice(LONGEST_LIFE.days, lazy_gettext("One year")),
        ],
        validators=[InputRequired(lazy_gettext("Choose how long the token is valid."))],
    )
    password = own_password_field()


@users.get("/benutzer/<customer_number>/api-token")
@login_required
def tokens(customer_number: str) -> str:
    """Show all API tokens of the account, also expired and revoked ones.

    The page shows of each token who made it, what it may do, and when it was made, was last used and expires. Abort
    with 404 unless the user administers the account.
    """
    with resources().database.transaction() as session:
        account = _account(session, customer_number)
        listed = [
            (token, user, scopes_text(map(Scope, token.scopes), locale()))
            for token, user in tokens_of(session, account)
        ]
    return render_template("people/tokens/overview.html", account=account, listed=listed, now=resources().clock())


@users.route("/benutzer/<customer_number>/api-token/neu", methods=["GET", "POST"])
@login_required
def make_token(customer_number: str) -> tuple[str, int]:
    """Show the form for a new API token; on a valid POST make the token and show its text, once, with status 201.

    Show the form with an error (status 422) if another usable token of the account has the name, or if the account has
    as many tokens as are allowed. A wrong password gives the same; after too many, the answer is 429. Abort with 404
    unless the user administers the account.
    """
    form = TokenForm()
    with resources().database.transaction() as session:
        account = _account(session, customer_number)
    if form.validate_on_submit() and is_own_password(form.password):
        name, valid_for = " ".join(form.name.data.split()), timedelta(days=form.days.data)
        try:
            with resources().database.transaction() as session:
                own, now = session.get_one(Account, account.id), resources().clock()
                text = issue_token(session, principal(), own, name, SCOPES[form.scopes.data], valid_for, now)
        except TokenNameTaken:
            add_error(
                form.name, gettext("The account has a token with this name. Choose another name, or revoke it first.")
            )
        except TooManyTokens as error:
            add_error(form.name, gettext("The account has %(limit)s tokens. Revoke one first.", limit=error.limit))
        except TooEarly as error:
            add_error(form.name, too_often_text(error))
        else:
            # This page is only reached by POST, so switching the language leads to the list.
            here = url_for("users.tokens", customer_number=customer_number)
            return render_template("people/tokens/shown.html", account=account, name=name, text=text, here=here), 201
    return render_template("people/tokens/new.html", account=account, form=form), 422 if form.errors else 200


@users.route("/benutzer/<customer_number>/api-token/<int:id>/widerrufen", methods=["GET", "POST"])
@login_required
def end_token(customer_number: str, id: int) -> Response | str:
    """Show what revoking the API token `id` does; on POST revoke the token and redirect to the list of tokens.

    Redirect also if the token is revoked already. Abort with 404 unless the user administers the account, and the
    account has this token.
    """
    form = FlaskForm()
    with resources().database.transaction() as session:
        account = _account(session, customer_number)
        try:
            token = find_token(session, account, id)
        except NotFound:
            abort(404)
        person = session.get_one(User, token.user_id)
        scopes = scopes_text(map(Scope, token.scopes), locale())
    if form.validate_on_submit():
        with resources().database.transaction() as session:
            revoke_token(session, principal(), session.get_one(Account, account.id), id, resources().clock())
        flash(gettext("The token “%(name)s” is revoked.", name=token.name))
    elif token.revoked_at is None:
        return render_template("people/tokens/revoke.html", account=account, token=token, person=person, scopes=scopes)
    return redirect(url_for("users.tokens", customer_number=customer_number), 303)


def _account(session: Session, customer_number: str) -> Account:
    """Return the account with this number. Abort with 404 unless the user may manage its API tokens."""
    return ensure_right(account_by_number(session, customer_number), Action.MANAGE_TOKENS)
