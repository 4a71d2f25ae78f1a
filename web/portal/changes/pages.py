"""The page that changes the contract of a SIP trunk: tariff and channels, at once or from a chosen day on."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort, flash, redirect, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import Form, HiddenField, RadioField, StringField

from models.accounts.accounts import Account
from models.changes.changes import ChangeDraft, planned_changes, quote_change, submit_change
from models.changes.quotes import Quote, agreed_quote, current_terms
from models.contracts.catalogue import ProductKind, price_list
from models.errors import AlreadyRequested, InvalidField, PricesChanged
from models.people.rights import Action
from models.requests.requests import Request
from models.states import AccountState
from models.telephony.trunks import SipTrunk
from tasks.outbox.what_changes import ChangedTerms, changed_terms
from tasks.wording.fields import field_error
from web.portal.changes.trunk_pages import render_trunk_page
from web.portal.page.account_access import get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.page.money import euros
from web.portal.page.typed_fields import strip, typed_day
from web.resources import resources


class ChangeForm(Form):  # type: ignore[misc]
    """The form that changes a trunk's contract.

    `shown` is a hidden field with the prices that the page has already shown for this change; empty before that.
    """

    product = RadioField(lazy_gettext("Tariff"), choices=[], validate_choice=False)
    channels = StringField(lazy_gettext("Simultaneous calls"), filters=[strip])
    effective_on = StringField(lazy_gettext("From which day"), filters=[strip])
    shown = HiddenField()

    def draft(self) -> ChangeDraft:
        """Return the typed change as a draft, not checked against the contract.

        Raises `InvalidField` if the number of channels or the day is malformed.
        """
        channels = self.channels.data or ""
        if not (channels.isascii() and channels.isdecimal() and len(channels) <= 9):
            raise InvalidField("channels", "int_type")
        day = typed_day("effective_on", self.effective_on.data)
        return ChangeDraft(self.product.data or "", int(channels), day, locale())


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The data that the page shows beside the form.

    `planned` are the requests for changes of the trunk that are planned, each with its terms in words. `quote` has the
    terms and prices before and after the typed change, `changed` the same in the user's language. Both are None if
    nothing was typed yet, or if the change is not possible.
    """

    planned: list[tuple[Request, ChangedTerms]]
    quote: Quote | None
    changed: ChangedTerms | None


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/vertrag", methods=["GET", "POST"])
@login_required
def change_contract(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show the form that changes tariff and channels of the SIP trunk `id`, with the present terms and planned changes.

    A valid POST shows the terms and prices before and after, to be confirmed. A POST that confirms these prices
    requests the change and redirects to the page of that request; if the prices have changed since, they are shown
    again. An invalid POST shows the form with its errors, with status 422. Abort with 404 unless the account is active
    and the user may change its contracts.
    """
    account, trunk = get_visible_trunk(customer_number, id, Action.CHANGE_CONTRACT)
    if account.state is not AccountState.ACTIVE:
        abort(404)
    form = ChangeForm(request.form if request.method == "POST" else None)
    # Shown first; and again if the prices are others by now.
    if shown := form.shown.data:
        try:
            with resources().database.transaction() as database:
                own, now = database.get_one(Account, account.id), resources().clock()
                asked = submit_change(database, principal(), own, id, form.draft(), now, shown=shown)
        except (AlreadyRequested, InvalidField, PricesChanged):
            # Somebody else was faster, or the prices have changed: the page below says it.
            asked = None
        if asked is not None:
            flash(_("We have received the change."))
            return redirect(url_for("portal.show_request", id=asked.id), 303)
    with resources().database.transaction() as database:
        account, trunk = database.get_one(Account, account.id), database.get_one(SipTrunk, trunk.id)
        _offer(database, form, trunk)
        sheet = _sheet(database, form, account, trunk)
    if sheet.quote is None or sheet.changed is None:
        return render_trunk_page("form", account, trunk, form, sheet=sheet), 422 if form.errors else 200
    form.shown.data = sheet.quote.shown_text
    changed = shown not in ("", None, sheet.quote.shown_text)
    return render_trunk_page("confirm", account, trunk, form, sheet=sheet, price_changed=changed)


def _offer(database: Session, form: ChangeForm, trunk: SipTrunk) -> None:
    """Set the choices of the form: the tariffs that can be ordered, and the trunk's present tariff.

    On a GET also fill in the present tariff and number of channels of the trunk.
    """
    now = resources().clock()
    present = {line.product_key for line in current_terms(database, trunk, now).lines}
    tariffs = [one for one in price_list(database, now).values() if one.kind is ProductKind.TRUNK]
    offered = [one for one in tariffs if one.orderable or one.key in present]
    form.product.choices = [
        (
            one.key,
            _(
                "%(name)s, %(monthly)s monthly net",
                name=one.name(locale()),
                monthly=euros(one.monthly_cents),
            ),
        )
        for one in offered
    ]
    if request.method != "POST":
        form.product.data = next((one.key for one in offered if one.key in present), None)
        form.channels.data = str(trunk.channels)


def _sheet(database: Session, form: ChangeForm, account: Account, trunk: SipTrunk) -> _Sheet:
    """Return the data that the page shows beside the form: the planned changes and, on a POST, the quoted change.

    If the change is not possible, the error is added to the field of the form that is wrong.
    """
    planned = [
        (found, changed_terms(database, agreed_quote(found), locale())) for found in planned_changes(database, trunk.id)
    ]
    if request.method != "POST":
        return _Sheet(planned, None, None)
    try:
        quote = quote_change(database, principal(), account, trunk.id, form.draft(), resources().clock())
    except InvalidField as error:
        field = form[error.field]
        # Only the API names products by what is typed.
        code = "missing" if error.field == "product" else error.code
        add_error(field, field_error(locale(), error.field, code, error.allowed))
    except AlreadyRequested:
        add_error(form.product, _("The contract is being changed at this moment. Try again in a minute."))
    else:
        return _Sheet(planned, quote, changed_terms(database, quote, locale()))
    return _Sheet(planned, None, None)
