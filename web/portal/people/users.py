"""The pages on which administrators manage the users of an account, and the page behind an invitation's link."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from flask_babel.speaklater import LazyString
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import RadioField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired

from models.accounts.accounts import Account, account_by_number
from models.accounts.company_limits import Limits
from models.errors import (
    AlreadyInvited,
    AlreadyUser,
    BeingErased,
    Forbidden,
    LastAdministrator,
    LimitReached,
    NotFound,
    OfMainAccount,
    PasswordGuessable,
    PasswordMissing,
    TooManyInvitations,
)
from models.people.invitation_acceptance import accept, find_invitation, invited_user
from models.people.invitations import invitations_of, invite, renew, roles_to_offer, withdraw
from models.people.members import change_role, managed_accounts, remove_user, users_of
from models.people.rights import RIGHTS, Action, Role, may
from models.people.sign_in_log import SignedInBy, record_sign_in
from models.people.users import User, administrators_of, people_of_main
from models.proofs.consent_reach import wake_questions
from models.states import AccountRole
from tasks.wording.company_limits import limit_text
from tasks.wording.labels import role_text
from web.portal.page.account_access import ensure_right
from web.portal.page.browser_names import here
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.page.login_session import create_login, principal, start_session
from web.portal.people.passwords import NewPasswordForm, add_guessable
from web.portal.people.person_form import PersonForm
from web.resources import resources

users = Blueprint("users", __name__)

ROLE_NAMES = {role: LazyString(lambda role: role_text(role, locale()), role) for role in Role}
ROLE_MEANINGS = {
    Role.ADMINISTRATOR: lazy_gettext("May do everything, also invite users."),
    Role.LOCATION_MANAGER: lazy_gettext(
        "Orders, changes, links and detaches locations, and sees all their dashboards."
    ),
    Role.LOCAL_MEMBER: lazy_gettext("Minds call forwarding at the location."),
}


class RoleForm(FlaskForm):  # type: ignore[misc]
    """The form for a user's role in an account."""

    role = RadioField(
        lazy_gettext("Role"),
        choices=[SelectChoice(role, name) for role, name in ROLE_NAMES.items()],
        validators=[DataRequired(lazy_gettext("Choose a role."))],
    )


class InviteForm(PersonForm, RoleForm):
    """The form that invites a person to become a user of an account: name, e-mail address and role."""


@users.get("/benutzer")
@login_required
def overview() -> Response:
    """Redirect to the list of users of the first account that the user administers; abort with 404 if there is none."""
    with resources().database.transaction() as session:
        accounts = managed_accounts(session, principal())
    if not accounts:
        abort(404)
    return redirect(url_for("users.listed", customer_number=accounts[0].customer_number))


@users.get("/benutzer/<customer_number>")
@login_required
def listed(customer_number: str) -> str:
    """Show the users of the account with their roles, and the open invitations.

    Abort with 404 unless the user administers the account.
    """
    with resources().database.transaction() as session:
        account, others = _account(session, customer_number)
        found = users_of(session, account)
        invitations = invitations_of(session, account)
        above = people_of_main(session, account)
    return render_template(
        "people/users/overview.html",
        account=account,
        others=others,
        listed=found,
        invitations=invitations,
        above=above if principal().user_id not in above else set(),
        role_names=ROLE_NAMES,
        person=principal(),
        now=resources().clock(),
    )


@users.route("/benutzer/<customer_number>/einladen", methods=["GET", "POST"])
@login_required
def ask(customer_number: str) -> Response | tuple[str, int]:
    """Show the form that invites a user to the account; on a valid POST send the invitation and redirect.

    The redirect leads to the list of users, or to the account's dashboard if the user may not see that list. Show the
    form with an error (status 422) if the invited person is a user of the account already, or if a limit on invitations
    is reached. The same applies if the person was invited already by people whose invitation the user may not replace.
    Abort with 404 unless the user may invite people to the account.
    """
    form = InviteForm()
    with resources().database.transaction() as session:
        account, roles = _invitable(session, customer_number)
        led = bool(administrators_of(session, account.id))
    form.role.choices = [SelectChoice(role, ROLE_NAMES[role]) for role in roles]
    if not led and not form.is_submitted():
        form.role.data = Role.ADMINISTRATOR
    if form.validate_on_submit():
        to = form.recipient(locale())
        try:
            with resources().database.transaction() as session:
                own, _ = _invitable(session, customer_number)
                invite(session, principal(), own, to, Role(form.role.data), resources().clock(), _usual())
        except AlreadyUser:
            add_error(form.email, gettext("This person is a user of the account already."))
        except AlreadyInvited:
            add_error(
                form.email, gettext("This person was invited already, by the local team or our customer service.")
            )
        except TooManyInvitations as error:
            add_error(form.email, _too_many(error))
        except LimitReached as reached:
            add_error(form.email, limit_text(reached, locale()))
        else:
            flash(gettext("The invitation to %(email)s is on its way.", email=to.address))
            return _back_to_people(account)
    page = render_template(
        "people/users/invite.html",
        form=form,
        account=account,
        led=led,
        meanings=ROLE_MEANINGS,
        back=_people_url(account),
    )
    return page, 422 if form.errors else 200


@users.post("/benutzer/<customer_number>/einladungen/<int:id>/zurueckziehen")
@login_required
def withdraw_invitation(customer_number: str, id: int) -> Response:
    """Withdraw the invitation `id`, so that its link becomes invalid, and redirect to the users of the account.

    Abort with 404 unless the user may invite to the account and may withdraw this invitation.
    """
    with resources().database.transaction() as session:
        account, _ = _invitable(session, customer_number)
        withdraw(session, principal(), account, id, resources().clock())
    flash(gettext("The invitation is withdrawn."))
    return _back_to_people(account)


@users.post("/benutzer/<customer_number>/einladungen/<int:id>/neu")
@login_required
def invite_again(customer_number: str, id: int) -> Response:
    """Send the invitation `id` again, with a new link, and redirect to the users of the account.

    Redirect with a warning if the invitation cannot be sent now. Abort with 404 unless the user may invite to the
    account and may send this invitation again.
    """
    with resources().database.transaction() as session:
        account, _ = _invitable(session, customer_number)
    try:
        with resources().database.transaction() as session:
            own = session.get_one(Account, account.id)
            sent = renew(session, principal(), own, id, resources().clock(), _usual())
    except TooManyInvitations as error:
        flash(_too_many(error), "warning")
    except LimitReached as reached:
        flash(limit_text(reached, locale()), "warning")
    except AlreadyUser:
        flash(gettext("This person is a user of the account already."), "warning")
    except Forbidden:
        said = gettext("The account has an administrator of its own now, who alone can invite further administrators.")
        flash(said, "warning")
    else:
        flash(gettext("The invitation to %(email)s is on its way.", email=sent.email))
    return _back_to_people(account)


@users.route("/benutzer/<customer_number>/<int:user_id>", methods=["GET", "POST"])
@login_required
def edit(customer_number: str, user_id: int) -> Response | tuple[str, int]:
    """Show the form for the role of the user `user_id` in the account; on POST change the role and redirect.

    The redirect leads to the list of users, or to the overview after a change of the signed-in user's own role. If the
    account would have no administrator, show the form with an error and status 422. If the user `user_id` also has a
    role in the main account, only people of the main account can change the role: for others nothing is changed, and
    the redirect shows a message. Abort with 404 unless the signed-in user administers the account and `user_id` is one
    of its users.
    """
    account, user, role = _member(customer_number, user_id)
    form = RoleForm(role=role)
    if form.validate_on_submit():
        try:
            with resources().database.transaction() as session:
                own = session.get_one(Account, account.id)
                change_role(session, principal(), own, user_id, Role(form.role.data), resources().clock())
        except OfMainAccount:
            return _refuse_above(account, user)
        except LastAdministrator:
            add_error(form.role, gettext("An account keeps at least one administrator. Name another one first."))
        else:
            flash(gettext("The role of %(name)s is changed.", name=user.name))
            return _redirect_after_change(customer_number, user_id)
    page = render_template("people/users/edit.html", form=form, account=account, user=user, meanings=ROLE_MEANINGS)
    return page, 422 if form.errors else 200


@users.route("/benutzer/<customer_number>/<int:user_id>/entfernen", methods=["GET", "POST"])
@login_required
def remove(customer_number: str, user_id: int) -> Response | tuple[str, int]:
    """Ask whether to remove the user `user_id` from the account; on POST remove the user and redirect.

    The redirect leads to the list of users, or to the overview if the signed-in user is removed. Show the page with
    status 409 if the account would have no administrator. If the user `user_id` also has a role in the main account,
    only people of the main account can remove the user: for others nothing is changed, and the redirect shows a
    message. Abort with 404 unless the signed-in user administers the account and `user_id` is one of its users.
    """
    account, user, role = _member(customer_number, user_id)
    refused = False
    if request.method == "POST":
        try:
            with resources().database.transaction() as session:
                own = session.get_one(Account, account.id)
                remove_user(session, principal(), own, user_id, resources().clock())
        except OfMainAccount:
            return _refuse_above(account, user)
        except LastAdministrator:
            refused = True
        else:
            flash(gettext("%(name)s is no user of this account any more.", name=user.name))
            return _redirect_after_change(customer_number, user_id)
    page = render_template(
        "people/users/remove.html",
        account=account,
        user=user,
        role=ROLE_NAMES[role],
        person=principal(),
        refused=refused,
    )
    return page, 409 if refused else 200


@users.route("/einladung/<int:id>/<token>", methods=["GET", "POST"])
def invitation(id: int, token: str) -> Response | tuple[str, int]:
    """Show the invitation `id` behind the link in the mail; on POST accept the invitation.

    `token` is the secret part of the link. A person without a password has to choose one and is then signed in. A
    person with a password has to sign in, unless signed in already. The POST then leads to the overview or, for a
    sub-account that the person may view, to its dashboard. A link that is wrong or no longer valid shows a page that
    says so (status 404). While the person's former login is still being erased, the status is 409.
    """
    if request.method == "POST":
        return _accept(id, token, NewPasswordForm())
    return _show_invitation(id, token, NewPasswordForm())


def _accept(id: int, token: str, form: NewPasswordForm) -> Response | tuple[str, int]:
    now = resources().clock()
    password = form.password.data if form.validate() else None
    try:
        with resources().database.transaction() as session:
            found = find_invitation(session, resources().vault, id, token, now, lock=True)
            # The invitation opens its account, and goes when it is accepted.
            account = session.get_one(Account, found.account_id)
            wake_questions(session, account, now)
            session.flush()
            user, is_new = accept(session, found, password, now)
            person = None
            if is_new:
                person = create_login(session, user)
                record_sign_in(session, user, SignedInBy.INVITATION, here(), now)
    except PasswordGuessable:
        add_guessable(form.password)
        return _show_invitation(id, token, form)
    except BeingErased:
        return render_template("people/users/invitation_early.html"), 409
    except PasswordMissing:
        return _show_invitation(id, token, form)
    except NotFound:
        return render_template("people/users/invitation_invalid.html"), 404
    # The dashboard of a location says what its team needs first.
    sees = account.role is AccountRole.SUB and Action.VIEW in RIGHTS[found.role]
    target = url_for("locations.show", customer_number=account.customer_number) if sees else None
    if person is not None:
        start_session(person)
        flash(gettext("Welcome, %(name)s. Your login is ready.", name=person.principal.name))
    elif current_user.is_authenticated and principal().user_id == user.id:
        flash(gettext("The invitation is accepted."))
    else:
        flash(gettext("The invitation is accepted. Please sign in."))
        return redirect(url_for("people.sign_in", next=target), 303)
    return redirect(target or url_for("portal.overview"), 303)


def _show_invitation(id: int, token: str, form: NewPasswordForm) -> tuple[str, int]:
    try:
        with resources().database.transaction() as session:
            found = find_invitation(session, resources().vault, id, token, resources().clock())
            account, known = session.get_one(Account, found.account_id), invited_user(session, found)
            inviter = session.get_one(User, found.invited_by)
            by_main = inviter.id in people_of_main(session, account)
            main = session.get_one(Account, account.main_id) if account.main_id is not None and by_main else None
    except NotFound:
        return render_template("people/users/invitation_invalid.html"), 404
    page = render_template(
        "people/users/invitation.html",
        form=form,
        found=found,
        account=account,
        inviter=inviter,
        main=main,
        known=known,
        role=ROLE_NAMES[found.role],
    )
    return page, 422 if form.errors else 200


def _usual() -> Limits:
    return resources().settings.limits


def _too_many(error: TooManyInvitations) -> str:
    said: str = gettext(
        "%(limit)s invitations are open. Withdraw some, or wait until they are accepted or expire.", limit=error.limit
    )
    return said


def _account(session: Session, customer_number: str) -> tuple[Account, list[Account]]:
    """Return the account with this number, and the list of all other accounts that the user administers.

    Abort with 404 unless the user administers the account.
    """
    accounts = managed_accounts(session, principal())
    for account in accounts:
        if account.customer_number == customer_number:
            return account, [other for other in accounts if other is not account]
    ensure_right(account_by_number(session, customer_number), Action.MANAGE_USERS)
    abort(404)


def _invitable(session: Session, customer_number: str) -> tuple[Account, list[Role]]:
    """Return the account with this number, and the roles that the user may offer in an invitation to it.

    Abort with 404 if there is no such account or the user may not invite to it.
    """
    account = account_by_number(session, customer_number)
    roles = roles_to_offer(session, principal(), account) if account is not None else []
    if account is None or not roles:
        ensure_right(account, Action.INVITE_USERS)
        abort(404)
    return account, roles


def _people_url(account: Account) -> str:
    """Return the URL of the page that shows the account's users and invitations to the signed-in user.

    That is the list of users if the user administers the account, otherwise the account's dashboard.
    """
    page = "users.listed" if may(principal(), Action.MANAGE_USERS, account) else "locations.show"
    return url_for(page, customer_number=account.customer_number)


def _back_to_people(account: Account) -> Response:
    return redirect(_people_url(account), 303)


def _refuse_above(account: Account, user: User) -> Response:
    facts = {"name": user.name}
    flash(gettext("%(name)s belongs to the main account, which alone decides about its people.", **facts), "warning")
    return _back_to_people(account)


def _member(customer_number: str, user_id: int) -> tuple[Account, User, Role]:
    with resources().database.transaction() as session:
        account, _ = _account(session, customer_number)
        for user, role in users_of(session, account):
            if user.id == user_id:
                return account, user, role
    abort(404)


def _redirect_after_change(customer_number: str, user_id: int) -> Response:
    # Users who changed their own role may no longer open the list.
    own = user_id == principal().user_id
    return redirect(
        url_for("portal.overview") if own else url_for("users.listed", customer_number=customer_number), 303
    )
