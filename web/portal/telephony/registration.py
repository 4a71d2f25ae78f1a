"""Whether a trunk is registered, and what became of its calls: so that a local team can see why it does not ring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, render_template
from flask_login import login_required
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.errors import DomainError
from models.people.audit_log import record_look
from models.people.rights import Action, may
from models.states import AccountState
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from web.portal.page.live_updates import Live, live_parts
from web.portal.page.session import principal
from web.portal.telephony.registration_text import advice_text, result_text, shown_number
from web.resources import resources
from web.telephone_network import Line, NetworkAway

telephone = Blueprint("telephone", __name__)

_PAGE = "/standortverwaltung/<string(length=7):customer_number>/sip/<int:id>/anrufe"


@dataclass(frozen=True, slots=True)
class Seen:
    """A trunk, its account, and what this person may do about it."""

    account: Account
    trunk: SipTrunk
    allowed: frozenset[Action]


@telephone.get(_PAGE)
@login_required
def show(customer_number: str, id: int) -> str:
    """Where the trunk is registered, when it was refused last, and its last calls."""
    seen = _see(customer_number, id)
    return render_template("telephony/registration/show.html", seen=seen, live=_live(seen))


@telephone.get(_PAGE + "/stand")
@login_required
def live(customer_number: str, id: int) -> Response:
    """What of the page may have changed; 304 if nothing has since the version that the browser names."""
    return _live(_see(customer_number, id)).answer()


def lines_of(trunks: Sequence[SipTrunk]) -> Mapping[int, Line] | None:
    """How the trunks stand, by id; None if the telephone network does not answer. Not within a transaction."""
    network = resources().network
    if network is None or not trunks:
        return {}
    try:
        found = network.lines([(trunk.sip_user, trunk.domain) for trunk in trunks])
    except NetworkAway:
        return None
    return {trunk.id: found[trunk.sip_user, trunk.domain] for trunk in trunks}


def _see(customer_number: str, id: int) -> Seen:
    """Not found for whom it is none of their business. A look from the main account is written down."""
    if resources().network is None:
        abort(404)
    person = principal()
    with resources().database.transaction() as database:
        account = account_by_number(database, customer_number)
        if account is None or account.state is AccountState.CLOSED:
            abort(404)
        try:
            trunk = find_trunk(database, person, Action.SEE_CALLS, account, id)
        except DomainError:
            abort(404)
        record_look(database, person, account, resources().clock())
    return Seen(account, trunk, frozenset(action for action in Action if may(person, action, account)))


def _live(seen: Seen) -> Live:
    network, trunk = resources().network, seen.trunk
    assert network is not None
    try:
        line, calls = network.line_with_calls((trunk.sip_user, trunk.domain))
    except NetworkAway:
        line, calls = None, []
    facts = {
        "seen": seen,
        "line": line,
        "calls": [(call, result_text(call), advice_text(call)) for call in calls],
        "shown_number": shown_number,
    }
    return live_parts("telephony/registration", ("registration", "calls"), facts)
