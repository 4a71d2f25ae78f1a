"""Adopt trunks that were imported from a running Kamailio, if Kamailio still has the same logins and numbers.

An imported ("taken over") trunk stays unchanged in Kamailio until it is adopted: from then on the portal writes it.
"""

from __future__ import annotations

from collections.abc import Callable

from models.db.session import Database
from models.telephony.trunk_takeover import adopt_trunks, unadopted_trunks
from models.values import Clock
from models.vault import Vault
from tasks.registrar.trunks import taken_over
from workers.gateways.subscribers import KamailioSubscribers


def adopt_unchanged(
    database: Database,
    subscribers: KamailioSubscribers,
    vault: Vault,
    clock: Clock,
    refuse: Callable[[str, list[str]], None],
    sip_user: str | None = None,
) -> int:
    """Adopt all trunks imported from a running Kamailio, or only that of `sip_user`; return how many were adopted.

    To adopt a trunk means that workers write it to the registrar (Kamailio) from now on. A trunk whose login or numbers
    have changed there since the import is not adopted: `refuse` is called with its SIP user and a list of what differs
    ("secret", "numbers"). `vault` has the keys for this comparison. Commits a transaction for each batch of 500 trunks.
    Raises `OperationalError` if the portal's database fails, and `GatewayUnavailable` if the registrar's does.
    """
    adopted = after = 0
    while True:
        with database.transaction() as session:
            trunks = unadopted_trunks(session, after, sip_user)
        if not trunks:
            return adopted
        after = trunks[-1].id
        found = subscribers.look_up([(trunk.sip_user, trunk.domain) for trunk in trunks])
        unchanged: dict[int, bytes | None] = {}
        for trunk in trunks:
            taken = taken_over(trunk)
            differing = list(taken.differing(vault, found.get(taken.address))) if taken is not None else []
            if differing:
                refuse(trunk.sip_user, differing)
            else:
                unchanged[trunk.id] = trunk.taken_over_as
        with database.transaction() as session:
            adopted += adopt_trunks(session, clock(), unchanged)
