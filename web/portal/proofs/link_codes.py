"""The pages for link codes. With an account's link code, another company can attach the account to a main account."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.errors import IsMainAccount
from models.people.rights import Action
from models.proofs.link_codes import create_link_code, open_link_code, void_link_code
from models.states import AccountRole
from models.typed_codes import display_code
from models.views import own_accounts
from tasks.wording.reasons import reason_text
from web.portal.page.account_access import ensure_right
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources

link_codes = Blueprint("link_codes", __name__)


@link_codes.get("/verknuepfungscode")
@login_required
def overview() -> str:
    """Show the user's accounts that can be attached to a main account, and whether each has an open link code.

    The codes themselves are shown only when they are created.
    """
    with resources().database.transaction() as session:
        now = resources().clock()
        listed = [(account, open_link_code(session, account.id)) for account in _accounts(session)]
    return render_template("proofs/link_codes.html", listed=listed, now=now)


@link_codes.post("/verknuepfungscode/<customer_number>")
@login_required
def create(customer_number: str) -> str | Response:
    """Create a link code for the account and show it, once.

    If an unexpired code is open, show a page that asks whether to replace it; the form field `replace` with that code's
    id confirms this. If the account is a main account, which has no link codes, redirect to the overview of link codes
    with a message. Abort with 404 if the user may not prove the ownership of the account, or if the account can neither
    be attached nor is a main account.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        account = _account(session, customer_number)
        before = open_link_code(session, account.id)
        asks = before is not None and before.is_good(now) and request.form.get("replace") != str(before.id)
        try:
            made = None if asks else create_link_code(session, principal(), account, now)
        except IsMainAccount as error:
            flash(reason_text(error.reason, locale()), "warning")
            return redirect(url_for("link_codes.overview"), 303)
    if made is None:
        return render_template("proofs/link_code_replace.html", account=account, before=before)
    code = display_code(resources().vault.code(*made.words()))
    return render_template("proofs/link_code_made.html", account=account, code=code, made=made)


@link_codes.post("/verknuepfungscode/<customer_number>/ungueltig")
@login_required
def void(customer_number: str) -> Response:
    """Void the account's open link code, and redirect to the overview of link codes. Does nothing if there is none.

    Abort with 404 if the user may not prove the ownership of the account, or if the account can neither be attached nor
    is a main account.
    """
    with resources().database.transaction() as session:
        account = _account(session, customer_number)
        void_link_code(session, principal(), account, resources().clock())
    flash(_("The link code for account %(number)s is void.", number=account.customer_number))
    return redirect(url_for("link_codes.overview"), 303)


def _accounts(session: Session) -> Sequence[Account]:
    person = principal()
    return [*own_accounts.linkable_accounts(session, person), *own_accounts.switchable_accounts(session, person)]


def _account(session: Session, customer_number: str) -> Account:
    account = ensure_right(account_by_number(session, customer_number), Action.PROVE_OWNERSHIP)
    # A main account gets past this check, so that `create` can show why it has no link code.
    if not (account.role is AccountRole.MAIN or account in _accounts(session)):
        abort(404)
    return account
