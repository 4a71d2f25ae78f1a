"""The pages of call forwarding, for users of an account (also local members) and of its main account."""

from __future__ import annotations

import re
from itertools import groupby

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.contracts.catalogue import MOBILE_BACKUP
from models.contracts.contracts import has_product
from models.errors import InvalidField, NotFound
from models.people.looks import record_look
from models.people.rights import Action, may, through_main
from models.states import AccountState
from models.telephony import forwarding, forwarding_changes, forwarding_precedence
from models.telephony.forwarding import CallForwarding, Condition, ForwardingDraft
from models.telephony.high_risk import high_risk_of
from models.telephony.holdings import blocks_of, trunks_of
from models.views.own_accounts import forwardable_accounts
from tasks.wording.destination_names import destination_text
from tasks.wording.formats import number_text
from web.portal.page.account_access import ensure_right
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.telephony.forwarding_forms import PRESET_NAMES, SOME, ForwardingForm, values_of, values_of_preset
from web.portal.telephony.forwarding_text import (
    condition_text,
    day_names,
    exception_hint,
    exception_text,
    hours_text,
    numbers_text,
)
from web.resources import resources

forwardings = Blueprint("forwardings", __name__)

_PAGE = "/standortverwaltung/<string(length=7):customer_number>/rufweiterleitung"


@forwardings.get("/rufweiterleitung")
@login_required
def overview() -> Response | str:
    """Show the accounts whose calls the user may forward by a role in the account itself.

    Redirect to the account's list of forwardings if there is only one account; abort with 404 if there is none.
    """
    with resources().database.transaction() as database:
        accounts = forwardable_accounts(database, principal())
    if not accounts:
        abort(404)
    if len(accounts) == 1:
        return redirect(url_for("forwardings.listed", customer_number=accounts[0].customer_number))
    return render_template("telephony/forwarding/accounts.html", accounts=accounts)


@forwardings.get(_PAGE)
@login_required
def listed(customer_number: str) -> str:
    """Show all call forwardings of an account, and which of them apply now.

    Abort with 404 unless the account is active and the user may forward its calls.
    """
    now = resources().clock()
    with resources().database.transaction() as database:
        account = _account(database, customer_number)
        found = forwarding.forwardings_of(database, account)
        several = len(forwardable_accounts(database, principal())) > 1
        trunks = trunks_of(database, account)
        risky = high_risk_of(database, [one.target for one in found])
    groups = [(numbers, list(group)) for numbers, group in groupby(found, lambda one: one.numbers)]
    return _render(
        "telephony/forwarding/overview.html",
        account,
        groups=groups,
        presets=PRESET_NAMES,
        running=forwarding_precedence.in_force(found, trunks, now),
        risky=risky,
        taken_out=lambda one: [exception_text(one, other) for other in forwarding_precedence.exceptions_to(one, found)],
        several=several,
        trunks=trunks,
        sees_calls=resources().network is not None,
    )


@forwardings.route(_PAGE + "/neu", methods=["GET", "POST"])
@login_required
def add(customer_number: str) -> Response | tuple[str, int]:
    """Show the form for a new call forwarding; on a valid POST save the forwarding and redirect to the account's list.

    The query parameter `vorlage` names a preset that fills the form. `nummern` fills in the numbers that the forwarding
    is for: the first and the last one, in E.164 without the plus sign, with a dash between them. An invalid POST shows
    the form with its errors, with status 422. The button that adds a line to the weekly schedule saves nothing and
    shows the form with one line more. Abort with 404 unless the account is active and the user may forward its calls.
    """
    return _edit(customer_number, None)


@forwardings.route(_PAGE + "/<int:id>", methods=["GET", "POST"])
@login_required
def edit(customer_number: str, id: int) -> Response | tuple[str, int]:
    """Show the form of the call forwarding `id`; on a valid POST save the changes and redirect to the account's list.

    An invalid POST shows the form with its errors, with status 422. The button that adds a line to the weekly schedule
    saves nothing and shows the form with one line more. Abort with 404 unless the account is active, the user may
    forward its calls, and it has this forwarding.
    """
    return _edit(customer_number, id)


@forwardings.route(_PAGE + "/<int:id>/loeschen", methods=["GET", "POST"])
@login_required
def remove(customer_number: str, id: int) -> Response | str:
    """Ask whether to remove the call forwarding `id`; on POST remove it and redirect to the account's list.

    Abort with 404 unless the account is active, the user may forward its calls, and it has this forwarding.
    """
    with resources().database.transaction() as database:
        account = _account(database, customer_number)
        found = _get_forwarding(database, account, id)
        is_fallback = found.condition is Condition.NOT_REGISTERED
        risky = high_risk_of(database, [found.target])
        is_paid = is_fallback and has_product(database, account.id, MOBILE_BACKUP, resources().clock())
        if request.method == "POST":
            forwarding_changes.remove_forwarding(database, principal(), account, id, resources().clock())
    if request.method != "POST":
        return _render("telephony/forwarding/remove.html", account, found=found, is_paid=is_paid, risky=risky)
    return _redirect_to_list(account, _("The call forwarding is removed. That counts from the next call."))


def _edit(customer_number: str, id: int | None) -> Response | tuple[str, int]:
    with resources().database.transaction() as database:
        account = _account(database, customer_number)
        found = _get_forwarding(database, account, id) if id is not None else None
        blocks = blocks_of(database, account)
        others = [one for one in forwarding.forwardings_of(database, account) if one is not found]
    preset = request.args.get("vorlage")
    form = ForwardingForm(data=values_of(found) if found else values_of_preset(preset) | _asked_numbers())
    wants_line = form.is_submitted() and "another_line" in request.form
    if form.is_submitted() and not wants_line and (draft := form.draft()) is not None:
        try:
            with resources().database.transaction() as database:
                said = _save(database, account.id, id, draft)
        except InvalidField as error:
            form.add_rule_error(error)
        else:
            saved = _("The call forwarding is saved. It is in force from the next call.")
            return _redirect_to_list(account, " ".join([saved, *said]))
    if wants_line:
        form.offer_another_line()
    else:
        form.offer_lines()
    page = _render(
        "telephony/forwarding/edit.html",
        account,
        form=form,
        found=found,
        blocks=blocks,
        hints=[text for one in others if (text := exception_hint(one)) is not None],
        destination_text=lambda number: destination_text(number, locale()),
        presets=PRESET_NAMES,
        preset=preset,
        wants_line=wants_line,
        days=day_names(),
        long_days=day_names("wide"),
    )
    return page, 422 if form.errors else 200


def _asked_numbers() -> dict[str, object]:
    """Return the form values, by field name, for the numbers that the query parameter `nummern` names.

    Empty if the parameter is missing or malformed.
    """
    asked = re.fullmatch(r"([1-9]\d{6,14})-([1-9]\d{6,14})", request.args.get("nummern", ""), re.ASCII)
    if asked is None:
        return {}
    first, last = (number_text(f"+{number}") for number in asked.groups())
    return {"numbers": SOME, "first": first, "last": "" if first == last else last}


def _save(database: Session, account_id: int, id: int | None, draft: ForwardingDraft) -> list[str]:
    """Save the forwarding `draft`, and return sentences about how it and other forwardings of the account interact.

    `id` is the forwarding to replace, None to add a new one. A forwarding for some numbers only, under a condition such
    as "busy", takes these numbers out of a forwarding of all calls ("always"). The result has a sentence for each such
    pair of forwardings in which the saved one takes part.
    """
    account, now = database.get_one(Account, account_id), resources().clock()
    if id is None:
        saved = forwarding_changes.add_forwarding(database, principal(), account, draft, now)
    else:
        forwarding_changes.change_forwarding(database, principal(), account, id, draft, now)
        saved = forwarding.find_forwarding(database, account, id)
    database.flush()
    found = forwarding.forwardings_of(database, account)
    pairs = [
        (one, other)
        for one in found
        for other in forwarding_precedence.exceptions_to(one, found)
        if saved in (one, other)
    ]
    return [exception_text(one, other) for one, other in pairs]


def _account(database: Session, customer_number: str) -> Account:
    """Return the account with this number; abort with 404 unless it is active and the user may forward its calls.

    A view by a user of the main account or by the carrier's staff is recorded in the account's audit log.
    """
    account = account_by_number(database, customer_number)
    if account is None or account.state is not AccountState.ACTIVE:
        abort(404)
    ensure_right(account, Action.FORWARD_CALLS)
    record_look(database, principal(), account, resources().clock())
    return account


def _get_forwarding(database: Session, account: Account, id: int) -> CallForwarding:
    try:
        return forwarding.find_forwarding(database, account, id)
    except NotFound:
        abort(404)


def _redirect_to_list(account: Account, said: str) -> Response:
    flash(said)
    return redirect(url_for("forwardings.listed", customer_number=account.customer_number), 303)


def _render(template: str, account: Account, **facts: object) -> str:
    return render_template(
        template,
        account=account,
        is_foreign=through_main(principal(), Action.FORWARD_CALLS, account) is not None,
        sees_dashboard=may(principal(), Action.VIEW, account),
        condition_text=condition_text,
        hours_text=hours_text,
        number_text=number_text,
        numbers_text=numbers_text,
        **facts,
    )
