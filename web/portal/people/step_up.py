"""The check that asks for the second factor: once in each login, and again before actions that are hard to undo.

`ASKED_AGAIN` has the endpoints that ask again, unless the factor was proved in the last ten minutes. A user without a
second factor is not asked. If the company (or, for staff, the carrier) requires one, most pages redirect such a user to
the page where a factor is set up.
"""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from flask_login import current_user, login_required
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.people.login_sessions import note_factor
from models.people.second_factors import PROOF_LASTS
from models.people.users import User
from web.portal.page.kept_input import local_page, open_input, owner_of_form, seal_input, sent_input
from web.portal.page.login_session import principal
from web.portal.people.factor_form import FactorForm, proved
from web.portal.people.passkey_site import passkey_question
from web.portal.people.sign_in import go_on, people
from web.portal.people.step_up_titles import step_title
from web.resources import resources

ASKED_AGAIN = frozenset({
    # Roles, invitations, and tokens that act for a person.
    "users.edit", "users.remove", "users.ask", "users.invite_again", "users.make_token", "office.administrator",
    "office.reset_factors",
    "users.company_factor", "users.approval_limit",
    # What decides about accounts and numbers, and in whose name a contract is.
    "link_codes.create", "consents.answer", "locations.detach", "locations.release", "locations.contract_holder",
    "locations.cancel_contracts", "locations.collective_invoice",
    # What a second person lets through.
    "approvals.decide", "approvals.decide_file_orders",
    # What attaches an account, which then belongs to others, too: one by one, by a proof given later, and by file.
    "links.send", "answers.enter_link_code", "answers.enter_credentials", "bulks.send",
    # Where calls go: a forwarding takes them away from the company, and calls abroad cost it without end.
    "forwardings.add", "forwardings.edit", "locations.destinations",
    # Passwords of trunks, and the login itself.
    "locations.secret", "locations.renew_secret", "logins.change", "logins.set_up_app", "logins.set_up_passkey",
    "logins.remove_own_factor", "logins.renew_codes", "logins.own_data", "logins.erase",
})  # fmt: skip
"""The endpoints before which the second factor is asked for again, unless it was proved in the last ten minutes."""

_OPEN_WITHOUT_FACTOR = frozenset({
    "static", "people", "health", "letters", "emails", "consents.answer_by_code", "dev_mail", "carrier", "typeface",
    "users.invitation", "logins.forgotten", "logins.asked", "logins.reset",
})  # fmt: skip
_OPEN_FOR_SET_UP = frozenset({
    "logins.overview", "logins.set_up_app", "logins.set_up_passkey", "logins.change", "logins.end", "logins.end_others",
})  # fmt: skip


@people.before_app_request
def ask_for_factor() -> Response | tuple[str, int] | None:
    """Ask for the user's second factor before a page that needs it; return None if the page may be shown.

    A user who is required to have a factor and has none is redirected to the page where it is set up. A request that
    sent a form is answered with the page that asks for the factor (status 401), which keeps the form's input.
    """
    endpoint, blueprint = request.endpoint or "", request.blueprint or ""
    if not _OPEN_WITHOUT_FACTOR.isdisjoint((endpoint, blueprint)) or request.path.startswith("/api/"):
        return None
    if not current_user.is_authenticated:
        return None
    if current_user.has_factor:
        return _ask() if _has_to_prove(endpoint) else None
    if endpoint in _OPEN_FOR_SET_UP or current_user.factor_required_from is None:
        return None
    if resources().clock() < current_user.factor_required_from:
        return None
    return redirect(url_for("logins.overview"))


@people.route("/anmeldung/bestaetigen", methods=["GET", "POST"])
@login_required
def confirm() -> Response | str | tuple[str, int]:
    """Ask for the user's second factor; on POST with the right code redirect to the page in the query parameter `next`.

    Without `next`, redirect to the overview. A user without a factor is redirected at once. If the question for the
    factor has interrupted the sending of another form, show a page that offers to send that form's input again. A wrong
    code shows the form with an error (status 422); after too many, the answer is 429.
    """
    if not current_user.has_factor:
        return go_on()
    form = FactorForm()
    with resources().database.transaction() as session:
        user = session.get_one(User, principal().user_id)
    if proved(form, user, _note_proof) is None:
        sealed, back = request.form.get("kept", ""), local_page(request.args.get("next"))
        return _page(form, sealed, back), 422 if form.errors else 200
    return go_on()


def _note_proof(session: Session, _user: User) -> bool:
    note_factor(session, current_user.login_id, resources().clock())
    return True


def _has_to_prove(endpoint: str) -> bool:
    if current_user.factor_at is None:
        return True
    return endpoint in ASKED_AGAIN and resources().clock() >= current_user.factor_at + PROOF_LASTS


def _ask() -> Response | tuple[str, int]:
    if request.method in ("GET", "HEAD"):
        return redirect(url_for("people.confirm", next=local_page(request.full_path.removesuffix("?"))))
    kept = sent_input()
    sealed = seal_input(kept, principal().user_id) if owner_of_form() == principal().user_id else None
    return _page(FactorForm(formdata=None), sealed or "", kept.back), 401


def _page(form: FactorForm, sealed: str, back: str | None) -> str:
    question = passkey_question(principal().user_id)
    found = open_input(sealed) if sealed else None
    step = step_title(found[0].path if found is not None else back)
    return render_template("people/confirm.html", form=form, question=question, sealed=sealed, back=back, step=step)
