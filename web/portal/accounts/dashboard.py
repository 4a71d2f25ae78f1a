"""The pages of one account: dashboard, audit log, and the secrets of its SIP trunks."""

from __future__ import annotations

from functools import partial

from flask import abort, render_template, request, url_for
from flask_login import login_required
from flask_wtf import FlaskForm
from wtforms import HiddenField

from models.accounts.accounts import Account
from models.accounts.contract_holders import has_own_holder, holder_of
from models.calendar_days import Month, berlin_day
from models.changes.cancellations import running_contracts
from models.links.invoice_membership import billing_view
from models.people.audit_log import LogPart, sees_log, visible_entries
from models.people.looks import record_look
from models.people.rights import Action, may, only_as_staff
from models.proofs.link_codes import open_link_code
from models.states import OF_CONTRACTS, Kind
from models.telephony import forwarding, forwarding_precedence
from models.telephony.directory import entry_of
from models.telephony.high_risk import high_risk_of
from models.telephony.holdings import holdings_of
from models.telephony.sip_secrets import RenewedMeanwhile, issue_of, renew, reveal
from models.telephony.trunks import SipTrunk
from models.vault import SecretUnreadable
from models.views import locations as listing
from models.views.account_costs import costs_of_account
from models.views.own_accounts import linkable_accounts
from tasks.outbox.what_changes import described_plan
from tasks.wording.contract_terms import terms_text
from tasks.wording.formats import month_text, number_text
from web.portal.accounts.audit_log_text import PART_WORDS, chosen_part, deed_text
from web.portal.accounts.overview import kind_label, origin_label, poll_interval, progress, proofs_of, state_label
from web.portal.accounts.people import people_of
from web.portal.page.account_access import ensure_right, get_visible_account, get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.directory_form import PUBLICATION_NAMES
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.selected_account import selected_account
from web.portal.people.own_password import is_own_password, own_password_field
from web.portal.people.users import ROLE_NAMES
from web.portal.telephony.country_names import limit_text
from web.portal.telephony.forwarding_text import condition_text, hours_text, numbers_text
from web.portal.telephony.registrations_and_calls import lines_of
from web.resources import resources

LAST = 5
LOG_PAGE = 50


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for the user's own password, required before the SIP password (secret) of a trunk is shown or renewed.

    `issue` identifies the SIP password that the page is about, so that renewing fails if that one was replaced since.
    """

    password = own_password_field()
    issue = HiddenField()


@locations.get("/<string(length=7):customer_number>")
@login_required
def show(customer_number: str) -> str:
    """Show an account's dashboard: contracts, numbers, trunks, forwardings, running requests, users, last actions.

    A view by a user of the main account or by the carrier's staff is recorded in the account's audit log. Abort with
    404 unless the user may view the account.
    """
    now, person = resources().clock(), principal()
    with resources().database.transaction() as database:
        visible = get_visible_account(database, customer_number)
        account = visible.account
        record_look(database, person, account, now)
        choices = selected_account(database).choices
        holdings = holdings_of(database, account, now)
        forwardings = forwarding.forwardings_of(database, account)
        risky = high_risk_of(database, [one.target for one in forwardings])
        people = people_of(database, person, account, visible.running, now)
        log = visible_entries(database, person, account, limit=LAST, part=LogPart.DEEDS)
        gives_code = any(own.id == account.id for own in linkable_accounts(database, person))
        code = open_link_code(database, account.id) if gives_code else None
        leads = visible.main is None and listing.count_of(database, account, listing.LocationFilter()) > 0
        entry = entry_of(database, account)
        asked = proofs_of(database, visible.running)
        planned = [
            (found, described_plan(database, found, locale()))
            for found in visible.running
            if found.kind in OF_CONTRACTS
        ]
        month = Month.of(berlin_day(now))
        costs = costs_of_account(database, account, month)
        contracts = running_contracts(database, account, now)
        terms = dict.fromkeys(terms_text(one.terms, locale(), berlin_day(one.started_at)) for one in contracts)
        billing = billing_view(database, person, account, now)
        own_holder = has_own_holder(account)
        holder = holder_of(database, account if own_holder else visible.main or account)
    sees_calls = may(person, Action.SEE_CALLS, account) and resources().network is not None
    return render_template(
        "accounts/account.html",
        visible=visible,
        choices=[choice for choice in choices if not visible.is_foreign],
        holdings=holdings,
        forwardings=forwardings,
        risky=risky,
        in_force=forwarding_precedence.in_force(forwardings, holdings.trunks, now),
        people=people,
        log=log,
        sees_log=sees_log(person, account),
        holder=holder,
        entry=entry,
        terms=list(terms),
        earliest_end=max((one.earliest_end(berlin_day(now)) for one in contracts), default=None),
        is_cancelled=any(found.kind is Kind.CANCEL for found in visible.running),
        planned=sorted(planned, key=lambda one: one[0].effective_at),
        costs=costs,
        month=month,
        month_name=month_text(month, locale()),
        lists_costs=not only_as_staff(person, Action.VIEW, account),
        billing=billing,
        publication_names=PUBLICATION_NAMES,
        own_holder=own_holder,
        sees_calls=sees_calls,
        lines=lines_of(holdings.trunks) if sees_calls else {},
        gives_code=gives_code,
        code=code,
        now=now,
        limit_text=limit_text,
        allowed=[str(action) for action in Action if may(person, action, account)],
        role_names=ROLE_NAMES,
        condition_text=condition_text,
        hours_text=hours_text,
        number_text=number_text,
        numbers_text=numbers_text,
        sip_port=resources().settings.sip_port,
        deed_text=deed_text,
        locale=locale(),
        progress=partial(progress, asked=asked),
        kind=kind_label(account, listed=visible.main is not None, leads=leads),
        state_label=state_label,
        origin_label=origin_label,
        poll=poll_interval(visible.running),
    )


@locations.get("/<string(length=7):customer_number>/protokoll")
@login_required
def log(customer_number: str) -> str:
    """Show one page of the audit log of an account, newest entries first.

    The query parameter `vor` is the id of an entry: the page then shows only older entries. `teil` chooses a part of
    the log. Abort with 404 if the id is invalid, if there is no such part, or if the user may not see the account or
    its log.
    """
    part = chosen_part()
    before = request.args.get("vor", type=int)
    if "vor" in request.args and (before is None or not 0 <= before < 2**63):
        abort(404)
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        if not sees_log(principal(), account):
            ensure_right(account, Action.SEE_LOG)
        found = visible_entries(database, principal(), account, before=before, limit=LOG_PAGE + 1, part=part)
    page = found[:LOG_PAGE]
    older = page[-1].entry.id if len(found) > LOG_PAGE else None
    return render_template(
        "accounts/audit_log.html",
        account=account,
        log=page,
        before=before,
        older=older,
        part=PART_WORDS.get(part) if part is not None else None,
        deed_text=deed_text,
        sees_all=may(principal(), Action.SEE_LOG, account),
    )


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/passwort", methods=["GET", "POST"])
@login_required
def secret(customer_number: str, id: int) -> str | tuple[str, int]:
    """Show a form for the user's own password; on POST with the right password show the SIP password of the trunk `id`.

    A wrong password shows the form with its error (status 422); after too many, the answer is 429. If the SIP password
    cannot be decrypted, a page says so (status 409). The answer is 404 if the user may not see the SIP password.
    """
    form = PasswordForm()
    account, trunk = get_visible_trunk(customer_number, id, Action.SEE_SECRET)
    if not (form.validate_on_submit() and is_own_password(form.password)):
        return render_template("telephony/trunk/secret.html", form=form, account=account, trunk=trunk), _status(form)
    try:
        with resources().database.transaction() as database:
            own = database.get_one(Account, account.id)
            shown = reveal(database, resources().vault, principal(), own, id, resources().clock())
    except SecretUnreadable:
        return render_template("telephony/trunk/secret_unreadable.html", account=account, trunk=trunk), 409
    return _render_secret(account, trunk, shown, is_new=False)


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/erneuern", methods=["GET", "POST"])
@login_required
def renew_secret(customer_number: str, id: int) -> str | tuple[str, int]:
    """Show what renewing the SIP password of the trunk `id` does, with a form for the user's own password.

    On POST with the right password replace the SIP password and show the new one. A wrong password shows the form with
    its error (status 422); after too many, the answer is 429. If the SIP password was renewed after the form was
    opened, nothing is changed and a page says so (status 409). The answer is 404 if the user may not see the SIP
    password.
    """
    form = PasswordForm()
    account, trunk = get_visible_trunk(customer_number, id, Action.SEE_SECRET)
    if not (form.validate_on_submit() and is_own_password(form.password)):
        form.issue.data = issue_of(trunk)
        return render_template("telephony/trunk/renew.html", form=form, account=account, trunk=trunk), _status(form)
    try:
        with resources().database.transaction() as database:
            own = database.get_one(Account, account.id)
            issue, now = form.issue.data or "", resources().clock()
            made = renew(database, resources().vault, principal(), own, id, issue, now)
    except RenewedMeanwhile:
        return render_template("telephony/trunk/renewed_meanwhile.html", account=account, trunk=trunk), 409
    return _render_secret(account, trunk, made, is_new=True)


def _status(form: PasswordForm) -> int:
    return 422 if form.is_submitted() else 200


def _render_secret(account: Account, trunk: SipTrunk, secret: str, *, is_new: bool) -> str:
    # This page is only reached by POST, so switching the language leads to the dashboard.
    here = url_for("locations.show", customer_number=account.customer_number)
    return render_template(
        "telephony/trunk/secret_shown.html",
        account=account,
        trunk=trunk,
        sip_port=resources().settings.sip_port,
        secret=secret,
        is_new=is_new,
        here=here,
    )
