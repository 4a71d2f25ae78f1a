"""The pages of the wizard with which a user requests that an existing account is attached to the main account.

The user enters the account's customer number, chooses how to prove its ownership, sees the consequences and sends the
request.

The pages use only data of the user's own main account. They do not reveal whether a customer number exists, who owns
it, or which part of a proof was wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import DataRequired, Length, Regexp

from models.accounts.accounts import Account
from models.accounts.hierarchy import ensure_may_be_main
from models.errors import AlreadyRequested, InvalidField, LimitReached, RuleBroken, TooEarly
from models.links.links import LinkDraft, ensure_not_running, submit_link
from models.people.rights import Action, may
from models.proofs.ownership import Credentials
from models.proofs.proof_status import consents_to_answer
from models.proofs.proofs import OwnershipProof
from models.requests.idempotency import known_key, reserve_key
from models.states import AccountState, Kind, ProofMethod, Reason
from models.values import CUSTOMER_NUMBER, typed_customer_number
from models.views import own_accounts
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from tasks.wording.reasons import reason_text
from web.portal.page.form_errors import add_error, missing
from web.portal.page.known_browsers import this_browser
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import principal
from web.portal.page.selected_account import selected_account
from web.portal.proofs.forms import CodeForm, CredentialsForm
from web.refused_rights import record_refused_right
from web.resources import resources

log = structlog.get_logger()

links = Blueprint("links", __name__)

_START = "/standortverwaltung/hinzufuegen"


class Way(StrEnum):
    """The ways to prove that the user may attach the account; the value is the last part of the page's URL.

    `OWN`: the user administers the account. `CREDENTIALS`: the user enters the login of an administrator of the
    account. `CODE`: the user enters the account's link code. `CONSENT`: the account's administrators are asked for
    consent by mail.
    """

    OWN = "eigener-account"
    CREDENTIALS = "zugangsdaten"
    CODE = "verknuepfungscode"
    CONSENT = "zustimmung"


METHODS = {
    Way.OWN: ProofMethod.ADMINISTERS_BOTH,
    Way.CREDENTIALS: ProofMethod.CREDENTIALS,
    Way.CODE: ProofMethod.LINK_CODE,
    Way.CONSENT: ProofMethod.CONSENT,
}


class NumberForm(FlaskForm):  # type: ignore[misc]
    """The form for the customer number of the account to add."""

    customer_number = StringField(
        lazy_gettext("Customer number"),
        validators=[DataRequired(missing("customer_number")), Length(max=40)],
    )


class SendForm(FlaskForm):  # type: ignore[misc]
    """The form that sends the link request.

    `key` is a random idempotency key, new each time the page opens, so that two presses of the button send one request.
    `switches`: the account may belong to another main account, which is then asked for its consent, too.
    """

    switches = BooleanField(
        lazy_gettext("If the account belongs to another main account, ask that one for its consent, too (switch)")
    )
    key = HiddenField(validators=[DataRequired(), Regexp("^[0-9a-f]{32}$")])


class SendCredentialsForm(SendForm, CredentialsForm):
    """The form that sends the link request with the login of an administrator of the account to add."""


class SendCodeForm(SendForm, CodeForm):
    """The form that sends the link request with a link code of the account to add."""


_FORMS: dict[Way, type[SendForm]] = {
    Way.OWN: SendForm,
    Way.CREDENTIALS: SendCredentialsForm,
    Way.CODE: SendCodeForm,
    Way.CONSENT: SendForm,
}


class NotPossible(Exception):
    """Raised when the user may not add accounts to the selected account; its message tells the user why."""


class NotAllowed(NotPossible):
    """Raised when the user lacks the right to add accounts to the selected account."""


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """The account `main`, to which an existing account is to be attached as a sub-account.

    `own` and `elsewhere` are the other accounts that the user administers, and may attach without a further proof.
    Those in `elsewhere` are sub-accounts of another main account, which has to consent.
    """

    main: Account
    own: Sequence[Account]
    elsewhere: Sequence[Account]

    def owns(self, customer_number: str) -> Account | None:
        """Return the user's account with this customer number, from `own` or `elsewhere`; None if neither has it."""
        known = (*self.own, *self.elsewhere)
        return next((account for account in known if account.customer_number == customer_number), None)


@links.route(_START, methods=["GET", "POST"])
@login_required
def start() -> Response | str | tuple[str, int]:
    """Show the form for the customer number of the account to add, with buttons for the user's own accounts.

    A valid POST redirects to the page with the ways to prove the ownership; an invalid one shows the form with its
    error, with status 422. The query parameter `kundennummer` fills the form, and the page shows what is wrong with
    that number.
    """
    form = NumberForm()
    asked = request.args.get("kundennummer", "")[:40] if request.method == "GET" else ""
    with resources().database.transaction() as session:
        target = _link_target(session)
        running = None
        if form.validate_on_submit():
            number = typed_customer_number(form.customer_number.data) or form.customer_number.data
            wrong, running = _wrong_number(session, target.main, number)
            if wrong is None:
                return redirect(url_for("links.choose", number=number), 303)
            add_error(form.customer_number, wrong)
        elif asked:
            form.customer_number.data = asked
            wrong, running = _wrong_number(session, target.main, asked)
            if wrong is not None:
                add_error(form.customer_number, wrong)
    page = render_template("links/number.html", form=form, target=target, running=running, key=uuid4().hex, way=Way.OWN)
    return page, 422 if form.errors else 200


@links.get(_START + "/<number>")
@login_required
def choose(number: str) -> Response | str | tuple[str, int]:
    """Show the ways to prove the ownership of the account with the customer number `number`.

    Redirect to the page of the link request or switch that already runs for the number, or to the first page if the
    number is wrong. With the query parameter `wechsel` the links to the next page preselect a switch: the account's
    present main account is then asked for its consent.
    """
    with resources().database.transaction() as session:
        target = _link_target(session)
        wrong, running = _wrong_number(session, target.main, number)
    if wrong is not None:
        return _redirect_to_start(number, running)
    moves = "ja" if "wechsel" in request.args else None
    own = target.owns(number)
    return render_template("links/ways.html", target=target, number=number, own=own, ways=Way, moves=moves)


@links.route(_START + "/<number>/<way>", methods=["GET", "POST"])
@login_required
def send(number: str, way: str) -> Response | str | tuple[str, int]:
    """Show what adding the account with the customer number `number` changes, with the form that requests it.

    `way` says how the ownership is proved (a value of `Way`): by the account's link code, by the login of one of its
    administrators, by their consent, or because the user administers the account. A valid POST sends the request and
    redirects to its page. A second POST with the same `key` leads to the same request. If a limit forbids the request,
    redirect to the choice of ways, with a message. Redirect to the request that already runs for the number, or to the
    first page if the number is wrong. Abort with 404 for an unknown way, or if `way` says that the user administers the
    account and that is not so.
    """
    if way not in set(Way):
        abort(404)
    chosen = Way(way)
    form = _FORMS[chosen]()
    with resources().database.transaction() as session:
        target = _link_target(session)
        wrong, running = _wrong_number(session, target.main, number)
    # Before the number is refused: for a second press it is the first press that makes the number wrong.
    if form.validate_on_submit():
        return _submit(number, chosen, form)
    if wrong is not None:
        return _redirect_to_start(number, running)
    if chosen is Way.OWN and target.owns(number) is None:
        abort(404)
    own = target.owns(number)
    if not form.is_submitted():
        # What the user can see of an own account is no secret to them.
        form.switches.data = "wechsel" in request.args or (own is not None and own.main_id is not None)
    if not form.is_submitted() or form.key.errors:
        form.key.data = uuid4().hex
    page = render_template("links/send.html", form=form, target=target, number=number, way=chosen, own=own)
    return page, 422 if form.errors else 200


@links.get("/zustimmungen")
@login_required
def consents() -> str:
    """Show the consent requests that wait for an answer by the user, who administers the accounts that are asked."""
    with resources().database.transaction() as session:
        waiting = consents_to_answer(session, principal(), resources().clock())
    return render_template("links/consents.html", waiting=waiting)


@links.errorhandler(NotPossible)
def refuse(why: NotPossible) -> tuple[str, int]:
    """Show why the user may not add accounts, with status 403, when a view of the wizard raises `NotPossible`."""
    if isinstance(why, NotAllowed):
        record_refused_right()
    return render_template("links/not_possible.html", why=str(why)), 403


def _submit(number: str, way: Way, form: SendForm) -> Response:
    means = _proof_of_ownership(way, form)
    match means:
        case Credentials(email=email):
            resources().throttle.begin_password_try(email, this_browser(email))
        case str():
            resources().throttle.begin_code_try(number, principal().user_id)
    try:
        with resources().database.transaction() as session:
            target = _link_target(session)
            now, prints = resources().clock(), _fingerprints(number, way, form)
            user_id = principal().user_id
            # The key includes the fingerprint, so that another password is another attempt and no conflict.
            keys = [f"portal {form.key.data} {fingerprint.hex()}" for fingerprint in prints]
            key = known_key(session, target.main.id, user_id, keys)
            reserved = reserve_key(session, target.main.id, user_id, key, prints, now)
            if reserved.request_id is None:
                wrong, running = _wrong_number(session, target.main, number)
                if wrong is not None:
                    # No request was created, so the key is released.
                    session.delete(reserved)
                    return _redirect_to_start(number, running)
                if way is Way.OWN and target.owns(number) is None:
                    abort(404)
                kind = Kind.SWITCH if form.switches.data else Kind.LINK
                draft = LinkDraft(number, METHODS[way], means, locale(), kind)
                usual = resources().settings.limits
                made = submit_link(session, resources().vault, principal(), target.main, draft, now, usual=usual)
                if means is not None and session.get(OwnershipProof, made.id) is None:
                    resources().throttle.count_wrong_try()
                reserved.request_id = made.id
                log.info("request.accepted", request=str(made.id), path=request.path)
    except AlreadyRequested as error:
        return _redirect_to_start(number, UUID(error.request_id))
    except TooEarly as error:
        at = moment(error.again_at)
        said = _("The administrators have been asked often enough. They can be asked again from %(moment)s.", moment=at)
        flash(said, "warning")
        return redirect(url_for("links.choose", number=number), 303)
    except LimitReached as reached:
        flash(limit_text(reached, locale()), "warning")
        return redirect(url_for("links.choose", number=number), 303)
    except (InvalidField, RuleBroken):
        # Something changed after the page was opened; the first page shows what.
        return redirect(url_for("links.start", kundennummer=number), 303)
    return redirect(url_for("portal.show_request", id=reserved.request_id), 303)


def _proof_of_ownership(way: Way, form: SendForm) -> Credentials | str | None:
    match form:
        case SendCredentialsForm():
            return Credentials(form.email.data.strip(), form.password.data)
        case SendCodeForm():
            code = form.code.data
            assert isinstance(code, str)
            return code
        case _:
            return None


def _fingerprints(number: str, way: Way, form: SendForm) -> list[bytes]:
    # A keyed hash, so that a password cannot be guessed from the database.
    typed = {name: field.data for name, field in form._fields.items() if name != "csrf_token"}
    text = json.dumps([number, way, typed], sort_keys=True)
    return resources().vault.fingerprints("link", text.encode())


def _link_target(session: Session) -> LinkTarget:
    """Return the selected account as the main account, with the user's other accounts that can be attached to it.

    Raises `NotAllowed` if no account is selected or the user may not link accounts to it, and `NotPossible` if the
    account cannot be a main account.
    """
    main = selected_account(session).account
    if main is None or not may(principal(), Action.LINK, main):
        raise NotAllowed(_not_allowed_text())
    try:
        ensure_may_be_main(main)
    except RuleBroken as refused:
        raise NotPossible(_cannot_be_main_text(refused)) from None
    if not may(principal(), Action.PROVE_OWNERSHIP, main):
        return LinkTarget(main, [], [])
    own = [account for account in own_accounts.linkable_accounts(session, principal()) if account.id != main.id]
    elsewhere = own_accounts.switchable_accounts(session, principal())
    return LinkTarget(main, own, [account for account in elsewhere if account.main_id != main.id])


def _cannot_be_main_text(refused: RuleBroken) -> str:
    if refused.reason is not Reason.IS_SUB_ACCOUNT:
        return reason_text(refused.reason, locale())
    why: str = _(
        "Your account %(number)s is a sub-account. Only a main account can have sub-accounts. It can be "
        "detached from its main account; after that it can be a main account itself.",
        number=refused.customer_number,
    )
    return why


def _not_allowed_text() -> str:
    why: str
    if principal().is_staff:
        why = _("You are signed in as back office. Accounts are added with the login of their main account.")
    else:
        why = _(
            "Your login does not include adding accounts. Administrators and location managers of a main account may "
            "do that; ask one of them."
        )
    return why


def _wrong_number(session: Session, main: Account, number: str) -> tuple[str | None, UUID | None]:
    """Return the error text for the customer number, None if it can be added, and the id of a request that runs for it.

    The number is wrong if it is malformed, if it is the main account's own, or if one of its sub-accounts has it. It is
    also wrong if a link request or switch by the main account runs for it; only in this case is the id not None.
    Whether an account has the number is not checked, because the main account may not learn that. Takes an advisory
    lock until the transaction ends, so that no other transaction starts a request for the number meanwhile.
    """
    if not CUSTOMER_NUMBER.fullmatch(number):
        return field_error(locale(), "customer_number", "malformed"), None
    if number == main.customer_number:
        return field_error(locale(), "customer_number", "own_account"), None
    own_sub = sa.select(Account.id).where(Account.main_id == main.id, Account.customer_number == number)
    if session.scalar(own_sub.where(Account.state != AccountState.CLOSED)) is not None:
        return field_error(locale(), "customer_number", "already_ours"), None
    try:
        ensure_not_running(session, main, number)
    except AlreadyRequested as running:
        return _("A request for this customer number is running already."), UUID(running.request_id)
    return None, None


def _redirect_to_start(number: str, running: UUID | None) -> Response:
    if running is not None:
        flash(_("A request for this customer number is running already: this one."), "warning")
        return redirect(url_for("portal.show_request", id=running), 303)
    return redirect(url_for("links.start", kundennummer=number), 303)
