"""The page on which a user chooses what the request line (Request-URI) of a trunk's incoming calls contains.

The request line names either the contact that the phone system has registered, or the dialled number.
"""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from werkzeug.wrappers import Response
from wtforms import Form, RadioField
from wtforms.validators import AnyOf

from models.accounts.accounts import Account
from models.people.rights import Action, through_main
from models.states import AccountState
from models.telephony.request_uri import change_request_uri
from models.telephony.trunks import RequestUri
from web.portal.page.account_access import get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.login_session import principal
from web.portal.page.request_uri_choices import CHOICES
from web.resources import resources


class RequestUriForm(Form):  # type: ignore[misc]
    """The form that chooses what the request line of incoming calls contains: registered contact or dialled number."""

    request_uri = RadioField(
        lazy_gettext("How calls reach the phone system"),
        choices=CHOICES,
        validate_choice=False,
        validators=[AnyOf(list(RequestUri), message=lazy_gettext("Choose one of the two."))],
    )


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/anrufzustellung", methods=["GET", "POST"])
@login_required
def request_uri(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show what the request line of incoming calls of the SIP trunk `id` can contain; on a valid POST save the choice.

    The POST redirects to the page that says how phone systems are set up; an invalid one shows the form with its
    errors, with status 422. Abort with 404 unless the account is active and the user may manage its trunks.
    """
    account, trunk = get_visible_trunk(customer_number, id, Action.MANAGE_TRUNK)
    if account.state is not AccountState.ACTIVE:
        abort(404)
    form = RequestUriForm(request.form if request.method == "POST" else None, request_uri=trunk.request_uri)
    if request.method == "POST" and form.validate():
        chosen = RequestUri(form.request_uri.data)
        with resources().database.transaction() as database:
            own = database.get_one(Account, account.id)
            change_request_uri(database, principal(), own, id, chosen, resources().clock())
        flash(_("Saved. It applies to the next call."))
        return redirect(url_for("locations.phone_systems", customer_number=customer_number, id=id), 303)
    is_foreign = through_main(principal(), Action.MANAGE_TRUNK, account) is not None
    facts = {"account": account, "trunk": trunk, "form": form, "is_foreign": is_foreign}
    page = render_template("telephony/trunk/request_uri.html", **facts)
    return page, 422 if form.errors else 200
