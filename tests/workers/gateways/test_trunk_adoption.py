"""Tests of adopting trunks that were imported: what has changed on either side since is named and not overwritten."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.audit_log import AuditEntry, AuditEvent
from models.telephony.trunks import SipTrunk
from tests.workers.gateways.kamailio_tables import VAULT, Network
from tests.workers.gateways.trunk_adopting import OTHER_PASSWORD, adopt, ha1_there, md5, trunk_of
from tests.workers.gateways.trunk_files import Take, line


def changed_here(network: Network, secret: str | None = None) -> None:
    """Change the trunk old1 as a page of the portal does, and write it to Kamailio as a worker does.

    `secret` is its new SIP password (None: the password stays).
    """
    with network.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == "old1")).one()
        if secret is not None:
            trunk.secret = VAULT.seal(secret)
        trunk.changed(network.clock.now)
    network.write()


def test_a_trunk_is_adopted_by_the_first_change(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number))
    changed_here(network, "renewed")
    assert ("old1", "sip.example", "channels", "8") in {row[:4] for row in network.everything()[2]}
    assert ha1_there(network) == md5("old1:sip.example:renewed")
    assert trunk_of(network, "old1")[0].unadopted_since is None
    assert (495219999800, 100) in network.everything()[4]
    assert network.run().found == {"unknown_there": 1}


ONE_ALIAS_MORE = (
    "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
    " VALUES ('+495219999912', 'sip.example', 'old1', 'sip.example')"
)


ONE_ALIAS_LESS = "DELETE FROM dbaliases WHERE alias_username = '+495219999911'"


@pytest.mark.parametrize(
    ("statement", "what"),
    [(OTHER_PASSWORD, "secret"), (ONE_ALIAS_MORE, "numbers"), (ONE_ALIAS_LESS, "numbers")],
)
def test_what_has_changed_in_kamailio_since_is_not_overwritten(
    network: Network, account: Account, take: Take, statement: str, what: str
) -> None:
    lines = line(account.customer_number), line(account.customer_number, "old2")
    take(*lines)
    network.by_hand(statement)
    by_now = network.everything()
    run = network.run()
    assert (run.found, run.unrepaired) == ({"not_adopted": 1, "differs_there": 1}, 2)
    [differs] = [finding for finding in network.findings(run) if finding.kind == "differs_there"]
    assert (differs.subject, differs.facts["what"]) == ("old1", [what])
    # Neither by a change in the portal.
    changed_here(network)
    assert network.everything() == by_now
    assert adopt(network) == (1, {"old1": [what]})
    network.write()
    assert [row for row in network.everything()[0] if row[0] == "old1"] == [
        row for row in by_now[0] if row[0] == "old1"
    ]
    assert [row for row in network.everything()[1] if row[2] == "old1"] == [
        row for row in by_now[1] if row[2] == "old1"
    ]

    summary, findings = take(*lines)
    assert (findings, summary.fates) == ([], {"refreshed": 1, "unchanged": 1})
    assert adopt(network)[1] == {}
    network.write()
    assert network.run().found == {}
    assert ha1_there(network) == md5(f"old1:sip.example:{'changed-there' if what == 'secret' else 'in-the-clear'}")
    assert [row for row in network.everything()[1] if row[2] == "old1"] == [
        row for row in by_now[1] if row[2] == "old1"
    ]


def test_a_password_that_was_renewed_here_stays_in_a_second_import(
    network: Network, account: Account, take: Take
) -> None:
    take(line(account.customer_number))
    network.by_hand(OTHER_PASSWORD)
    changed_here(network, "renewed")
    assert take(line(account.customer_number))[0].fates == {"refreshed": 1}
    network.write()
    assert ha1_there(network) == md5("old1:sip.example:renewed")
    assert trunk_of(network, "old1")[0].unadopted_since is None


def test_takeover_and_adoption_are_in_the_audit_log(network: Network, account: Account, take: Take) -> None:
    lines = line(account.customer_number), line(account.customer_number, "old2")
    take(*lines, dry=True)
    take(*lines)
    take(*lines)
    for count in (1, 0):
        assert adopt(network, "old1") == (count, {})
    with network.runtime.database.transaction() as session:
        entries = sa.select(AuditEntry).where(AuditEntry.account_id == account.id).order_by(AuditEntry.id)
        log = [(entry.deed, entry.by_staff, entry.user_id, entry.facts) for entry in session.scalars(entries)]
    agreed = {"channels": 8, "product": "trunk-10", "monthly_cents": 1750, "day": "2019-04-01"}
    assert log == [
        (AuditEvent.TRUNK_TAKEN_OVER, True, None, {"sip_user": "old1", **agreed}),
        (AuditEvent.TRUNK_TAKEN_OVER, True, None, {"sip_user": "old2", **agreed}),
        (AuditEvent.TRUNK_ADOPTED, True, None, {"sip_user": "old1"}),
    ]
