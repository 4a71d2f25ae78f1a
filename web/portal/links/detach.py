"""The page on which a sub-account is detached from its main account, at once or from a chosen day on."""

from __future__ import annotations

from datetime import date, timedelta

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import StringField

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, has_own_holder, holder_of
from models.calendar_days import berlin_day
from models.errors import AlreadyRequested, InvalidField, RuleBroken, TooEarly
from models.links.links import submit_detach
from models.people.rights import Action, may
from models.requests.effective_days import LONGEST_AHEAD
from models.requests.requests import Request
from models.values import typed_customer_number
from tasks.wording.fields import field_error
from tasks.wording.formats import long_date
from tasks.wording.reasons import reason_text
from web.portal.page.account_access import VisibleAccount, ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error, too_often_text
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip, typed_day
from web.portal.people.missing_administrator import not_administered_text
from web.resources import resources


class DetachForm(FlaskForm):  # type: ignore[misc]
    """The form that confirms a detachment. The user types the customer number of the sub-account, as a safeguard.

    `effective_on` is the day at whose start the account is detached; if it is empty, the account is detached at once.
    """

    effective_on = StringField(lazy_gettext("From which day"), filters=[strip])
    customer_number = StringField()


@locations.route("/<string(length=7):customer_number>/loesen", methods=["GET", "POST"])
@login_required
def detach(customer_number: str) -> Response | str | tuple[str, int]:
    """Show what detaching the sub-account from its main account does, with a form for the day and its customer number.

    On POST with the right customer number request the detachment and redirect to the overview. With a wrong number, or
    a day that is not possible, show the form with an error (status 422). A detachment that is planned already is shown
    with its day; a POST with another day replaces it. An account that nobody could administer afterwards is not
    detached: the page says whom to invite first (status 409 on POST). If another business rule forbids the detachment,
    redirect to the account's dashboard with a message. Abort with 404 unless the account has a main account and the
    user may detach it.
    """
    form = DetachForm()
    with resources().database.transaction() as database:
        visible = get_visible_account(database, customer_number)
        refusal = _refusal(database, visible)
        holder = holder_of(database, visible.account)
    if visible.account.main_id is None:
        abort(404)
    ensure_right(visible.account, Action.DETACH)
    form.customer_number.label.text = _("Customer number")
    if refusal is not None:
        return _ask(visible, holder, form, 409 if form.is_submitted() else 200, refusal)
    if not form.validate_on_submit():
        return _ask(visible, holder, form, 422 if form.is_submitted() else 200)
    day: date | None = None
    try:
        day = typed_day("effective_on", form.effective_on.data)
    except InvalidField as error:
        add_error(form.effective_on, field_error(locale(), error.field, error.code, error.allowed))
    if typed_customer_number(form.customer_number.data or "") != customer_number:
        add_error(
            form.customer_number, _("Type %(number)s: the customer number of this account.", number=customer_number)
        )
    if form.errors:
        return _ask(visible, holder, form, 422)
    try:
        with resources().database.transaction() as database:
            account = database.get_one(Account, visible.account.id)
            asked = submit_detach(database, principal(), account, locale(), resources().clock(), day)
    except InvalidField as error:
        add_error(form.effective_on, field_error(locale(), error.field, error.code, error.allowed))
        return _ask(visible, holder, form, 422)
    except TooEarly as error:
        add_error(form.effective_on, too_often_text(error))
        return _ask(visible, holder, form, 422)
    except AlreadyRequested:
        flash(_detached_already(visible, customer_number), "warning")
    except RuleBroken as error:
        flash(reason_text(error.reason, locale()), "warning")
        return redirect(url_for("locations.show", customer_number=customer_number), 303)
    else:
        flash(_received(asked, customer_number))
    return redirect(url_for("portal.overview", _anchor=f"konto-{customer_number}"), 303)


def _detached_already(visible: VisibleAccount, number: str) -> str:
    """Return the message that the account `number` is being detached already, or will be on a planned day."""
    planned = _planned(visible)
    if planned is None or planned.effective_on is None:
        return str(_("Account %(number)s is being detached already.", number=number))
    day = long_date(planned.effective_on, locale())
    return str(_("Account %(number)s is to be detached on %(day)s already.", number=number, day=day))


def _received(asked: Request, number: str) -> str:
    """Return the message that confirms the detach request `asked` of the account with the customer number `number`."""
    if asked.effective_on is None:
        return str(
            _(
                "Account %(number)s is being detached. After that the administrators of both sides get an e-mail.",
                number=number,
            )
        )
    day = long_date(asked.effective_on, locale())
    return str(
        _(
            "Account %(number)s is to be detached on %(day)s. The administrators of both sides get an e-mail.",
            number=number,
            day=day,
        )
    )


def _planned(visible: VisibleAccount) -> Request | None:
    """Return the detach request of the account that is planned for a later day; None if there is none."""
    found = visible.detaching
    return found if found is not None and found.is_scheduled(resources().clock()) else None


def _refusal(database: Session, visible: VisibleAccount) -> str | None:
    """Return a text that says why nobody could administer the account once it is detached; None if somebody could.

    The text is in the page's language. Also return None, without a check, while an immediate detachment of the account
    is running, and if the account cannot be detached because it is on the main account's collective invoice.
    """
    if (visible.detaching is not None and _planned(visible) is None) or visible.is_billed_together:
        return None
    return not_administered_text(database, visible.account, resources().clock())


def _ask(
    visible: VisibleAccount, holder: ContractHolder | None, form: DetachForm, status: int, refusal: str | None = None
) -> tuple[str, int]:
    today, planned = berlin_day(resources().clock()), _planned(visible)
    if not form.is_submitted() and planned is not None and planned.effective_on is not None:
        form.effective_on.data = planned.effective_on.isoformat()
    page = render_template(
        "links/detach.html",
        visible=visible,
        planned=planned,
        first_day=today + timedelta(days=1),
        last_day_possible=today + LONGEST_AHEAD,
        holder=holder,
        holder_of_main=not has_own_holder(visible.account),
        form=form,
        refusal=refusal,
        may_invite=may(principal(), Action.INVITE_USERS, visible.account),
    )
    return page, status
