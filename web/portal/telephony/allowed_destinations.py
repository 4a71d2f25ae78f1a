"""The page on which administrators choose which countries and networks a SIP trunk may call."""

from __future__ import annotations

from enum import StrEnum

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from werkzeug.wrappers import Response
from wtforms import BooleanField, Form, RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import AnyOf, Length

from models.accounts.accounts import Account
from models.errors import InvalidField
from models.people.rights import Action, through_main
from models.states import AccountState
from models.telephony.allowed_destinations import CallLimits, change_limits
from models.telephony.country_prefixes import EEA, GERMANY
from models.telephony.trunks import SipTrunk
from tasks.wording.formats import number_text
from web.portal.page.account_access import get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error
from web.portal.page.login_session import principal
from web.portal.telephony.country_names import names_text, typed_countries
from web.resources import resources


class Limit(StrEnum):
    """The choices of the form for the destinations that a trunk may call: Germany, EU and EEA, all, or a typed list."""

    GERMANY = "germany"
    EEA = "eea"
    ALL = "all"
    OWN = "own"


class DestinationsForm(Form):  # type: ignore[misc]
    """The form that chooses which destinations a trunk may call.

    `countries` is the typed list of countries, used only with the choice `OWN`. `asks`: the form shows the checkbox
    (`confirmed`) that confirms high-risk destinations.
    """

    limit = RadioField(
        lazy_gettext("Destinations of outgoing calls"),
        choices=[
            SelectChoice(Limit.GERMANY, lazy_gettext("Germany only")),
            SelectChoice(Limit.EEA, lazy_gettext("EU and EEA")),
            SelectChoice(Limit.ALL, lazy_gettext("All countries")),
            SelectChoice(Limit.OWN, lazy_gettext("Own list")),
        ],
        validate_choice=False,
        validators=[AnyOf(list(Limit), message=lazy_gettext("Choose the destinations."))],
    )
    countries = StringField(lazy_gettext("Countries of the own list"), validators=[Length(max=2000)])
    high_risk = BooleanField(lazy_gettext("Allow high-risk destinations"))
    confirmed = BooleanField(
        lazy_gettext("I allow this trunk to call high-risk destinations, and know what it may cost.")
    )
    asks = False

    def limits(self) -> CallLimits | None:
        """Validate the form and return the chosen destinations; None if it is invalid, with errors at its fields."""
        if not self.validate():
            return None
        chosen = Limit(self.limit.data)
        countries: tuple[str, ...] | None = None
        if chosen is Limit.OWN:
            found, unknown = typed_countries(self.countries.data or "")
            if unknown:
                add_error(self.countries, _("We do not know these countries: %(names)s", names=", ".join(unknown)))
                return None
            if not found:
                add_error(self.countries, _("Enter at least one country."))
                return None
            countries = tuple(found)
        elif chosen is not Limit.ALL:
            countries = GERMANY if chosen is Limit.GERMANY else EEA
        return CallLimits(countries, self.high_risk.data, self.confirmed.data)

    def add_rule_error(self, error: InvalidField) -> None:
        """Add the error that `change_limits` raised, as a text, to the field of the form that is wrong.

        For the code `high_risk` the form then shows the checkbox that confirms high-risk destinations.
        """
        match error.code:
            case "high_risk":
                self.asks = True
                add_error(self.confirmed, _("Confirm that this trunk may call high-risk destinations."))
            case "forwardings_outside" if isinstance(error.allowed, list):
                targets = ", ".join(number_text(target) for target in error.allowed)
                text = _("Call forwardings lead elsewhere: %(targets)s. Change or remove them first.", targets=targets)
                add_error(self.limit, text)
            case _other:
                add_error(self.countries, _("An own list has %(most)s countries at most.", most=error.allowed))


@locations.route("/<string(length=7):customer_number>/sip/<int:id>/ziele", methods=["GET", "POST"])
@login_required
def destinations(customer_number: str, id: int) -> Response | str | tuple[str, int]:
    """Show the form for the destinations that the SIP trunk `id` may call; on a valid POST save them.

    The POST redirects to the account's dashboard; an invalid one shows the form with its errors, with status 422. Abort
    with 404 unless the account is active and the user is an administrator of it or of its main account.
    """
    account, trunk = get_visible_trunk(customer_number, id, Action.ALLOW_DESTINATIONS)
    if account.state is not AccountState.ACTIVE:
        abort(404)
    form = DestinationsForm(request.form if request.method == "POST" else None, data=_values_of(trunk))
    if request.method == "POST" and (limits := form.limits()) is not None:
        try:
            with resources().database.transaction() as database:
                own = database.get_one(Account, account.id)
                change_limits(database, principal(), own, id, limits, resources().clock())
        except InvalidField as error:
            form.add_rule_error(error)
        else:
            flash(_("Saved. It applies to the next call."))
            return redirect(url_for("locations.show", customer_number=customer_number), 303)
    is_foreign = through_main(principal(), Action.ALLOW_DESTINATIONS, account) is not None
    facts = {"account": account, "trunk": trunk, "form": form, "is_foreign": is_foreign}
    page = render_template("telephony/trunk/destinations.html", **facts)
    return page, 422 if form.errors else 200


def _values_of(trunk: SipTrunk) -> dict[str, object]:
    countries = trunk.countries
    if countries is None:
        return {"limit": Limit.ALL, "high_risk": trunk.high_risk}
    whole = {frozenset(GERMANY): Limit.GERMANY, frozenset(EEA): Limit.EEA}
    limit = whole.get(frozenset(countries), Limit.OWN)
    return {
        "limit": limit,
        "countries": names_text(countries) if limit is Limit.OWN else "",
        "high_risk": trunk.high_risk,
    }
