"""The page that orders more phone numbers for a SIP trunk, at once or from a chosen day on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import abort, flash, redirect, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import Form, HiddenField, RadioField, StringField

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.changes.more_numbers import (
    NumbersDraft,
    NumbersQuote,
    planned_numbers,
    quote_numbers,
    submit_numbers,
)
from models.contracts.catalogue import Product, ProductKind, orderable_products
from models.errors import InvalidField, LimitReached, PricesChanged
from models.people.rights import Action
from models.phone_numbers import typed_area_code
from models.proofs.certificates import covered_numbers, numbers_asked_for, numbers_of
from models.proofs.deadlines import VALID_FOR
from models.requests.requests import Request
from models.states import AccountState
from models.telephony.holdings import blocks_of
from models.telephony.numbers import proposed_numbers
from models.telephony.trunks import SipTrunk
from models.values import AREA_CODE
from tasks.outbox.what_changes import AddedNumbers, added_numbers
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from web.portal.changes.trunk_pages import render_trunk_page
from web.portal.orders.number_hints import Hints, hints_for
from web.portal.page.account_access import get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.money import euros
from web.portal.page.typed_fields import strip, typed_day
from web.resources import resources


class NumbersForm(Form):  # type: ignore[misc]
    """The form that orders more phone numbers.

    `shown` is a hidden field with the prices that the page has already shown for these numbers; empty before that.
    """

    area_code = StringField(lazy_gettext("Area code"), filters=[strip])
    block_size = RadioField(lazy_gettext("How many phone numbers"), choices=[], validate_choice=False)
    effective_on = StringField(lazy_gettext("From which day"), filters=[strip])
    shown = HiddenField()

    def draft(self, sold: Sequence[Product]) -> NumbersDraft:
        """Return the typed numbers as a draft, not checked against the rules of the account.

        `sold` are the number blocks that can be ordered. Raises `InvalidField` if the area code or the day is
        malformed, or if none of these blocks has the chosen size.
        """
        area_code = typed_area_code(self.area_code.data or "")
        if not AREA_CODE.fullmatch(area_code):
            raise InvalidField("numbers.area_code", "malformed" if area_code else "missing")
        size = self.block_size.data or ""
        if size not in [str(block.block_size) for block in sold]:
            raise InvalidField("numbers.block_size", "missing")
        return NumbersDraft(area_code, int(size), typed_day("effective_on", self.effective_on.data), locale())


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The data that the page shows beside the form.

    `has` is how many numbers the trunk has. `planned` are the running requests for more numbers of the trunk, with
    their terms in words, and `asked` is how many numbers they add. `covered` is how many numbers the trunk can have
    without a further certificate of need. `proposed` is the largest number that the carrier proposes for the trunk's
    channels. `hints` say which area codes fit the address, and how many blocks are free. `quote` has the price of the
    typed numbers; None if nothing was typed yet, or if they cannot be ordered. `hand_in_by` is the end of the day by
    which a certificate for the typed numbers would have to be handed in.
    """

    has: int
    asked: int
    covered: int
    proposed: int
    planned: list[tuple[Request, AddedNumbers]]
    hints: Hints
    quote: NumbersQuote | None
    hand_in_by: datetime

    @property
    def added(self) -> AddedNumbers | None:
        """Return the quoted numbers for display, with the costs before and after them; None without a quote."""
        if self.quote is None:
            return None
        terms, name = self.quote.terms, self.quote.product.name(locale())
        return AddedNumbers(terms.effective_on, name, self.quote.area_code, "", terms.before.costs, terms.after.costs)


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/rufnummern", methods=["GET", "POST"])
@login_required
def order_numbers(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show the form that orders more phone numbers for the SIP trunk `id`, with its present and its planned numbers.

    A valid POST shows the price before and after, to be confirmed. A POST that confirms these prices requests the
    numbers and redirects to the page of that request; if the prices have changed since, they are shown again. An
    invalid POST, or one beyond a limit of the company, shows the form with its errors, with status 422. Abort with 404
    unless the account is active and the user may change its contracts.
    """
    account, trunk = get_visible_trunk(customer_number, id, Action.CHANGE_CONTRACT)
    if account.state is not AccountState.ACTIVE:
        abort(404)
    form = NumbersForm(request.form if request.method == "POST" else None)
    now = resources().clock()
    with resources().database.transaction() as database:
        blocks = _blocks(database)
        if request.method != "POST":
            form.area_code.data = _own_area_code(database, account, trunk)
    reached: LimitReached | None = None
    # Shown first; and again if the prices are others by now.
    if shown := form.shown.data:
        try:
            with resources().database.transaction() as database:
                own = database.get_one(Account, account.id)
                usual, draft = resources().settings.limits, form.draft(blocks)
                asked = submit_numbers(database, principal(), own, id, draft, now, shown=shown, usual=usual)
        except LimitReached as error:
            asked, reached = None, error
        except (InvalidField, PricesChanged):
            # Numbers were asked for meanwhile, or the prices have changed: the page below says it.
            asked = None
        if asked is not None:
            flash(_("We have received the order."))
            return redirect(url_for("portal.show_request", id=asked.id), 303)
    with resources().database.transaction() as database:
        account, trunk = database.get_one(Account, account.id), database.get_one(SipTrunk, trunk.id)
        sheet = _sheet(database, form, account, trunk, blocks)
    if reached is not None:
        add_error(form.block_size, limit_text(reached, locale()))
    if sheet.quote is None or reached is not None:
        return render_trunk_page("numbers", account, trunk, form, sheet=sheet), 422 if form.errors else 200
    form.shown.data = sheet.quote.shown_text
    changed = shown not in ("", None, sheet.quote.shown_text)
    return render_trunk_page("confirm_numbers", account, trunk, form, sheet=sheet, price_changed=changed)


def _blocks(database: Session) -> list[Product]:
    """Return the number blocks that can be ordered."""
    products = orderable_products(database, resources().clock())
    return [one for one in products if one.kind is ProductKind.NUMBER_BLOCK]


def _own_area_code(database: Session, account: Account, trunk: SipTrunk) -> str:
    """Return the area code of the numbers that the trunk has; an empty string if it has none."""
    own = [block.area_code for block in blocks_of(database, account) if block.trunk_id == trunk.id]
    return own[0] if own else ""


def _choices(blocks: Sequence[Product]) -> list[tuple[str, str]]:
    """Return the choices of the form for these number blocks: pairs of a block's size and its name with its prices."""
    return [
        (
            str(one.block_size),
            _(
                "%(name)s, %(monthly)s monthly, %(one_off)s once, net",
                name=one.name(locale()),
                monthly=euros(one.monthly_cents),
                one_off=euros(one.one_off_cents),
            ),
        )
        for one in blocks
    ]


def _sheet(
    database: Session, form: NumbersForm, account: Account, trunk: SipTrunk, blocks: Sequence[Product]
) -> _Sheet:
    """Return the data that the page shows beside the form, and set the form's choices to those of `blocks`.

    On a POST also quote the price of the typed numbers. If they cannot be ordered, the error is added to the field of
    the form that is wrong.
    """
    now, quote = resources().clock(), None
    form.block_size.choices = _choices(blocks)
    if request.method == "POST":
        try:
            quote = quote_numbers(database, principal(), account, trunk.id, form.draft(blocks), now)
        except InvalidField as error:
            name = error.field.removeprefix("numbers.")
            add_error(form[name], field_error(locale(), error.field, error.code, error.allowed))
    size = str(form.block_size.data or "")
    return _Sheet(
        numbers_of(database, trunk.id),
        numbers_asked_for(database, trunk.id),
        covered_numbers(database, trunk.id),
        proposed_numbers(trunk.channels, resources().settings.numbers_per_channel),
        [(found, added_numbers(database, found, locale())) for found in planned_numbers(database, trunk.id)],
        hints_for(database, account.postal_code, account.city, form.area_code.data or "", size, now),
        quote,
        end_of_day(now + VALID_FOR),
    )
