"""The page on which the code from a letter is entered, which proves a connection address. It needs no login."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask_babel import gettext as _

from models.proofs.order_codes import answer_letter
from models.values import typed_customer_number
from web.portal.page.form_errors import add_error
from web.portal.proofs.forms import LetterForm
from web.resources import resources

letters = Blueprint("letters", __name__)


@letters.route("/brief", methods=["GET", "POST"])
def confirm() -> str | tuple[str, int]:
    """Show the form for the customer number and the code that are printed on a letter.

    The letter's QR code leads to this page with the customer number in the query parameter `kundennummer`. On POST with
    the right code mark the connection address as proved and show a page that says so. With a wrong code or an
    incomplete form show the form with an error (status 422). The error does not tell whether the customer number or the
    code is wrong; after too many attempts, the answer is 429.
    """
    form = LetterForm(data={"customer_number": request.args.get("kundennummer", "")})
    if not form.validate_on_submit():
        return render_template("proofs/letter.html", form=form), 422 if form.errors else 200
    number = typed_customer_number(form.customer_number.data)
    resources().throttle.begin_code_try(number or form.customer_number.data)
    with resources().database.transaction() as session:
        order = (
            answer_letter(session, resources().vault, number, form.code.data, resources().clock()) if number else None
        )
        place = order.place if order is not None else None
    if place is None:
        resources().throttle.count_wrong_try()
        add_error(form.code, _("Customer number or code is not right, or the code is not valid any more."))
        return render_template("proofs/letter.html", form=form), 422
    return render_template("proofs/letter_done.html", place=place, number=number)
