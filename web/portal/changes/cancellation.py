"""The page that cancels an account with all its contracts, at the end of a chosen day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import BooleanField, Form, StringField

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.changes.cancellations import Cancellation, quote_cancellation, running_contracts, submit_cancellation
from models.errors import AlreadyRequested, CannotClose, InvalidField, TooEarly
from models.people.looks import record_look
from models.people.rights import Action, through_main
from models.states import AccountState
from models.telephony.forwarding import forwardings_of
from models.telephony.holdings import Holdings, holdings_of
from models.telephony.number_pool import QUARANTINE
from tasks.outbox.what_changes import EndedTerms, ended_terms
from tasks.wording.closing_obstacles import obstacle_text
from tasks.wording.contract_terms import terms_text
from tasks.wording.fields import field_error
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error, too_often_text
from web.portal.page.locale import locale, phone
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip, typed_day
from web.resources import resources


class CancellationForm(Form):  # type: ignore[misc]
    """The form of a cancellation: the last day of the contracts, and a checkbox that confirms the cancellation."""

    last_day = StringField(lazy_gettext("Last day of the contracts"), filters=[strip])
    meant = BooleanField(lazy_gettext("Yes, cancel this customer number with all its contracts."))


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The data that the page shows beside the form: the earliest possible cancellation, and what ends with it.

    `quote` is the cancellation on the earliest possible last day. `terms` are the contracts' terms in sentences, `ends`
    the products and prices that end, `holdings` the account's trunks and numbers, `targets` the numbers to which its
    calls are forwarded.
    """

    quote: Cancellation
    terms: Sequence[str]
    ends: EndedTerms
    holdings: Holdings
    targets: Sequence[str]


@locations.route("/<string(length=7):customer_number>/kuendigung", methods=["GET", "POST"])
@login_required
def cancel_contracts(customer_number: str) -> Response | str | tuple[str, int]:
    """Show when the account can end and what ends with it, with a form that cancels it with all its contracts.

    A valid POST with the box ticked requests the cancellation and redirects to the page of that request; an invalid one
    shows the form with its errors, with status 422. For an account that is cancelled already, redirect to the running
    cancellation request. While something stands in the way, such as sub-accounts, the page says what to do first, with
    status 409 on POST. Abort with 404 unless the account is active and the user may change its contracts.
    """
    form = CancellationForm(request.form if request.method == "POST" else None)
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        if account.state is not AccountState.ACTIVE:
            abort(404)
        ensure_right(account, Action.CHANGE_CONTRACT)
        record_look(database, principal(), account, resources().clock())
    try:
        with resources().database.transaction() as database:
            sheet = _sheet(database, database.get_one(Account, account.id))
        if request.method != "POST":
            form.last_day.data = sheet.quote.earliest.isoformat()
            return _render("form", account, form=form, sheet=sheet)
        return _submit(account, form, sheet)
    except AlreadyRequested as error:
        flash(_("The account is cancelled already."), "warning")
        return redirect(url_for("portal.show_request", id=error.request_id), 303)
    except CannotClose as error:
        page = _render("not_possible", account, why=obstacle_text(error, locale()))
        return page, 409 if request.method == "POST" else 200


def _submit(account: Account, form: CancellationForm, sheet: _Sheet) -> Response | tuple[str, int]:
    """Request the cancellation that the form asks for, and redirect to the page of that request.

    If the day is not possible or the box is not ticked, request nothing and show the form with its errors (status 422).
    `sheet` is the data that the page shows beside the form.
    """
    try:
        last_day = typed_day("last_day", form.last_day.data)
        if last_day is None:
            raise InvalidField("last_day", "malformed")
        with resources().database.transaction() as database:
            own, now = database.get_one(Account, account.id), resources().clock()
            quote_cancellation(database, principal(), own, last_day, now)
            if form.meant.data:
                asked = submit_cancellation(database, principal(), own, last_day, locale(), now)
    except InvalidField as error:
        add_error(form.last_day, field_error(locale(), error.field, error.code, error.allowed))
    except TooEarly as error:
        add_error(form.last_day, too_often_text(error))
    if not form.meant.data:
        add_error(form.meant, _("Tick the box if you want to cancel."))
    if form.errors:
        return _render("form", account, form=form, sheet=sheet), 422
    flash(_("We have received the cancellation, and confirm it by e-mail."))
    return redirect(url_for("portal.show_request", id=asked.id), 303)


def _sheet(database: Session, account: Account) -> _Sheet:
    """Return the data that the page shows: what ends with the account, when it can end, and on which terms.

    Changes nothing in the database.
    """
    now = resources().clock()
    quote = quote_cancellation(database, principal(), account, None, now)
    contracts = running_contracts(database, account, now)
    said = [terms_text(one.terms, locale(), berlin_day(one.started_at)) for one in contracts]
    targets = dict.fromkeys(phone(one.target) for one in forwardings_of(database, account))
    return _Sheet(
        quote,
        list(dict.fromkeys(said)),
        ended_terms(database, quote.lines, quote.last_day, locale()),
        holdings_of(database, account, now),
        list(targets),
    )


def _render(page: str, account: Account, **facts: object) -> str:
    return render_template(
        f"changes/cancellation_{page}.html",
        account=account,
        days=QUARANTINE.days,
        is_foreign=through_main(principal(), Action.CHANGE_CONTRACT, account) is not None,
        **facts,
    )
