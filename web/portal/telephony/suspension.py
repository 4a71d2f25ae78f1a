"""The pages that suspend and resume a SIP trunk, and that release number blocks."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import BooleanField
from wtforms.validators import DataRequired

from models.accounts.accounts import Account
from models.errors import NotFound, StillOnOrder, SuspendedByCarrier
from models.orders.number_release import look_at_release, release_numbers
from models.people.looks import record_look
from models.people.rights import Action, through_main
from models.states import AccountState
from models.telephony import suspension
from models.telephony.number_pool import QUARANTINE
from models.telephony.trunks import SipTrunk, TrunkState
from web.portal.page.account_access import ensure_right, get_visible_account, get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.login_session import principal
from web.portal.telephony.forwarding_text import forwarding_text
from web.resources import resources

_TRUNK = "/<string(length=7):customer_number>/sip/<int:id>"


class ReleaseForm(FlaskForm):  # type: ignore[misc]
    """The form whose checkbox confirms that a number block is released for good."""

    meant = BooleanField(
        lazy_gettext("Yes, give these phone numbers back. I know that this cannot be undone."),
        validators=[DataRequired(lazy_gettext("Tick the box if you want to give the phone numbers back."))],
    )


@locations.route(_TRUNK + "/sperren", methods=["GET", "POST"])
@login_required
def suspend(customer_number: str, id: int) -> Response | str:
    """Show what suspending the SIP trunk `id` does; on POST suspend the trunk and redirect to the account's dashboard.

    Abort with 404 unless the account is active and the user may manage its trunks.
    """
    account, trunk = _get_managed_trunk(customer_number, id)
    if request.method != "POST":
        return _render("suspend", account, trunk=trunk)
    with resources().database.transaction() as database:
        changed = suspension.suspend(database, principal(), _reload(database, account), id, resources().clock())
    if not changed:
        return _redirect(account, _("The SIP trunk is suspended already."))
    return _redirect(
        account, _("The SIP trunk is suspended. Nothing but emergency calls is possible with it any more.")
    )


@locations.route(_TRUNK + "/entsperren", methods=["GET", "POST"])
@login_required
def resume(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show who has suspended the SIP trunk `id`, the customer or the carrier, and who can resume it.

    On POST lift the customer's own suspension and redirect to the account's dashboard. If only the carrier has
    suspended the trunk, show the page with status 409. Abort with 404 unless the account is active and the user may
    manage its trunks.
    """
    account, trunk = _get_managed_trunk(customer_number, id)
    if request.method != "POST":
        return _render("resume", account, trunk=trunk)
    try:
        with resources().database.transaction() as database:
            own = _reload(database, account)
            found = suspension.resume(database, principal(), own, id, resources().clock())
    except SuspendedByCarrier:
        return _render("resume", account, trunk=trunk), 409
    if found.state is TrunkState.SUSPENDED:
        return _redirect(account, _("Your suspension is lifted. The one by our customer service stays."))
    return _redirect(account, _("The SIP trunk is not suspended any more. The phone system can register again."))


@locations.route("/<string(length=7):customer_number>/rufnummern/<int:id>/zurueckgeben", methods=["GET", "POST"])
@login_required
def release(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show what releasing the number block `id` does; on POST with the box ticked release the block.

    The POST then redirects to the account's dashboard; without the tick it shows the page again (status 422). While an
    order for the account is running, nothing can be released: the page says so (status 409). If the account has no such
    block, a GET aborts with 404 and a POST redirects with a warning. Abort with 404 unless the account is active and
    the user may manage its trunks.
    """
    form = ReleaseForm()
    account = _get_managed_account(customer_number)
    try:
        with resources().database.transaction() as database:
            found = look_at_release(database, principal(), _reload(database, account), id, resources().clock())
        if not form.validate_on_submit():
            removed = [forwarding_text(one) for one in found.forwardings]
            page = _render("release", account, form=form, found=found, removed=removed)
            return page, 422 if form.is_submitted() else 200
        with resources().database.transaction() as database:
            release_numbers(database, principal(), _reload(database, account), id, resources().clock())
    except StillOnOrder:
        return _render("release", account, form=form, found=None), 409
    except NotFound:
        if request.method != "POST":
            abort(404)
        # Submitted twice, or released by somebody else.
        return _redirect(account, _("These phone numbers do not belong to the account any more."), "warning")
    numbers = found.block.display
    if found.block.size == 1:
        return _redirect(account, _("The phone number %(numbers)s is given back.", numbers=numbers))
    return _redirect(account, _("The phone numbers %(numbers)s are given back.", numbers=numbers))


def _get_managed_trunk(customer_number: str, id: int) -> tuple[Account, SipTrunk]:
    account, trunk = get_visible_trunk(customer_number, id, Action.MANAGE_TRUNK)
    if account.state is not AccountState.ACTIVE:
        abort(404)
    return account, trunk


def _get_managed_account(customer_number: str) -> Account:
    """Return the account with this number; abort with 404 unless it is active and the user may manage its trunks.

    A view by a user of the main account or by the carrier's staff is recorded in the account's audit log.
    """
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        if account.state is not AccountState.ACTIVE:
            abort(404)
        ensure_right(account, Action.MANAGE_TRUNK)
        record_look(database, principal(), account, resources().clock())
    return account


def _reload(database: Session, account: Account) -> Account:
    return database.get_one(Account, account.id)


def _render(name: str, account: Account, **facts: object) -> str:
    is_foreign = through_main(principal(), Action.MANAGE_TRUNK, account) is not None
    return render_template(
        f"telephony/trunk/{name}.html", account=account, is_foreign=is_foreign, days=QUARANTINE.days, **facts
    )


def _redirect(account: Account, said: str, category: str = "message") -> Response:
    flash(said, category)
    return redirect(url_for("locations.show", customer_number=account.customer_number), 303)
