"""The pages on which users download the data about themselves, and erase their login."""

from __future__ import annotations

import json

from flask import flash, redirect, render_template, url_for
from flask_babel import gettext
from flask_login import login_required
from werkzeug.wrappers import Response

from models.errors import LastAdministrator
from models.people.users import User
from models.staff.erasing_people import ask_for_erasure, only_administrator_of
from models.views.person_data import person_data
from tasks.wording.person_data import worded
from web.portal.page.downloads import attachment
from web.portal.page.locale import locale
from web.portal.page.login_session import end_session, principal
from web.portal.people.login_sessions import logins
from web.portal.people.own_password import OwnPasswordForm, is_own_password
from web.resources import resources


@logins.route("/anmeldung/daten", methods=["GET", "POST"])
@login_required
def own_data() -> str | Response | tuple[str, int]:
    """Show what the file with the user's own data contains; a POST with the user's password downloads the file as JSON.

    The parts and fields of the file are named in the page's language. A wrong password shows the page with an error,
    with status 422; after too many, the answer is 429.
    """
    form = OwnPasswordForm()
    if not form.validate_on_submit() or not is_own_password(form.password):
        return render_template("people/logins/own_data.html", form=form), 422 if form.errors else 200
    with resources().database.transaction() as session:
        data = worded(person_data(session, session.get_one(User, principal().user_id)), locale())
    content = json.dumps(data, ensure_ascii=False, indent=2)
    return Response(content, mimetype="application/json", headers=attachment(gettext("my-data") + ".json"))


@logins.route("/anmeldung/loeschen", methods=["GET", "POST"])
@login_required
def erase() -> str | Response | tuple[str, int]:
    """Show what erasing the user's login deletes and what is kept, and why; on a POST with the password request this.

    The POST signs the user out and redirects to sign-in; the data are erased within minutes. Nothing is done, with
    status 409, for the only administrator of an account and for the carrier's staff; the page says what they can do. A
    wrong password gives status 422; after too many, the answer is 429.
    """
    form = OwnPasswordForm()
    confirmed = form.validate_on_submit() and is_own_password(form.password)
    now = resources().clock()
    status = 422 if form.errors else 200
    with resources().database.transaction() as session:
        user = session.get_one(User, principal().user_id)
        left, is_staff = only_administrator_of(session, user), user.is_staff
    if confirmed and not left and not is_staff:
        try:
            with resources().database.transaction() as session:
                ask_for_erasure(session, session.get_one(User, principal().user_id), now)
        except LastAdministrator:
            # Another administrator has left at the same moment.
            return redirect(url_for("logins.erase"), 303)
        end_session()
        flash(gettext("Your login is deleted. Within minutes your name and address are gone, too."))
        return redirect(url_for("people.sign_in"), 303)
    if confirmed:
        status = 409
    return render_template("people/logins/erase.html", form=form, left=left, is_staff=is_staff), status
