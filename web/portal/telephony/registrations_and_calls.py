"""The page of a SIP trunk that shows its registrations and latest calls, for finding faults.

Local members, who may otherwise only forward calls, may see this page, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, render_template
from flask_login import login_required
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.people.looks import record_look
from models.people.rights import Action, may
from models.states import AccountState
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from web.portal.page.account_access import ensure_right
from web.portal.page.live_updates import LiveParts, render_live_parts
from web.portal.page.login_session import principal
from web.portal.telephony.call_results_text import advice_text, display_number, result_text
from web.resources import resources
from web.telephone_network import Line, NetworkAway

telephone = Blueprint("telephone", __name__)

_PAGE = "/standortverwaltung/<string(length=7):customer_number>/sip/<int:id>/anrufe"


@dataclass(frozen=True, slots=True)
class TrunkPage:
    """A SIP trunk with its account, and the actions that the user may perform in the account (`allowed`)."""

    account: Account
    trunk: SipTrunk
    allowed: frozenset[Action]


@telephone.get(_PAGE)
@login_required
def show(customer_number: str, id: int) -> str:
    """Show the current registrations of the SIP trunk `id`, its latest refused login, and its latest calls.

    Abort with 404 unless the user may see the trunk's calls, and if no telephone network is configured.
    """
    page = _get_trunk_page(customer_number, id)
    return render_template("telephony/registration/show.html", page=page, live=_live_parts(page))


@telephone.get(_PAGE + "/stand")
@login_required
def live(customer_number: str, id: int) -> Response:
    """Return the changing parts of the trunk's page as HTML, for its script; 304 if the browser has them already.

    Abort with 404 unless the user may see the calls of the trunk `id`, and if no telephone network is configured.
    """
    return _live_parts(_get_trunk_page(customer_number, id)).response()


def lines_of(trunks: Sequence[SipTrunk]) -> Mapping[int, Line] | None:
    """Return the state of each trunk in the telephone network (registrations, last refused login), by trunk id.

    Empty if no telephone network is configured; None if the network does not answer. Call it outside a transaction.
    """
    network = resources().network
    if network is None or not trunks:
        return {}
    try:
        found = network.lines([(trunk.sip_user, trunk.domain) for trunk in trunks])
    except NetworkAway:
        return None
    return {trunk.id: found[trunk.sip_user, trunk.domain] for trunk in trunks}


def _get_trunk_page(customer_number: str, id: int) -> TrunkPage:
    """Return the trunk `id` with its account, and the actions that the user may perform in the account.

    Abort with 404 if no telephone network is configured, if there is no such trunk or its account is closed, or if the
    user may not see its calls. A view by a user of the main account or by the carrier's staff is recorded in the
    account's audit log.
    """
    if resources().network is None:
        abort(404)
    person = principal()
    with resources().database.transaction() as database:
        account = account_by_number(database, customer_number)
        if account is None or account.state is AccountState.CLOSED:
            abort(404)
        trunk = find_trunk(database, person, Action.SEE_CALLS, ensure_right(account, Action.SEE_CALLS), id)
        record_look(database, person, account, resources().clock())
    return TrunkPage(account, trunk, frozenset(action for action in Action if may(person, action, account)))


def _live_parts(page: TrunkPage) -> LiveParts:
    network, trunk = resources().network, page.trunk
    assert network is not None
    try:
        line, calls = network.line_with_calls((trunk.sip_user, trunk.domain))
    except NetworkAway:
        line, calls = None, []
    facts = {
        "page": page,
        "line": line,
        "calls": [(call, result_text(call), advice_text(call)) for call in calls],
        "display_number": display_number,
    }
    return render_live_parts("telephony/registration", ("registration", "calls"), facts)
