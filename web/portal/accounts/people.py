"""Reads what an account's dashboard shows about its people: users, open invitations, a new administrator's first steps.

First steps are what a new administrator should do, such as setting up a call forwarding; some may be done already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.orders.local_user import reaches_sub_accounts
from models.people.audit_log import AuditEvent, done_since, last_done
from models.people.invitations import Invitation, handled_by, invitations_of
from models.people.members import users_of
from models.people.rights import Action, Principal, Role, may
from models.people.users import User
from models.requests.requests import Request
from models.states import AccountRole, AccountState
from models.telephony.forwarding import forwardings_of
from models.telephony.holdings import trunks_of
from models.telephony.trunks import SipTrunk
from web.portal.people.missing_administrator import not_administered_text

SHOWN_FOR = timedelta(days=14)
"""How long after joining an account a new administrator sees the first steps."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """Who has done one of the first steps that the dashboard proposes to a new administrator, and when.

    `is_own`: the signed-in person has done it. `name` is the name of the user who has done it, `at` the time. Both are
    None if the audit log has no entry to show, for example for a forwarding that came with the order.
    """

    is_own: bool = False
    name: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """The first steps that the dashboard proposes to a new administrator of a sub-account.

    The steps are `secret` (read the SIP password), `forwarding` (set up a call forwarding) and `colleagues` (invite
    others). Each says who has done it; None if it was not done yet. `trunk` is the account's first trunk, None if it
    has none. `others` are the names of the account's other users and of invited people.
    """

    trunk: SipTrunk | None
    secret: StepDone | None
    forwarding: StepDone | None
    colleagues: StepDone | None
    others: Sequence[str]


@dataclass(frozen=True, slots=True)
class People:
    """The people of an account as its dashboard shows them to the signed-in person.

    `users` has each user with their role. `invited` has each open invitation, and whether the person may send it again
    or withdraw it; empty if the person may not invite. `coming` is the name of the person whom the account's running
    order will invite, None if nobody. `not_administered` is a text that says why nobody can administer the account,
    None if somebody can. `may_name`: the person is one of the carrier's staff and may name an administrator.
    `first_steps` are the steps proposed to a new administrator of a sub-account; None if all are done, and for
    everybody else.
    """

    users: Sequence[tuple[User, Role]]
    invited: Sequence[tuple[Invitation, bool]]
    coming: str | None
    not_administered: str | None
    may_name: bool
    first_steps: FirstSteps | None


def people_of(
    session: Session, person: Principal, account: Account, running: Sequence[Request], now: datetime
) -> People:
    """Return the users, open invitations and first steps of the account, as `person` may see them.

    `running` are the running requests about the account.
    """
    users = users_of(session, account)
    invitations = invitations_of(session, account) if may(person, Action.INVITE_USERS, account) else []
    handled = handled_by(session, person, account, invitations)
    administrators = sum(role is Role.ADMINISTRATOR for _, role in users)
    is_active = account.state is AccountState.ACTIVE
    return People(
        users,
        [(invitation, invitation.id in handled) for invitation in invitations],
        _coming(session, running),
        not_administered_text(session, account, now),
        is_active and administrators <= 1 and may(person, Action.OPERATE, account),
        _first_steps(session, person, account, users, invitations, now),
    )


def _coming(session: Session, running: Sequence[Request]) -> str | None:
    """Return the name of the local user whom a running order will invite; None if no running order invites anybody.

    A local user who already reaches the account by a role in its main account is not invited.
    """
    for found in running:
        if found.local_user_email and not reaches_sub_accounts(session, found.main_id, found.local_user_email):
            return found.local_user_name
    return None


def _first_steps(
    session: Session,
    person: Principal,
    account: Account,
    users: Sequence[tuple[User, Role]],
    invitations: Sequence[Invitation],
    now: datetime,
) -> FirstSteps | None:
    if account.role is not AccountRole.SUB or person.roles.get(account.id) is not Role.ADMINISTRATOR:
        return None
    if not done_since(session, account, [AuditEvent.USER_JOINED], now - SHOWN_FOR, by=person.user_id):
        return None
    others = [user.name for user, _ in users if user.id != person.user_id]
    others += [invitation.name for invitation in invitations]
    secret = _done(session, person, account, AuditEvent.SECRET_SEEN, AuditEvent.SECRET_RENEWED)
    forwarding = _done(session, person, account, AuditEvent.FORWARDING_ADDED, AuditEvent.FORWARDING_CHANGED)
    invited = _done(session, person, account, AuditEvent.USER_INVITED)
    steps = FirstSteps(
        next(iter(trunks_of(session, account)), None),
        secret,
        (forwarding or StepDone()) if forwardings_of(session, account) else None,
        (invited if invited is not None and invited.is_own else StepDone()) if others else None,
        others,
    )
    return None if steps.secret and steps.forwarding and steps.colleagues else steps


def _done(session: Session, person: Principal, account: Account, *deeds: AuditEvent) -> StepDone | None:
    """Return who has done one of the actions `deeds` in the account, when, and whether that is `person`.

    The answer is the newest entry of these kinds in the account's audit log; None if there is none. If `person` has
    such entries, it is the newest of these, even if somebody else has a newer one.
    """
    found = last_done(session, account, deeds, first_of=person.user_id)
    if found is None:
        return None
    name = found.user.name if found.user is not None else None
    return StepDone(found.entry.user_id == person.user_id, name, found.entry.at)
