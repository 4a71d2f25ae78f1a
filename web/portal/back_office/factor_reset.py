"""The pages on which staff schedule, or withdraw, the removal of all second factors of a person who has lost them."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import TextAreaField
from wtforms.validators import DataRequired, Length

from models.db.caller import Named, name_to_database
from models.errors import NotFound
from models.people.looks import record_person_look
from models.people.second_factors import factors_of
from models.people.users import User
from models.staff.factor_resets import RESET_AFTER, FactorReset, ask_for_factor_reset, withdraw_factor_reset
from web.portal.back_office.requests_and_jobs import office
from web.portal.page.locale import moment
from web.portal.page.login_session import principal
from web.resources import resources


class FactorResetForm(FlaskForm):  # type: ignore[misc]
    """The form in which staff note how they verified the identity of the person whose factors are to be reset."""

    proof = TextAreaField(
        lazy_gettext("How do you know that it is the person?"),
        validators=[
            DataRequired(lazy_gettext("Note how you know that it is the person who asks.")),
            Length(20, 1000, lazy_gettext("Note the proof in 20 to 1,000 characters.")),
        ],
    )


@office.route("/personen/<int:id>/zweiter-faktor", methods=["GET", "POST"])
def reset_factors(id: int) -> Response | tuple[str, int]:
    """Show what a reset of the second factors of the person `id` does; on a valid POST schedule it for a day later.

    The POST redirects to the same page, which then says when the factors are removed; an invalid POST shows the form
    with its errors (status 422). If the person has no second factor any more, a POST shows the page without the form
    (status 409). Abort with 404 if there is no such person, or if the person is one of the carrier's staff, whose
    factors are reset on the command line.
    """
    form, now, status = FactorResetForm(), resources().clock(), 200
    if form.validate_on_submit():
        try:
            with resources().database.transaction() as session:
                user = _customer(session, id)
                reset = ask_for_factor_reset(session, principal(), user, form.proof.data.strip(), now)
        except NotFound:
            status = 409
        else:
            flash(
                gettext(
                    "The second factors of %(name)s are removed %(moment)s.",
                    name=user.name,
                    moment=moment(reset.due_at),
                )
            )
            return redirect(url_for("office.reset_factors", id=id), 303)
    with resources().database.transaction() as session:
        user = _customer(session, id)
        factors, waiting = factors_of(session, id), session.get(FactorReset, id)
    page = render_template(
        "back_office/factor_reset.html",
        form=form,
        user=user,
        has_factor=bool(factors),
        waiting=waiting,
        hours=int(RESET_AFTER.total_seconds()) // 3600,
    )
    return page, 422 if form.errors else status


@office.route("/personen/<int:id>/zweiter-faktor/zuruecknehmen", methods=["GET", "POST"])
def withdraw_reset(id: int) -> Response | str:
    """Ask whether to withdraw the scheduled reset of the second factors of the person `id`; on POST withdraw it.

    Redirect to the page of the reset afterwards, or at once if no reset is scheduled. Abort with 404 if there is no
    such person, or if the person is one of the carrier's staff.
    """
    form, back = FlaskForm(), redirect(url_for("office.reset_factors", id=id), 303)
    sent = form.validate_on_submit()
    try:
        with resources().database.transaction() as session:
            user = _customer(session, id)
            waiting = session.get(FactorReset, id)
            if sent:
                withdraw_factor_reset(session, principal(), user, resources().clock())
    except NotFound:
        return back
    if sent:
        flash(gettext("The second factors of %(name)s stay. The person is told by e-mail.", name=user.name))
        return back
    if waiting is None:
        return back
    return render_template("back_office/factor_reset_withdrawal.html", user=user, waiting=waiting)


def _customer(session: Session, id: int) -> User:
    """Return the person `id`; abort with 404 if there is none, or if it is one of the carrier's staff.

    Records in the audit logs of the person's accounts that staff were shown the person. Tells row-level security that
    the transaction is about this person, so that the database shows the person.
    """
    name_to_database(session, Named.PERSON, id)
    user = session.get(User, id)
    if user is None or user.is_staff:
        abort(404)
    record_person_look(session, principal(), id, resources().clock())
    return user
