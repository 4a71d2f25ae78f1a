"""Adopt trunks that were taken over from a running Kamailio, if Kamailio still has the same logins and numbers.

The portal then manages these trunks.
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
    """Adopt all trunks that were taken over, or the one of `sip_user`; return how many were adopted.

    A trunk whose login or numbers have changed at the registrar since the import is not adopted: `refuse` is called
    with its SIP user and a list of what differs ("secret", "numbers"). Commits a transaction for each batch of 500
    trunks. Raises `OperationalError` if the portal's database fails, and `GatewayUnavailable` if the registrar's does.
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
