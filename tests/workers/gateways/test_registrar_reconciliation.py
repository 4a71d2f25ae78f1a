"""Tests that the scheduled job `registrar` repairs every manual change of Kamailio's tables from the portal's data."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.jobs.jobs import Outcome
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from tasks.reconcile import merge_compare as sides
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.wording.findings import finding_text
from tests.workers.gateways.kamailio_tables import Network, Tables
from workers.gateways.subscribers import KamailioSubscribers
from workers.stack.ports import free_port

STRANGERS = """
INSERT INTO subscriber (username, domain) SELECT %s || n, 'sip.example' FROM generate_series(1, %s) AS n
"""
LEFTOVERS = """
INSERT INTO usr_preferences (username, domain, attribute, value)
SELECT 's' || n, 'sip.example', 'provision_key', 'x' FROM generate_series(1, %s) AS n
"""
ROWS_OF_STRANGERS = [
    "INSERT INTO subscriber (username, domain, ha1) VALUES ('zz-old', 'sip.example', 'x')",
    "INSERT INTO dbaliases (username, domain, alias_username) VALUES ('zz-old', 'sip.example', '+49301')",
    "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES ('zz-old', 'sip.example', 'x', '9')",
    "INSERT INTO location (ruid, username, contact) VALUES ('1', 'zz-old', 'sip:x@192.0.2.1')",
]


def test_what_is_the_same_is_no_finding(network: Network, before: Tables, users: list[str]) -> None:
    run = network.run()
    assert (run.found, run.counts) == ({}, {"compared": len(users), "blocks": len(before[-1])})


FORWARDED = "forward.busy.0"
OF_A_NUMBER = "attribute ~ '^forward[.][0-9]'"
MINE = "WHERE username = %(user)s"
ADD = "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES"
ALIAS = "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        (f"DELETE FROM subscriber {MINE}", "missing_there", ["secret"]),
        (f"UPDATE subscriber SET ha1 = 'x' {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET ha1b = 'x' {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET ha1 = ha1b, ha1b = ha1 {MINE}", "differs_there", ["secret"]),
        (f"UPDATE subscriber SET password = 'in clear' {MINE}", "differs_there", ["secret"]),
        (f"DELETE FROM dbaliases {MINE}", "differs_there", ["numbers"]),
        (f"DELETE FROM dbaliases {MINE} AND alias_username LIKE '%%7'", "differs_there", ["numbers"]),
        (f"UPDATE dbaliases SET alias_username = alias_username || '9' {MINE}", "differs_there", ["numbers"]),
        (f"UPDATE dbaliases SET alias_domain = 'elsewhere' {MINE}", "differs_there", ["numbers"]),
        (f"{ALIAS} VALUES ('+4989123', 'sip.example', %(user)s, 'sip.example')", "differs_there", ["numbers"]),
        (
            f"{ALIAS} SELECT alias_username, alias_domain, username, domain FROM dbaliases {MINE}",
            "doubled_there",
            ["doubled"],
        ),
        (
            f"{ALIAS} SELECT alias_username, 'elsewhere', username, domain FROM dbaliases {MINE}",
            "differs_there",
            ["numbers"],
        ),
        (
            f"DELETE FROM usr_preferences {MINE}",
            "differs_there",
            ["secret", "provision_key", "channels", "postal_code", "forwardings"],
        ),
        (f"{ADD} (%(user)s, 'sip.example', 'more', '1')", "differs_there", ["preferences"]),
        (f"{ADD} (%(user)s, 'sip.example', 'deny.0', '252')", "differs_there", ["destinations"]),
        (
            f"UPDATE usr_preferences SET attribute = 'forward.busy.7' {MINE} AND attribute = '{FORWARDED}'",
            "differs_there",
            ["forwardings"],
        ),
        (
            f"{ADD} (%(user)s, 'sip.example', 'forward.always.0', '+4930999 0 10080')",
            "differs_there",
            ["forwardings"],
        ),
        (f"DELETE FROM usr_preferences {MINE} AND {OF_A_NUMBER}", "differs_there", ["forwardings"]),
        (
            f"UPDATE usr_preferences SET value = left(value, -1) || '1' {MINE} AND {OF_A_NUMBER}",
            "differs_there",
            ["forwardings"],
        ),
    ],
)
def test_what_was_done_to_a_trunk_is_undone(
    network: Network, before: Tables, forwarding: str, statement: str, kind: str, what: list[str]
) -> None:
    network.by_hand(statement, {"user": forwarding})
    [found] = network.mended(before, (kind, forwarding))
    assert found.facts["what"] == what
    assert forwarding in finding_text(found, "de")


COPY = (
    "INSERT INTO usr_preferences (uuid, username, domain, attribute, value) SELECT uuid, username, domain, attribute,"
)
OF_A_NAME = f"{MINE} AND attribute = %(name)s"


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        (f"DELETE FROM usr_preferences {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET value = '99' {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET value = '' {OF_A_NAME}", "differs_there", ["{}"]),
        (f"UPDATE usr_preferences SET attribute = 'unknown' {OF_A_NAME}", "differs_there", ["{}", "preferences"]),
        (f"UPDATE usr_preferences SET uuid = 'unknown' {OF_A_NAME}", "differs_there", ["preferences"]),
        (f"UPDATE usr_preferences SET type = 1 {OF_A_NAME}", "differs_there", ["preferences"]),
        (f"{COPY} value FROM usr_preferences {OF_A_NAME}", "doubled_there", ["doubled"]),
        (f"{COPY} '98' FROM usr_preferences {OF_A_NAME}", "differs_there", ["{}"]),
    ],
)
def test_what_was_done_to_a_preference_is_undone(
    network: Network, before: Tables, users: list[str], forwarding: str, statement: str, kind: str, what: list[str]
) -> None:
    others = [user for user in users if user != forwarding]
    names = dict(zip(["channels", "postal_code", "provision_key"], others, strict=False)) | {FORWARDED: forwarding}
    for name, user in names.items():
        network.by_hand(statement, {"user": user, "name": name})
    found = network.mended(before, *[(kind, user) for user in names.values()])
    words = {user: "forwardings" if name == FORWARDED else name for name, user in names.items()}
    for finding in found:
        assert finding.facts["what"] == [part.format(words[finding.subject]) for part in what]


def test_the_registrar_itself_has_no_subscriber_and_no_block_twice(network: Network) -> None:
    for table, columns in (("subscriber", "username, domain"), ("own_numbers", "first_number, size")):
        with pytest.raises(psycopg.errors.UniqueViolation):
            network.by_hand(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1")


@pytest.mark.parametrize("column", ["username = 'zz-nobody'", "domain = 'elsewhere'"])
@pytest.mark.parametrize(
    ("table", "kind"),
    [("subscriber", "missing_there"), ("dbaliases", "differs_there"), ("usr_preferences", "differs_there")],
)
def test_rows_that_were_given_to_nobody_come_back(
    network: Network, before: Tables, users: list[str], table: str, kind: str, column: str
) -> None:
    network.by_hand(f"UPDATE {table} SET {column} WHERE username = %s", [users[5]])
    stranger = "zz-nobody" if "nobody" in column else users[5]
    network.mended(before, (kind, users[5]), ("unknown_there", stranger))


def test_preferences_that_were_given_to_another_trunk_come_back(
    network: Network, before: Tables, users: list[str], forwarding: str
) -> None:
    others = [user for user in users if user != forwarding]
    for name, other in zip(["channels", "postal_code", "provision_key", FORWARDED], others, strict=False):
        facts = {"user": forwarding, "name": name, "other": other}
        network.by_hand(f"UPDATE usr_preferences SET username = %(other)s {OF_A_NAME}", facts)
    network.mended(before, *[("differs_there", user) for user in [forwarding, *others[:4]]])


def test_a_number_that_leads_to_another_trunk_too_leads_to_one(
    network: Network, before: Tables, users: list[str]
) -> None:
    for user in (users[8], "zz-nobody"):
        network.by_hand(
            f"{ALIAS} SELECT alias_username, alias_domain, %s, domain FROM dbaliases WHERE username = %s",
            [user, users[2]],
        )
    network.mended(before, ("differs_there", users[8]), ("unknown_there", "zz-nobody"))


def test_trunks_that_have_each_others_numbers_get_their_own_back(
    network: Network, before: Tables, users: list[str]
) -> None:
    ring = dict(zip(users[:4], [*users[1:4], users[0]], strict=True))
    network.by_hand(
        "UPDATE dbaliases SET username = others.next FROM unnest(%s::text[], %s::text[]) AS others (user_name, next)"
        " WHERE username = others.user_name",
        [list(ring), list(ring.values())],
    )
    network.mended(before, *[("differs_there", user) for user in ring])


@pytest.mark.parametrize(
    "address", ["'zz-nobody', 'sip.example'", "%(user)s, 'elsewhere'", "%(user)s, NULL", "%(user)s, ''", "'', ''"]
)
def test_a_phone_that_is_registered_as_nobody_is_registered_no_more(
    network: Network, before: Tables, users: list[str], address: str
) -> None:
    for number in (1, 2):
        network.by_hand(
            f"INSERT INTO location (ruid, username, domain, contact) VALUES ('{number}', {address}, 'sip:x@192.0.2.1')",
            {"user": users[0]},
        )
    subject = address.split(",")[0].strip("'").replace("%(user)s", users[0])
    [found] = network.mended(before, ("unknown_there", subject))
    assert found.facts["what"] == ["registration"]
    assert finding_text(found, "en").endswith("(registration of a phone); we do not.")


def test_a_closed_trunk_is_not_registered(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one().state = TrunkState.CLOSED
    for table in ("subscriber", "dbaliases", "usr_preferences"):
        network.by_hand(f"DELETE FROM {table} WHERE username = %s", [users[4]])
    network.mended([[row for row in rows if users[4] not in row] for rows in before], ("still_there", users[4]))


@pytest.mark.parametrize(
    ("statement", "kinds", "number"),
    [
        ("DELETE FROM own_numbers WHERE first_number = %(first)s", ["missing"], "first"),
        ("UPDATE own_numbers SET size = 7 WHERE first_number = %(first)s", ["missing"], "first"),
        ("UPDATE own_numbers SET first_number = 4989123 WHERE first_number = %(first)s", ["missing", "unknown"], ""),
        ("INSERT INTO own_numbers VALUES (4989123, 10)", ["unknown"], "other"),
        ("INSERT INTO own_numbers VALUES (%(first)s + 1, 1)", ["unknown"], ""),
        ("INSERT INTO own_numbers VALUES (-1, 0), (9223372036854775807, 1)", ["unknown", "unknown"], ""),
    ],
)
def test_the_numbers_that_are_ours_are_told_again(
    network: Network, before: Tables, statement: str, kinds: list[str], number: str
) -> None:
    first = before[-1][20][0]
    network.by_hand(statement, {"first": first})
    found = network.run(dry=True)
    assert found.found == Counter(f"block_{kind}_there" for kind in kinds)
    said = finding_text(network.findings(found)[0], "de")
    assert {"first": f"+{first}", "other": "+4989123"}.get(number, "+") in said
    subjects = [(finding.kind, finding.subject) for finding in network.findings(found)]
    network.mended(before, *subjects)


def test_so_many_strange_numbers_are_more_likely_our_mistake(
    network: Network, before: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "MOST_REMOVED", 3)
    network.by_hand("INSERT INTO own_numbers SELECT n, 1 FROM generate_series(1, 4) AS n")
    network.by_hand(LEFTOVERS, [2])
    [finding] = network.findings(network.run())
    assert (finding.kind, finding.facts["count"], finding.repaired) == ("too_many_unknown_blocks", 4, False)
    assert "4 Rufnummernblöcke, die nicht von uns sind" in finding_text(finding, "de")
    network.by_hand("DELETE FROM own_numbers WHERE first_number = 1")
    strangers = [*[("block_unknown_there", f"+{first}") for first in (2, 3, 4)]]
    network.mended(before, *strangers, ("unknown_there", "s1"), ("unknown_there", "s2"))


def test_after_an_older_backup_was_restored_nothing_is_removed(
    network: Network, before: Tables, users: list[str], portal_url: str
) -> None:
    newer = users[:2]
    with closing(Database(portal_url)) as superuser, superuser.transaction() as session:
        session.execute(sa.text("SET LOCAL session_replication_role = replica"))
        trunks = sa.select(SipTrunk.id).where(SipTrunk.sip_user.in_(newer))
        session.execute(
            sa.update(NumberBlock).where(NumberBlock.trunk_id.in_(trunks)).values(account_id=None, trunk_id=None)
        )
        session.execute(sa.delete(SipTrunk).where(SipTrunk.sip_user.in_(newer)))
    network.by_hand(STRANGERS, ["s", 2])
    strangers = network.everything()
    run = network.run()
    assert sorted((finding.subject, finding.repaired) for finding in network.findings(run)) == [
        (user, False) for user in sorted([*newer, "s1", "s2"])
    ]
    assert run.found == {"forgotten_here": 2, "unknown_there": 2}
    [forgotten, _] = [finding for finding in network.findings(run) if finding.kind == "forgotten_here"]
    assert "ältere Sicherung" in finding_text(forgotten, "de")
    assert network.everything() == strangers != before
    # Somebody has looked, and knows that nobody uses them.
    allowed = network.run(allow_removals=True)
    assert allowed.found == {"forgotten_here": 2, "unknown_there": 2}
    assert allowed.unrepaired == 0
    assert network.run().found == {}


def test_more_than_a_small_share_of_our_leftovers_is_more_likely_our_mistake(network: Network, before: Tables) -> None:
    few = sides.FEW_REMOVED
    network.by_hand(LEFTOVERS, [few + 1])
    leftovers = network.everything()
    run = network.run()
    assert run.found == {"too_many_unknown": 1}
    assert network.everything() == leftovers
    network.by_hand("DELETE FROM usr_preferences WHERE username = 's1'")
    run = network.run()
    assert (run.found, run.unrepaired) == ({"unknown_there": few}, 0)
    assert network.everything() == before


@pytest.mark.parametrize("row", ROWS_OF_STRANGERS)
def test_what_we_never_wrote_is_only_removed_when_staff_have_looked(network: Network, before: Tables, row: str) -> None:
    """Add a row that the portal has not written: the job reports it, but removes it only with permission to delete.

    So the SIP users of a Kamailio that is already in use stay, although none of them has been imported yet.
    """
    network.by_hand(row)
    strangers = network.everything()
    for dry in (True, False, False):
        run = network.run(dry=dry)
        assert (run.found, run.unrepaired) == ({"unknown_there": 1}, 1)
        assert network.everything() == strangers
    network.mended(before, ("unknown_there", "zz-old"))


def test_all_that_is_gone_is_provisioned_afresh(network: Network, before: Tables, users: list[str]) -> None:
    network.by_hand("TRUNCATE subscriber, dbaliases, usr_preferences, own_numbers")
    # The phones stay registered, and are no finding.
    run = network.run()
    assert run.found == {"missing_there": len(users), "block_missing_there": len(before[-1])}
    network.write()
    assert network.everything() == before
    assert network.run().found == {}


def test_a_trunk_that_is_gone_without_a_trace_comes_back(network: Network, before: Tables, users: list[str]) -> None:
    for table in ("subscriber", "dbaliases", "usr_preferences"):
        network.by_hand(f"DELETE FROM {table} WHERE username = ANY(%s)", [[users[0], users[-1]]])
    network.mended(before, ("missing_there", users[0]), ("missing_there", users[-1]))


def test_a_trunk_without_subscriber_under_a_foreign_key_comes_back(
    network: Network, before: Tables, users: list[str]
) -> None:
    network.by_hand("DELETE FROM subscriber WHERE username = %s", [users[2]])
    network.by_hand(
        "UPDATE usr_preferences SET value = 'x' WHERE attribute = 'provision_key' AND username = %s", [users[2]]
    )
    network.mended(before, ("missing_there", users[2]))


def test_a_number_that_was_given_to_another_trunk_goes_back(network: Network, before: Tables, users: list[str]) -> None:
    # Given once to a trunk that is written before the owner, and once to one that is written after it.
    for taken, given in ((1, 0), (2, 5)):
        network.by_hand("UPDATE dbaliases SET username = %s WHERE username = %s", [users[given], users[taken]])
    network.mended(before, *[("differs_there", users[place]) for place in (0, 1, 2, 5)])


@pytest.mark.parametrize("user", ["a-stranger", "t000000000000", "zz", "Ä", "t1'; --"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO subscriber (username, domain, ha1) VALUES (%s, 'sip.example', 'x')",
        "INSERT INTO dbaliases (username, domain, alias_username) VALUES (%s, 'sip.example', '+49301')",
        "INSERT INTO usr_preferences (username, domain, attribute, value) VALUES (%s, 'sip.example', 'channels', '9')",
    ],
)
def test_what_no_trunk_of_ours_has_is_taken_away(network: Network, before: Tables, user: str, statement: str) -> None:
    network.by_hand(statement, [user])
    network.mended(before, ("unknown_there", user))


def test_our_sip_user_in_a_foreign_domain_is_not_ours(network: Network, before: Tables, users: list[str]) -> None:
    for domain in ("a.example", "z.example"):
        network.by_hand("INSERT INTO subscriber (username, domain, ha1) VALUES (%s, %s, 'x')", [users[1], domain])
    network.mended(before, ("unknown_there", users[1]), ("unknown_there", users[1]))


def test_a_stranger_with_one_of_our_numbers_keeps_it_no_longer(
    network: Network, before: Tables, users: list[str]
) -> None:
    network.by_hand("UPDATE dbaliases SET username = 'zz-stranger' WHERE username = %s", [users[0]])
    network.mended(before, ("differs_there", users[0]), ("unknown_there", "zz-stranger"))


def test_a_closed_trunk_is_not_in_the_registrar(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one().state = TrunkState.CLOSED
    without = [[row for row in rows if users[4] not in row] for rows in before]
    network.mended(without, ("still_there", users[4]))


def test_a_suspended_trunk_has_one_row_more(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == users[4])).one()
        trunk.suspend(SuspendedBy.CUSTOMER, network.clock.now)
        trunk.rest()
    [channels] = [row for row in before[2] if row[0] == users[4] and row[2] == "channels"]
    before[2] = sorted([*before[2], (*channels[:2], "suspended", "1", *channels[4:])], key=str)
    before[3] = [row for row in before[3] if row[0] != users[4]]
    network.mended(before, ("differs_there", users[4]))


def test_numbers_that_were_released_leave_the_registrar(network: Network, before: Tables, users: list[str]) -> None:
    with network.runtime.database.transaction() as session:
        query = sa.select(SipTrunk).where(SipTrunk.sip_user == users[4]).options(sa.orm.selectinload(SipTrunk.blocks))
        [block] = session.scalars(query).one().blocks
        numbers = block.numbers
        release_block(block, network.clock.now)
    without = [[row for row in rows if row[0] not in numbers] for rows in before]
    network.mended(without, ("differs_there", users[4]))


def test_everything_at_once(network: Network, before: Tables, users: list[str]) -> None:
    network.by_hand("TRUNCATE dbaliases, usr_preferences")
    network.by_hand("UPDATE subscriber SET ha1 = ''")
    network.by_hand(
        "INSERT INTO subscriber (username, domain) SELECT 's' || n, 'sip.example' FROM generate_series(1, 15) n"
    )
    network.mended(
        before,
        *[("differs_there", user) for user in users],
        *[("unknown_there", f"s{number}") for number in range(1, 16)],
    )


def test_without_the_registrar_the_run_fails_and_says_so(network: Network) -> None:
    away = KamailioSubscribers(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar")
    ports = replace(network.runtime.ports, subscribers=away)
    run = run_job(replace(network.runtime, ports=ports), JOBS["registrar"])
    assert run is not None
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('OperationalError')")
