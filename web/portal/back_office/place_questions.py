"""The pages on which staff answer questions whether an address lies in an Ortsnetz (local exchange area).

Such a question is open while it is not known whether the area code of an order fits its address.
"""

from __future__ import annotations

from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext
from flask_wtf import FlaskForm
from werkzeug.exceptions import NotFound as PageNotFound
from werkzeug.wrappers import Response
from wtforms import RadioField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired

from models.errors import NotFound
from models.staff.place_questions import answer_place_question, answer_version, find_question
from models.staff.request_actions import SeenOtherwise
from models.telephony.place_answers import answered_questions, open_questions
from web.portal.back_office.requests_and_jobs import office
from web.portal.back_office.searches import record_waiting_orders
from web.portal.page.login_session import principal
from web.resources import resources

YES, NO = "yes", "no"
SHOWN = 100
"""Maximum number of open questions, and of answers, that the list shows."""


class AnswerForm(FlaskForm):  # type: ignore[misc]
    """The form in which staff answer whether an address lies in an Ortsnetz (local exchange area).

    Nothing is preselected.
    """

    answer = RadioField(
        lazy_gettext("Does the address lie in this Ortsnetz?"),
        choices=[
            SelectChoice(YES, lazy_gettext("Yes")),
            SelectChoice(NO, lazy_gettext("No")),
        ],
        validators=[DataRequired(lazy_gettext("Choose yes or no."))],
    )


@office.get("/vorwahlen")
def places() -> str:
    """Show the open questions whether an address lies in an Ortsnetz (local exchange area), and the last answers.

    The question that has been open longest comes first. The page shows up to 100 questions and 100 answers (`SHOWN`),
    each answer with its author and time.
    """
    with resources().database.transaction() as session:
        asked = open_questions(session, SHOWN)
        answered = answered_questions(session, SHOWN)
    return render_template("back_office/place_questions.html", asked=asked, answered=answered)


@office.route("/vorwahlen/<uuid:id>", methods=["GET", "POST"])
def place(id: UUID) -> Response | str | tuple[str, int]:
    """Show the form to answer the question `id` whether an address lies in an Ortsnetz; on POST save the answer.

    An Ortsnetz is a local exchange area. The page shows the orders that wait for the answer; that is recorded as a view
    of each of them. A question that is answered already can be answered again. The POST redirects to the list of
    questions. A POST without an answer shows the form with an error (status 422). If somebody else has answered since
    the form was opened, nothing is saved and the form is shown with that answer (status 409). Abort with 404 if there
    is no such question.
    """
    form = AnswerForm()
    try:
        with resources().database.transaction() as session:
            if form.validate_on_submit():
                fits = form.answer.data == YES
                seen = request.form.get("seen", -1, type=int)
                answered = answer_place_question(session, principal(), id, resources().clock(), fits=fits, seen=seen)
                orders = len(answered)
            else:
                question = find_question(session, principal(), id)
                record_waiting_orders(session, question.orders)
    except NotFound:
        raise PageNotFound from None
    except SeenOtherwise:
        return _answered_meanwhile(id, form)
    if request.method == "POST" and not form.errors:
        flash(_("The answer is saved and holds for later orders too.") + " " + _orders_text(orders, fits=fits))
        return redirect(url_for("office.places"), 303)
    seen = request.form.get("seen", answer_version(question.place), type=int)
    page = render_template("back_office/place_question.html", question=question, form=form, seen=seen)
    return page, 422 if form.errors else 200


def _answered_meanwhile(id: UUID, form: AnswerForm) -> tuple[str, int]:
    """Show the form for the question `id` again (status 409), because somebody else has answered since it was opened.

    The page shows that answer. The choice in `form` stays selected, and can be sent again.
    """
    with resources().database.transaction() as session:
        question = find_question(session, principal(), id)
        record_waiting_orders(session, question.orders)
    seen = answer_version(question.place)
    return render_template(
        "back_office/place_question.html", question=question, form=form, seen=seen, is_late=True
    ), 409


def _orders_text(orders: int, *, fits: bool) -> str:
    if fits:
        said: str = ngettext("%(num)s running order goes on.", "%(num)s running orders go on.", orders)
    else:
        said = ngettext("%(num)s running order is rejected.", "%(num)s running orders are rejected.", orders)
    return said
