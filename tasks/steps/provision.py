"""The step `provision`: create a new account's contract, numbers, trunk and SIP credentials, and register the trunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from models.contracts.catalogue import MOBILE_BACKUP, PriceLine
from models.contracts.contracts import new_contract
from models.errors import NoNumbersAvailable
from models.orders.baskets import agreed_prices, agreed_terms
from models.requests.requests import Request
from models.telephony.allowed_destinations import limits_for
from models.telephony.directory import directory_data, put_entry
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.high_risk import high_risk_prefixes
from models.telephony.number_pool import set_aside_block
from models.telephony.trunks import SipTrunk, new_sip_user, usual_request_uri
from models.telephony.weekly_hours import ALL_WEEK
from models.vault import new_sip_secret
from tasks.ports import Forwarding, GatewayError, NumberTaken, Ports, TrunkRecord
from tasks.registrar.trunks import Forwardings, forwardings_of, record_of
from tasks.steps.step import NO_NUMBERS, Outcome, Work

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegisterTrunk:
    """The external call that writes a new trunk to the registrar. Safe to make twice: the request's id is its key.

    `trunk` is the record to write. `display` has the trunk's numbers in German notation, for the timeline.
    """

    trunk: TrunkRecord
    display: str

    @staticmethod
    def make(calls: Sequence[RegisterTrunk], ports: Ports) -> list[GatewayError | None]:
        """Write the trunks of the calls to the registrar. Return each call's error, in order; None if it succeeded."""
        return ports.registrar.put_trunks([call.trunk for call in calls])

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Activate the account, save the ordered directory entry, if any, and add a timeline entry.

        Does nothing if the trunk was not written (`done` is False).
        """
        if not done:
            return
        assert request.account is not None and request.trunk is not None
        request.account.activate()
        entry = directory_data((request.option_details or {}).get("directory_entry"))
        if entry is not None:
            # Not before: an export of what has changed since the last one must find the entry of an active account.
            put_entry(work.session, request.account.id, request.trunk.blocks[0].first_number, entry, work.now)
        request.note(work.now, "provisioned", channels=self.trunk.channels, numbers=self.display)

    def begin_again(self, work: Work, request: Request, failure: GatewayError) -> bool:
        """Take the number blocks from the trunk if the registrar has one of their numbers under another trunk.

        `failure` is the registrar's error. In this case the blocks are set aside, so that no account gets them, and
        True is returned: the step can run again and take another block. For every other error nothing changes, and
        False is returned.
        """
        if not isinstance(failure, NumberTaken):
            return False
        assert request.trunk is not None
        for block in request.trunk.blocks:
            work.after_commit(log.error, "numbers.taken", request=str(request.id), numbers=block.display)
            set_aside_block(block, work.now)
        request.trunk.blocks = []
        return True


def provision(work: Work, request: Request) -> Outcome:
    """Create the account's contract and trunk with a number block, and return the call that registers the trunk.

    A new trunk also gets the call forwarding of the ordered mobile fallback. Returns a hold if the number pool has no
    free block. Raises `RuleBroken` if a product is no longer sold. Safe to run twice: a trunk created by an earlier run
    is reused.
    """
    assert request.account_id is not None
    forwardings: Forwardings = {}
    # Only an option brings a forwarding to a new account: most orders need no look.
    if request.trunk is not None and MOBILE_BACKUP in (request.option_keys or []):
        forwardings = forwardings_of(work.session, [request.account_id])
    if request.trunk is None or not request.trunk.blocks:
        assert request.area_code and request.block_size
        lines = agreed_prices(work.session, request)
        try:
            block = work.pool.take(request.area_code, request.block_size, request.account_id)
        except NoNumbersAvailable:
            return NO_NUMBERS
        if request.trunk is None:
            request.trunk = _new_trunk(work, request, lines)
            forwardings = _set_up_fallback(work, request)
        request.trunk.blocks = [block]
    trunk = request.trunk
    record = record_of(trunk, work.runtime.vault, forwardings, high_risk_prefixes(work.session))
    return RegisterTrunk(record, ", ".join(block.display for block in trunk.blocks))


def _set_up_fallback(work: Work, request: Request) -> Forwardings:
    """Create a call forwarding to the ordered mobile number, for calls while no phone is registered.

    Return the forwarding by account id, as the registrar needs it; empty if no mobile fallback was ordered. The
    customer may later change or remove it like any other forwarding.
    """
    mobile, account_id = (request.option_details or {}).get("mobile_number"), request.account_id
    if mobile is None or account_id is None:
        return {}
    condition = Condition.NOT_REGISTERED
    work.session.add(CallForwarding(account_id=account_id, condition=condition, target=mobile))
    return {account_id: (Forwarding(condition, mobile, None, ALL_WEEK),)}


def _new_trunk(work: Work, request: Request, lines: Sequence[PriceLine]) -> SipTrunk:
    assert request.account is not None and request.channels is not None and request.block_size is not None
    return SipTrunk(
        account=request.account,
        # Set by the relationship at the flush only, and needed for the registrar's record before.
        account_id=request.account.id,
        contract=new_contract(request.account.id, lines, work.now, request.id, agreed_terms(request)),
        request_id=request.id,
        sip_user=new_sip_user(),
        domain=work.runtime.sip_domain,
        secret=work.runtime.vault.seal(new_sip_secret()),
        channels=request.channels,
        countries=request.countries or limits_for((request.option_details or {}).get("mobile_number")),
        high_risk=False,
        request_uri=request.request_uri or usual_request_uri(request.block_size),
        created_at=work.now,
    )
