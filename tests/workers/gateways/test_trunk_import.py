"""Tests of importing the trunks of a running Kamailio.

Kamailio's rows of a trunk stay unchanged until the trunk is adopted: from then on the portal writes them.
"""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.contracts.contracts import Contract, ContractItem
from models.contracts.terms import OPEN_TERMS, ContractTerms, months_later
from models.db.session import Database
from models.people.rights import Principal, Role
from models.telephony.login_digests import SecretUnknown
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import QUARANTINE, WITHDRAWN, release_block, stock_pool
from models.telephony.numbers import NumberBlock
from models.telephony.sip_secrets import reveal
from models.telephony.trunk_takeover import TrunkRow, TrunkTakeover, as_blocks
from models.telephony.trunks import SipTrunk, close_trunk
from tests.factories import NOW, make_account, make_user
from tests.workers.gateways.kamailio_tables import DOMAIN, VAULT, Network
from tests.workers.gateways.trunk_adopting import OTHER_PASSWORD, adopt, trunk_of
from tests.workers.gateways.trunk_files import HA1, HA1B, HEADER, SUBSCRIBER, Take, line
from workers.accounts import trunk_import
from workers.commands.trunks import app


def test_what_kamailio_has_is_taken_over_and_left_alone_until_it_is_adopted(
    network: Network, account: Account, take: Take
) -> None:
    before = network.everything()
    number = account.customer_number
    summary, findings = take(line(number), line(number, "old2", channels="2", monthly_price="0"))
    assert (findings, summary.bad, summary.fates, summary.numbers) == ([], 0, {"created": 2}, 113)
    assert summary.digests_only == 1
    trunk, blocks = trunk_of(network, "old1")
    assert (trunk.account_id, trunk.channels, VAULT.open(trunk.secret)) == (account.id, 8, "in-the-clear")
    assert [(block.first_number, block.size, block.ported_in) for block in blocks] == [
        (495219999800, 100, True),
        (495219999900, 10, True),
        (495219999910, 1, True),
        (495219999911, 1, True),
    ]
    with network.runtime.database.transaction() as session:
        item = sa.select(ContractItem.product_key, ContractItem.monthly_cents, Contract.started_at)
        agreed = session.execute(item.join(Contract).where(Contract.id == trunk.contract_id)).one()
    assert (agreed[0], agreed[1], agreed[2].isoformat()) == ("trunk-10", 1750, "2019-03-31T22:00:00+00:00")
    # The first reconciliations remove and write nothing: also nothing of a stranger's, whose row may come later.
    # They say that it is there.
    network.by_hand(SUBSCRIBER, ["old3", "", HA1, HA1B])
    network.by_hand("INSERT INTO own_numbers VALUES (4940100, 10)")
    strange = network.everything()
    for allowed in (False, True):
        run = network.run(allow_removals=allowed)
        assert (run.found, run.unrepaired) == ({"not_adopted": 1, "unknown_there": 1}, 2)
        network.write()
        assert network.everything() == strange != before
    network.by_hand("DELETE FROM own_numbers WHERE first_number = 4940100")

    assert adopt(network) == (2, {})
    network.write()
    logins = {user: login for user, _, *login in network.everything()[0]}
    # Known only by its digests, a phone of this trunk logs in as before.
    assert logins["old2"] == [HA1, HA1B, ""]
    assert logins["old1"][0] == hashlib.md5(b"old1:sip.example:in-the-clear", usedforsecurity=False).hexdigest()
    assert {row for row in before[1] if row[2] in ("old1", "old2")} <= set(network.everything()[1])
    assert (495219999800, 100) in network.everything()[4]
    # Of whom no row was taken over is a customer all the same, until staff have looked.
    for _ in range(2):
        run = network.run()
        assert (run.found, run.unrepaired) == ({"unknown_there": 1}, 1)
    assert "old3" in {user for user, *_ in network.everything()[0]}
    assert network.run(allow_removals=True).found == {"unknown_there": 1}
    assert network.run().found == {}


def test_a_contract_binds_as_it_was_agreed(network: Network, account: Account, take: Take) -> None:
    agreed = {"started_on": "15.09.2025", "term_months": "24", "notice_months": "1", "renewal_months": "12"}
    number = account.customer_number
    _, findings = take(line(number, **agreed), line(number, "old2", started_on="15.09.2025"))
    assert findings == []
    today = berlin_day(network.clock.now)
    with network.runtime.database.transaction() as session:
        contracts = sa.select(Contract).join(SipTrunk).where(SipTrunk.account_id == account.id)
        bound, free = session.scalars(contracts.order_by(SipTrunk.sip_user)).all()
        assert bound.terms == ContractTerms(24, 1, 12)
        assert bound.earliest_end(today) == date(2027, 9, 14)
        assert free.terms == OPEN_TERMS
        assert free.earliest_end(today) == months_later(today, 1)


def test_before_the_first_import_nothing_is_removed(network: Network, account: Account) -> None:
    before = network.everything()
    for dry in (True, False):
        run = network.run(dry=dry)
        assert (run.found, run.unrepaired) == ({"unknown_there": 2}, 2)
        assert network.everything() == before


def test_a_block_of_which_some_numbers_are_gone_is_named(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number))
    network.by_hand("DELETE FROM dbaliases WHERE alias_username = '+495219999850'")
    _, findings = take(line(account.customer_number))
    assert [(found.column, found.reason) for found in findings] == [("numbers", "part_of_block")]


def test_the_history_of_numbers_begins_with_the_takeover(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number))
    with network.runtime.database.transaction() as session:
        known = sa.select(NumberBlock.first_number, NumberAssignment.until).join(NumberBlock)
        mine = known.where(NumberAssignment.account_id == account.id).order_by(NumberBlock.first_number)
        found = session.execute(mine).all()
    assert [tuple(row) for row in found] == [
        (first, None) for first in (495219999800, 495219999900, 495219999910, 495219999911)
    ]


@pytest.mark.parametrize(("numbers", "usual"), [("", "contact"), ("+49521777", "contact"), ("+49521777/2", "number")])
def test_calls_name_what_they_name_for_ordered_trunks(
    network: Network, account: Account, take: Take, numbers: str, usual: str
) -> None:
    take(line(account.customer_number, "new1", secret="secret", numbers=numbers))
    assert trunk_of(network, "new1")[0].request_uri == usual


def test_a_trunk_that_is_closed_here_is_named(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number))
    with network.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == "old1")).one()
        close_trunk(trunk, network.clock.now)
    _, findings = take(line(account.customer_number))
    assert [(found.line, found.column, found.reason) for found in findings] == [(2, "sip_user", "trunk_closed")]


def test_one_sip_user_twice_in_a_batch_undoes_no_good_row(network: Network, account: Account) -> None:
    number, day = account.customer_number, date(2019, 4, 1)
    rows = [
        TrunkRow(number, user, domain, "secret", 1, "trunk-10", 100, day, frozenset())
        for user, domain in (("one", DOMAIN), ("good", DOMAIN), ("one", "elsewhere"), ("one", DOMAIN))
    ]
    with network.runtime.database.transaction() as session:
        fates = TrunkTakeover(session, VAULT, {"0521"}, network.clock.now).take_over(rows)
    assert fates == ["created", "created", "sip_user_taken", "unchanged"]
    assert trunk_of(network, "good")[0].account_id == account.id


def test_twice_is_once_and_a_dry_run_is_none(network: Network, account: Account, take: Take) -> None:
    lines = line(account.customer_number), line(account.customer_number, "old2")
    summary, _ = take(*lines, dry=True)
    assert (summary.fates, summary.numbers) == ({"created": 2}, 113)
    with network.runtime.database.transaction() as session:
        assert session.scalar(sa.select(SipTrunk.id).where(SipTrunk.sip_user == "old1")) is None
    take(*lines)
    assert take(*lines)[0].fates == {"unchanged": 2}


def test_the_file_may_say_all_by_itself(network: Network, account: Account, take: Take) -> None:
    numbers = '"0521 5550, +49521556600/12"'
    _, findings = take(line(account.customer_number, "new1", domain=DOMAIN, secret="of-the-file", numbers=numbers))
    assert findings == []
    trunk, blocks = trunk_of(network, "new1")
    assert (trunk.domain, VAULT.open(trunk.secret)) == (DOMAIN, "of-the-file")
    assert {block.area_code for block in blocks} == {"0521"}
    found = [(block.first_number, block.size) for block in blocks]
    assert found == [(495215550, 1), (49521556600, 10), (49521556610, 1), (49521556611, 1)]


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"customer_number": "1"}, "customer_number", "not_seven_digits"),
        ({"customer_number": "9999999"}, "customer_number", "no_account"),
        ({"sip_user": "a b"}, "sip_user", "not_a_sip_user"),
        # These get no further than `AUTHENTICATE` of our Kamailio.
        ({"sip_user": "old-1"}, "sip_user", "not_a_sip_user"),
        ({"sip_user": "old.1"}, "sip_user", "not_a_sip_user"),
        ({"sip_user": "+49521"}, "sip_user", "not_a_sip_user"),
        ({"sip_user": "unheardof"}, "sip_user", "not_in_registrar"),
        ({"sip_user": "empty"}, "sip_user", "no_login"),
        ({"domain": "sip example"}, "domain", "not_a_domain"),
        ({"domain": "sip.old"}, "domain", "not_a_domain"),
        ({"secret": "{HA1}x"}, "secret", "not_a_secret"),
        ({"channels": "0"}, "channels", "not_channels"),
        ({"channels": "many"}, "channels", "not_channels"),
        ({"product": "block-10"}, "product", "unknown_product"),
        ({"monthly_price": "1.750,00"}, "monthly_price", "not_a_price"),
        ({"started_on": "31.02.2019"}, "started_on", "not_a_day"),
        ({"started_on": "2999-01-01"}, "started_on", "not_a_day"),
        ({"term_months": "25"}, "term_months", "not_a_term"),
        ({"term_months": "two years"}, "term_months", "not_a_term"),
        ({"notice_months": "3"}, "notice_months", "not_a_notice"),
        ({"term_months": "24", "renewal_months": "-1"}, "renewal_months", "not_a_term"),
        ({"renewal_months": "12"}, "renewal_months", "renewed_without_term"),
        ({"numbers": "a hundred"}, "numbers", "not_numbers"),
        ({"numbers": "0800 1234567"}, "numbers", "no_area_code"),
        ({"numbers": "+43 1 5811234"}, "numbers", "no_area_code"),
        ({"sip_user": "strange"}, "numbers", "strange_alias"),
        ({"numbers": "#N/A"}, "numbers", "error_value"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(
    network: Network, account: Account, take: Take, changes: dict[str, str], column: str, reason: str
) -> None:
    network.by_hand(SUBSCRIBER, ["empty", "", "", ""])
    network.by_hand(SUBSCRIBER, ["strange", "secret", "", ""])
    network.by_hand(
        "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
        " VALUES ('office', 'sip.example', 'strange', 'sip.example')"
    )
    bad = line(**{"customer_number": account.customer_number, **changes})
    summary, findings = take(line(account.customer_number, "old2"), bad)
    assert [(found.line, found.column, found.reason) for found in findings] == [(3, column, reason)]
    assert str(findings[0])
    assert (summary.bad, summary.fates) == (1, {"created": 1})


def test_what_belongs_to_others_is_refused(
    network: Network, account: Account, take: Take, owner_database: Database
) -> None:
    with owner_database.transaction() as session:
        other = make_account(session).customer_number
        closed = make_account(session)
        stock_pool(session, "0521", "9999700", 10, 2, NOW)
        closed.state = type(closed.state).CLOSED
    number = account.customer_number
    take(line(number))
    _, findings = take(
        line(other),
        line(other, "mine", secret="secret", numbers="+495219999805"),
        line(other, "half", secret="secret", numbers="+495219999700/15"),
        line(other, "one", secret="secret", numbers="+49521123"),
        line(other, "two", secret="secret", numbers="+49521123"),
        line(other, "two", secret="secret"),
        line(closed.customer_number, "late", secret="secret"),
    )
    assert [(found.line, found.column, found.reason) for found in findings] == [
        (7, "sip_user", "appears_twice"),
        (2, "sip_user", "sip_user_taken"),
        (3, "numbers", "number_taken"),
        (4, "numbers", "part_of_block"),
        (6, "numbers", "number_taken"),
        (8, "customer_number", "account_closed"),
    ]
    # A whole block of the pool is taken from it, and is ours: not ported in.
    _, findings = take(line(other, "whole", secret="secret", numbers="+495219999710/11"))
    assert findings == []
    found = [(block.first_number, block.size, block.ported_in) for block in trunk_of(network, "whole")[1]]
    assert found == [(495219999710, 10, False), (495219999720, 1, True)]


def test_numbers_that_were_ported_in_never_come_to_the_pool(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number, "old2"))
    with network.runtime.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.first_number == 4930123456)).one()
        release_block(block, network.clock.now)
        assert (block.account_id, block.available_from) == (None, WITHDRAWN)
    # The customer comes back with it.
    assert take(line(account.customer_number, "new", secret="secret", numbers="+4930123456"))[1] == []


def test_numbers_that_the_operator_adds_to_the_pool_are_our_own(network: Network, account: Account, take: Take) -> None:
    take(line(account.customer_number, "old2"))
    with network.runtime.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.first_number == 4930123456)).one()
        release_block(block, network.clock.now)
        session.flush()
        assert stock_pool(session, "030", "123456", 1, 1, network.clock.now) == 1
        session.refresh(block)
        assert not block.ported_in
        assert block.available_from == network.clock.now + QUARANTINE


def test_a_secret_that_nobody_knows_is_not_shown(
    network: Network, account: Account, take: Take, owner_database: Database
) -> None:
    take(line(account.customer_number, "old2"))
    trunk, _ = trunk_of(network, "old2")
    with owner_database.transaction() as session:
        user = make_user(session)
        manager = Principal(user.id, user.email, user.name, "de", {account.id: Role.ADMINISTRATOR})
        own = session.get_one(Account, account.id)
        with pytest.raises(SecretUnknown):
            reveal(session, VAULT, manager, own, trunk.id, NOW)


def test_a_file_is_taken_over_in_batches(
    network: Network, account: Account, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk_import, "BATCH", 2)
    rows = [line(account.customer_number, f"n{n}", secret="secret", numbers=f"+4952100{n}") for n in range(5)]
    assert take(*rows)[0].fates == {"created": 5}


def test_the_commands_import_and_adopt(
    network: Network, account: Account, database_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIP_DOMAIN", DOMAIN)
    file = tmp_path / "stock.csv"
    file.write_text("\n".join([HEADER, line(account.customer_number), line("1")]))
    dry = CliRunner().invoke(app, ["import", "--dry-run", str(file)])
    assert (dry.exit_code, "1  would be created; their numbers: 112" in dry.stdout) == (1, True)
    real = CliRunner().invoke(app, ["import", str(file)])
    assert (real.exit_code, "1  created; their numbers: 112" in real.stdout) == (1, True)
    assert "line 3, customer_number" in real.stderr
    assert (tmp_path / "stock.csv.errors.csv").exists()
    assert CliRunner().invoke(app, ["adopt"], input="n\n").exit_code == 1
    network.by_hand(OTHER_PASSWORD)
    refused = CliRunner().invoke(app, ["adopt", "old1"])
    assert (refused.exit_code, "Adopted trunks: 0; not adopted: 1." in refused.stdout) == (1, True)
    assert "old1: the registrar has changed since the import: secret" in refused.stderr
    again = CliRunner().invoke(app, ["import", str(file)])
    assert "1  brought up to date" in again.stdout
    assert "Adopted trunks: 1; not adopted: 0." in CliRunner().invoke(app, ["adopt"], input="y\n").stdout
    assert CliRunner().invoke(app, ["adopt", "old1"]).exit_code == 1
    file.write_text("nothing")
    assert CliRunner().invoke(app, ["import", str(file)]).exit_code == 2


def test_numbers_become_the_largest_blocks() -> None:
    assert list(as_blocks([])) == []
    assert list(as_blocks(range(4930100, 4930211))) == [(4930100, 100), (4930200, 10), (4930210, 1)]
    assert list(as_blocks(range(4930105, 4930115))) == [(number, 1) for number in range(4930105, 4930115)]
