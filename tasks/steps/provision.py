"""provision: contract, numbers, trunk and credentials, then the telephone network's own database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contracts.contracts import new_contract
from models.errors import NoNumbersAvailable
from models.orders.orders import Basket, ordered_basket
from models.requests.requests import Request
from models.telephony.trunks import SipTrunk, new_sip_user
from models.vault import new_sip_secret
from tasks.ports import GatewayError, Ports, TrunkRecord
from tasks.registrar.trunks import record_of
from tasks.steps.step import NO_NUMBERS, Outcome, Work


@dataclass(frozen=True, slots=True)
class RegisterTrunk:
    """Tell the registrar about the trunk. The request is the key: telling it twice changes nothing."""

    trunk: TrunkRecord
    display: str

    @staticmethod
    def make(calls: Sequence[RegisterTrunk], ports: Ports) -> list[GatewayError | None]:
        """Write them to the registrar's database."""
        return ports.registrar.put_trunks([call.trunk for call in calls])

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """The account is in service."""
        if not done:
            return
        assert request.account is not None
        request.account.activate()
        request.note(work.now, "provisioned", channels=self.trunk.channels, numbers=self.display)


def provision(work: Work, request: Request) -> Outcome:
    """Safe to run twice: what the request got the first time (unique by its id) is used again."""
    if request.trunk is None:
        assert request.account_id and request.area_code and request.block_size
        basket = ordered_basket(work.session, request)
        try:
            block = work.pool.take(request.area_code, request.block_size, request.account_id)
        except NoNumbersAvailable:
            return NO_NUMBERS
        request.trunk = _new_trunk(work, request, basket)
        request.trunk.blocks = [block]
    trunk = request.trunk
    return RegisterTrunk(record_of(trunk, work.runtime.vault), ", ".join(block.display for block in trunk.blocks))


def _new_trunk(work: Work, request: Request, basket: Basket) -> SipTrunk:
    assert request.account is not None and request.channels is not None
    return SipTrunk(
        account=request.account,
        contract=new_contract(request.account.id, basket.products, work.now, request.id),
        request_id=request.id,
        sip_user=new_sip_user(),
        domain=work.runtime.sip_domain,
        secret=work.runtime.vault.seal(new_sip_secret()),
        channels=request.channels,
        created_at=work.now,
    )
