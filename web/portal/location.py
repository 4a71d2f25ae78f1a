"""An account as a person may see it, and taking a sub-account out again."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import StringField

from models import overview as listing
from models.accounts import Account, account_by_number
from models.audit import record_look
from models.errors import AlreadyRequested, DomainError, Forbidden, RuleBroken
from models.links import submit_detach
from models.people import Action, may, through_main
from models.requests import Request, concerns
from models.states import AccountState, Kind, Origin
from models.telephony import SipTrunk
from models.trunks import find_trunk
from models.values import typed_customer_number
from models.wording import reason_text
from tasks.hints import hint
from web.portal.forms import complain
from web.portal.overview import locations
from web.portal.people import principal
from web.portal.words import locale
from web.resources import resources


@dataclass(frozen=True, slots=True)
class Seen:
    """An account that this person may see, its main account if it has or gets one, and what is on its way for it."""

    account: Account
    main: Account | None
    running: list[Request]

    @property
    def detaching(self) -> Request | None:
        """The request by which it leaves its main account."""
        return next((found for found in self.running if found.kind is Kind.DETACH), None)

    @property
    def is_foreign(self) -> bool:
        """Whether the person sees it only through its main account."""
        person = principal()
        # One that is only ordered has no main account yet, and nobody of its own.
        seen_by_order = not may(person, Action.VIEW, self.account)
        return seen_by_order or through_main(person, Action.VIEW, self.account) is not None

    @property
    def may_detach(self) -> bool:
        """Whether this person may take it out from under its main account."""
        return self.account.main_id is not None and may(principal(), Action.DETACH, self.account)

    @property
    def is_billed_together(self) -> bool:
        """Whether the collective invoice keeps it where it is."""
        return self.account.origin is Origin.COLLECTIVE_INVOICE


class DetachForm(FlaskForm):  # type: ignore[misc]
    """The customer number, typed by whoever means it."""

    customer_number = StringField()


@locations.route("/<string(length=7):customer_number>/loesen", methods=["GET", "POST"])
@login_required
def detach(customer_number: str) -> Response | str | tuple[str, int]:
    """Say what detaching means, and do it for whoever types the customer number."""
    form = DetachForm()
    with resources().database.transaction() as database:
        seen = see_account(database, customer_number)
    if not seen.may_detach:
        abort(404)
    form.customer_number.label.text = _("Customer number")
    if not form.validate_on_submit():
        return _ask(seen, form, 422 if form.is_submitted() else 200)
    if typed_customer_number(form.customer_number.data or "") != customer_number:
        complain(
            form.customer_number, _("Type %(number)s: the customer number of this account.", number=customer_number)
        )
        return _ask(seen, form, 422)
    try:
        with resources().database.transaction() as database:
            account = database.get_one(Account, seen.account.id)
            submit_detach(database, principal(), account, locale(), resources().clock())
    except AlreadyRequested:
        flash(_("Account %(number)s is being detached already.", number=customer_number), "warning")
    except RuleBroken as error:
        flash(reason_text(error.reason, locale()), "warning")
        return redirect(url_for("locations.show", customer_number=customer_number), 303)
    except Forbidden:
        abort(404)
    else:
        hint()
        flash(_("The request to detach account %(number)s is on its way; its card says more.", number=customer_number))
    return redirect(url_for("portal.overview"), 303)


def _ask(seen: Seen, form: DetachForm, status: int) -> tuple[str, int]:
    return render_template("overview/detach.html", seen=seen, form=form), status


def see_account(database: Session, customer_number: str) -> Seen:
    """The account as this person sees it. Not found for whom it is none of their business."""
    account = account_by_number(database, customer_number)
    if account is None or account.state is AccountState.CLOSED:
        abort(404)
    # What another main account has asked for is that one's business.
    about = listing.running_about(database, account)
    running = [found for found in about if concerns(database, principal(), found)]
    # An ordered account has no main account yet: it is seen by whoever sees its order, unless it has left since.
    is_ordered = account.state is AccountState.ORDERED
    orders = (found.main_id for found in running if found.kind is Kind.ORDER)
    coming = next((main_id for main_id in orders if is_ordered or main_id == account.main_id), None)
    if coming is None and not may(principal(), Action.VIEW, account):
        abort(404)
    main_id = account.main_id or coming
    return Seen(account, database.get(Account, main_id) if main_id is not None else None, running)


def see_trunk(customer_number: str, id: int, right: Action) -> tuple[Account, SipTrunk]:
    """The account's trunk. Not found for whoever has not this right, as if it were not there.

    A look from the main account is written down.
    """
    with resources().database.transaction() as database:
        account = see_account(database, customer_number).account
        try:
            trunk = find_trunk(database, principal(), right, account, id)
        except DomainError:
            abort(404)
        record_look(database, principal(), account, resources().clock())
    return account, trunk
