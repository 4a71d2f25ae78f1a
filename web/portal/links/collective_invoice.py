"""The page on which a sub-account joins or leaves the collective invoice of its main account.

A collective invoice is one invoice for several customer numbers, which the main account pays.
"""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import PasswordField, RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length

from models.accounts.accounts import Account
from models.errors import AlreadyRequested, InvalidField, NotAwaited, RuleBroken, TooEarly
from models.links.collective_invoices import BilledElsewhere, OtherPayer
from models.links.invoice_membership import (
    BillingView,
    JoiningProof,
    answer_offer,
    billing_view,
    join_invoice,
    leave_invoice,
    offer_invoice,
    withdraw_offer,
)
from models.proofs.ownership import Credentials
from tasks.wording.fields import field_error
from tasks.wording.reasons import reason_text
from web.portal.page.account_access import VisibleAccount, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.form_errors import add_error, too_often_text
from web.portal.page.known_browsers import this_browser
from web.portal.page.locale import locale, moment
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip
from web.resources import resources


class InvoiceForm(FlaskForm):  # type: ignore[misc]
    """The form of the page, for joining and for leaving the collective invoice.

    `email` and `password` are the login of an administrator of the sub-account, which may be needed to join. `stays`
    says whether the sub-account stays linked to its main account after leaving.
    """

    email = StringField(
        lazy_gettext("E-mail address of the other login"), filters=[strip], validators=[Length(max=254)]
    )
    password = PasswordField(lazy_gettext("Password of the other login"), validators=[Length(max=1024)])
    stays = RadioField(
        lazy_gettext("After that"),
        choices=[
            SelectChoice("yes", lazy_gettext("It stays linked to the main account")),
            SelectChoice("no", lazy_gettext("It is detached from the main account")),
        ],
        validate_choice=False,
    )

    @property
    def login(self) -> Credentials | None:
        """Return the typed login; None if it is not complete."""
        if not self.email.data or not self.password.data:
            return None
        return Credentials(self.email.data, self.password.data)


@locations.route("/<string(length=7):customer_number>/sammelrechnung", methods=["GET", "POST"])
@login_required
def collective_invoice(customer_number: str) -> Response | str | tuple[str, int]:
    """Show whether the account is on the collective invoice of its main account, and what the user can do about it.

    On POST do what the form field `what` says: "join", "offer" (ask the account's administrators to join), "withdraw"
    (that offer), "agree" or "decline" (answer the offer), or "leave". Then redirect to the account's dashboard with a
    message; if a rule forbids the action, the message says why. A wrong login shows the form with its error (status
    422), and so does "leave" without the choice whether the account stays linked. After too many wrong logins the
    answer is 429. Abort with 404 if the user can do none of these, or for another value of `what`.
    """
    form = InvoiceForm()
    with resources().database.transaction() as database:
        visible = get_visible_account(database, customer_number)
        view = billing_view(database, principal(), visible.account, resources().clock())
    if not (view.joins or view.answers or view.leaves):
        abort(404)
    if not form.validate_on_submit():
        return _render(visible, view, form)
    what = request.form.get("what", "")
    if what == "leave" and form.stays.data not in ("yes", "no"):
        add_error(form.stays, _("Choose what happens to the account after that."))
        return _render(visible, view, form)
    # Every typed login counts, also where none is asked for.
    if what == "join" and (form.login is not None or view.joins is JoiningProof.ASKED):
        if form.login is None:
            for field in (form.email, form.password):
                if not field.data:
                    add_error(field, _("Enter the login of an administrator of the account."))
            return _render(visible, view, form)
        resources().throttle.begin_password_try(form.login.email, this_browser(form.login.email))
    try:
        with resources().database.transaction() as database:
            said = _act(database, database.get_one(Account, visible.account.id), what, form)
    except (AlreadyRequested, BilledElsewhere, InvalidField, NotAwaited, OtherPayer, RuleBroken, TooEarly) as error:
        flash(_refused(error, what), "warning")
    else:
        if said is None:
            resources().throttle.count_wrong_try()
            add_error(
                form.email,
                _("This login is not right, not an administrator's of this account, or has a second factor."),
            )
            return _render(visible, view, form)
        flash(said)
    return redirect(url_for("locations.show", customer_number=customer_number), 303)


def _act(database: Session, account: Account, what: str, form: InvoiceForm) -> str | None:
    """Do what the pressed button says (`what`), and return the message to show; None if the typed login is wrong.

    Raises `Forbidden` if the user may not do that, `BilledElsewhere` if the account is on another collective invoice,
    and `OtherPayer` if another main account pays the invoice. If another rule forbids the action, raises that rule's
    error of `models.errors`. Aborts with 404 if no button has the value `what`.
    """
    person, now = principal(), resources().clock()
    match what:
        case "join":
            if not join_invoice(database, resources().vault, person, account, form.login, now):
                return None
            return str(_("The account is on the collective invoice now."))
        case "offer":
            offer_invoice(database, person, account, now)
            return str(_("The administrators of the account are asked by e-mail."))
        case "withdraw":
            withdraw_offer(database, person, account, now)
            return str(_("The question is taken back."))
        case "agree" | "decline":
            answer_offer(database, person, account, now, agrees=what == "agree")
            if what == "agree":
                return str(_("The account is on the collective invoice now."))
            return str(_("You have declined. The administrators of the main account get an e-mail."))
        case "leave":
            stays = form.stays.data == "yes"
            leave_invoice(database, person, account, locale(), now, stays_linked=stays)
            if stays:
                return str(_("The account is billed by itself from now on, and stays linked."))
            return str(_("The account is billed by itself from now on, and is being detached."))
    abort(404)


def _refused(error: Exception, what: str) -> str:
    """Return a sentence that says why the action of the button `what` is not possible, for the error that it raised."""
    match error:
        case RuleBroken(reason=reason):
            return reason_text(reason, locale())
        case InvalidField(field=field, code=code, allowed=allowed):
            return field_error(locale(), field, code, allowed)
        case TooEarly() as early if what == "offer":
            said = _("The administrators have been asked often enough. They can be asked again from %(moment)s.",
                     moment=moment(early.again_at))  # fmt: skip
            return str(said)
        case TooEarly() as early:
            return too_often_text(early)
        case NotAwaited():
            return str(_("There is no question to answer any more."))
        case AlreadyRequested():
            return str(_("The account is being detached already."))
    return str(_("The account is on another collective invoice. Our customer service can help."))


def _render(visible: VisibleAccount, view: BillingView, form: InvoiceForm) -> tuple[str, int]:
    page = render_template("links/collective_invoice.html", visible=visible, view=view, form=form)
    return page, 422 if form.errors else 200
