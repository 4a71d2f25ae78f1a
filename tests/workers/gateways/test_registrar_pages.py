"""Tests that the scheduled job `registrar` reads both databases page by page, in the same order."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tasks.ports import Subscriber
from tasks.reconcile import merge_compare as sides
from tasks.reconcile import registrar
from tests.workers.gateways.kamailio_tables import DOMAIN, VAULT, Network
from workers.gateways.subscribers import KamailioSubscribers


def test_twenty_thousand_subscribers_are_never_in_memory_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the job on 20,000 unknown subscribers and 10,000 missing ones: no page may have more than 100 rows.

    This applies to both sides, and to each look-up, repair and list of findings.
    """
    monkeypatch.setattr(sides, "PAGE", 100)
    with network.runtime.database.transaction() as session:
        session.execute(sa.text(MANY), {"count": 10_000, "domain": DOMAIN, "secret": VAULT.seal("geheim")})
    network.by_hand(
        "INSERT INTO subscriber (username, domain) SELECT 'x' || n, 'sip.example' FROM generate_series(1, 20000) n"
    )
    pages = Pages()
    monkeypatch.setattr(psycopg.ServerCursor, "fetchmany", pages.spy(psycopg.ServerCursor.fetchmany))
    monkeypatch.setattr(registrar, "_read", pages.spy(registrar._read))
    monkeypatch.setattr(KamailioSubscribers, "look_up", pages.spy(KamailioSubscribers.look_up))

    run = network.run(dry=True)

    assert run.found == {"missing_there": 10_000, "unknown_there": 20_000}
    assert run.counts["compared"] == 30_013
    assert pages.count > 20_000 / 100
    assert pages.largest <= 100
    assert len(network.findings(run)) == 100


class Pages:
    """Counts the pages (lists of rows) that watched functions return, and records the size of the largest one."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0

    def spy(self, real: Any) -> Any:
        def watched(*arguments: Any, **named: Any) -> Any:
            page = real(*arguments, **named)
            self.count += 1
            self.largest = max(self.largest, len(page))
            return page

        return watched


MANY = """
WITH somebody AS (SELECT account_id, contract_id FROM sip_trunks LIMIT 1)
INSERT INTO sip_trunks (account_id, contract_id, sip_user, domain, secret, channels, state, created_at, attempts)
SELECT account_id, contract_id, 'u' || n, :domain, :secret, 2, 'active', now(), 0
FROM somebody, generate_series(1, :count) AS n
"""


def test_the_registrars_rows_come_in_the_order_of_their_bytes(network: Network, registrar_url: str) -> None:
    odd = ["Zz", "aa", "t-1", "t1", "ä", "t_1", "T1", ""]
    for user in odd:
        network.by_hand("INSERT INTO subscriber (username, domain) VALUES (%s, 'sip.example')", [user])
    found: list[Subscriber] = list(KamailioSubscribers(registrar_url, page=2).read())
    assert [one.address for one in found] == sorted(one.address for one in found)
    assert set(odd) <= {one.sip_user for one in found}
