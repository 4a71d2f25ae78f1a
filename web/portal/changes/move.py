"""The page that moves an account to another connection address, at once or on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import HiddenField, StringField

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.changes.moves import MoveDraft, MoveQuote, quote_move, submit_move
from models.errors import AlreadyRequested, InvalidField, LimitReached, PricesChanged
from models.orders.area_code_of_address import ensure_postal_code
from models.orders.orders import ensure_area_exists
from models.people.rights import Action, through_main
from models.phone_numbers import typed_area_code
from models.requests.contract_end import running_move
from models.requests.effective_days import LONGEST_AHEAD, day_to_wait_for
from models.same_address import Place
from models.states import AccountState
from models.telephony.holdings import blocks_of, trunks_of
from models.telephony.number_pool import QUARANTINE
from models.values import AREA_CODE
from tasks.outbox.what_changes import MovedTerms
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from tasks.wording.formats import forwarding_text
from web.portal.orders.forms import LocationForm
from web.portal.orders.number_hints import Hints, hints_for
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip, typed_day
from web.resources import resources

_FIELDS = {
    "location.street": "street",
    "location.postal_code": "postal_code",
    "location.city": "city",
    "numbers.area_code": "area_code",
    "effective_on": "effective_on",
}
"""The form's fields, by their names in the API's body."""


class MoveForm(LocationForm):
    """The form that moves an account: the new connection address, as in an order, area code of new numbers, and day.

    `shown` is a hidden field with what the page has shown for this move; empty before it was shown.
    """

    name = None  # The location keeps its name.
    area_code = StringField(lazy_gettext("Area code of new phone numbers"), filters=[strip])
    effective_on = StringField(lazy_gettext("From which day"), filters=[strip])
    shown = HiddenField()

    def draft(self) -> MoveDraft:
        """Return the typed move as a draft, not checked against the rules of the account.

        Raises `InvalidField` if the area code or the day is malformed. The address must have been validated.
        """
        place = Place(self.street.data, self.postal_code.data, self.city.data)
        day = typed_day("effective_on", self.effective_on.data)
        return MoveDraft(place, self.typed_area_code(), day, locale())

    def typed_area_code(self) -> str | None:
        """Return the typed area code, None if none was typed. Raises `InvalidField` if it is malformed."""
        area_code = typed_area_code(self.area_code.data or "") or None
        if area_code is not None and not AREA_CODE.fullmatch(area_code):
            raise InvalidField("numbers.area_code", "malformed")
        return area_code


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the page shows beside the form.

    `hints` say which towns and area codes fit the typed address. `quote` has the consequences of the typed move,
    `moved` the same in the words of pages; both are None before anything was typed, and if the move is not possible.
    """

    hints: Hints
    quote: MoveQuote | None
    moved: MovedTerms | None


@locations.route("/<string(length=7):customer_number>/umzug", methods=["GET", "POST"])
@login_required
def move_account(customer_number: str) -> Response | str | tuple[str, int]:
    """Show the form that moves the account to another connection address.

    A valid POST shows which numbers stay and which are replaced, and the price, to be confirmed. A POST that confirms
    this requests the move and redirects to the page of that request; if anything of it has changed since, it is shown
    again. An invalid POST, or one beyond a limit of the company, shows the form with its errors, with status 422. For
    an account that is moving already, redirect to the page of that move. Abort with 404 unless the account is active,
    has an open SIP trunk, and the user may change its contracts.
    """
    form = MoveForm(request.form if request.method == "POST" else None)
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        if account.state is not AccountState.ACTIVE:
            abort(404)
        ensure_right(account, Action.CHANGE_CONTRACT)
        if not trunks_of(database, account):
            abort(404)
        moving = running_move(database, account.id)
    if moving is not None:
        return redirect(url_for("portal.show_request", id=moving.id), 303)
    valid, reached = request.method == "POST" and form.validate(), None
    # Shown first; and again if anything of it has changed by now.
    if valid and (shown := form.shown.data):
        try:
            with resources().database.transaction() as database:
                own, usual = database.get_one(Account, account.id), resources().settings.limits
                now = resources().clock()
                asked = submit_move(database, principal(), own, form.draft(), now, shown=shown, usual=usual)
        except LimitReached as error:
            asked, reached = None, error
        except (AlreadyRequested, InvalidField, PricesChanged):
            # Somebody else was faster, or something has changed: the page below says it.
            asked = None
        if asked is not None:
            flash(_("We have received the move."))
            return redirect(url_for("portal.show_request", id=asked.id), 303)
    with resources().database.transaction() as database:
        account = database.get_one(Account, account.id)
        sheet = _sheet(database, form, account, valid=valid)
        blocks = blocks_of(database, account)
    if reached is not None:
        add_error(form.effective_on, limit_text(reached, locale()))
    if sheet.quote is None or reached is not None:
        return _render("move", account, form, sheet=sheet, blocks=blocks), 422 if form.errors else 200
    changed = form.shown.data not in ("", None, sheet.quote.shown_text)
    form.shown.data = sheet.quote.shown_text
    lost = [forwarding_text(one.numbers, one.target) for one in sheet.quote.lost]
    aimed = [
        f"{own.name} ({own.customer_number}) {forwarding_text(one.numbers, one.target)}"
        for own, one in sheet.quote.aimed
    ]
    facts = {"changed": changed, "days": QUARANTINE.days, "lost": lost, "aimed": aimed}
    return _render("confirm_move", account, form, sheet=sheet, **facts)


def _sheet(database: Session, form: MoveForm, account: Account, *, valid: bool) -> _Sheet:
    """Read what the page shows beside the form. If what was typed is `valid`, also quote the move.

    If it is not possible, the error is added to the field of the form that is wrong.
    """
    now, quote = resources().clock(), None
    typed = form.postal_code.data or "", form.city.data or "", form.area_code.data or ""
    hints = hints_for(database, *typed, "", now)
    if valid:
        try:
            quote = quote_move(database, principal(), account, form.draft(), now)
        except InvalidField as error:
            words = field_error(locale(), error.field, error.code, error.allowed)
            add_error(form[_FIELDS[error.field]], words)
        except AlreadyRequested:
            add_error(form.street, _("The account is being moved already."))
    if quote is None:
        if request.method == "POST":
            _add_other_errors(database, form, now)
        return _Sheet(hints, None, None)
    before = Place(account.street, account.postal_code, account.city)
    replaced = [(block.display, quote.area_code or "") for block in quote.goes]
    return _Sheet(hints, quote, MovedTerms(quote.effective_on, before, quote.place, replaced, quote.costs))


def _add_other_errors(database: Session, form: MoveForm, now: datetime) -> None:
    """Add the errors of postal code, area code and day beside those found before, so that all are seen at once."""

    def postal_code() -> None:
        if not form.city.errors:
            ensure_postal_code(database, form.postal_code.data, form.city.data)

    def area_code() -> None:
        if (code := form.typed_area_code()) is not None:
            ensure_area_exists(database, code)

    def day() -> None:
        day_to_wait_for(typed_day("effective_on", form.effective_on.data), now)

    checks = (form.postal_code, postal_code), (form.area_code, area_code), (form.effective_on, day)
    for field, check in checks:
        if not field.errors:
            try:
                check()
            except InvalidField as error:
                add_error(field, field_error(locale(), error.field, error.code, error.allowed))


def _render(page: str, account: Account, form: MoveForm, **facts: Any) -> str:
    today = berlin_day(resources().clock())
    return render_template(
        f"changes/{page}.html",
        account=account,
        form=form,
        last_day_possible=today + LONGEST_AHEAD,
        is_foreign=through_main(principal(), Action.CHANGE_CONTRACT, account) is not None,
        **facts,
    )
