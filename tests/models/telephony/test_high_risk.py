"""Tests of high-risk destinations: who may forward calls to them, and who gets a mail about it.

Also of the limit of a trunk, which says which destinations may be called from it.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.errors import InvalidField
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.rights import Role
from models.people.users import User, principal_of
from models.states import Origin
from models.telephony.allowed_destinations import ensure_may_choose, limits_for
from models.telephony.country_prefixes import EEA, PREFIXES, PrefixRules, rules_of
from models.telephony.forwarding import CallForwarding, Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding, change_forwarding
from models.telephony.high_risk import high_risk_prefixes, is_high_risk
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, join, make_account, make_main, make_user
from tests.web.portal.accounts.sites import make_trunk

SATELLITE, SOMALIA, GRENADA = "+881612345678", "+252612345678", "+14734441234"


def test_satellites_premium_numbers_and_known_countries_are_high_risk(database: Database) -> None:
    with database.transaction() as session:
        for number in (SATELLITE, SOMALIA, GRENADA, "+870773123456", "+88213123456", "+97912345678", "+80812345678"):
            assert is_high_risk(session, number), number
        for number in ("+4930123456", "+12125550123", "+4319876543", "+447911123456", "+80012345678"):
            assert not is_high_risk(session, number), number
        # Price-capped by the EU: none is blocked unless asked for.
        eea = {prefix for key in EEA for prefix in PREFIXES[key]}
        assert not eea & set(high_risk_prefixes(session))


def test_a_limit_holds_for_whole_countries_and_their_neighbours_in_a_zone() -> None:
    germany, eea, america = rules_of(["DE"]), rules_of(EEA), rules_of(["US"])
    assert germany == PrefixRules(("49",), ("490", "4910"))
    for number, allowed in {
        "+4930123456": (True, True, True),
        "+49115": (True, True, True),
        "+49103300252612345678": (False, False, False),
        "+4900252612345": (False, False, False),
        "+4319876543": (False, True, False),
        "+41446681800": (False, False, False),
        "+12125550123": (False, False, True),
        "+14165550123": (False, False, True),
        GRENADA: (False, False, False),
        SATELLITE: (False, False, False),
    }.items():
        assert tuple(rules.allows(number) for rules in (germany, eea, america)) == allowed, number
    assert rules_of(["US", "GD"]).allows(GRENADA)
    assert not rules_of(["RU"]).allows("+77272501234") and rules_of(["KZ"]).allows("+77272501234")
    assert rules_of(None) == PrefixRules() and rules_of(None).allows(SATELLITE)
    assert rules_of(["870"]).allows("+870773123456")


def test_blocked_prefixes_win_over_the_limit_and_only_those_inside_it_are_named() -> None:
    blocked = ["252", "881", "1473", "88"]
    assert rules_of(["DE"], blocked) == rules_of(["DE"])
    everywhere = rules_of(None, blocked)
    assert not everywhere.allows(SOMALIA) and everywhere.allows("+12125550123") and not everywhere.allows(GRENADA)
    assert not rules_of(["GD", "881"], blocked).allows(GRENADA)
    assert not rules_of(["GD", "881"], blocked).allows(SATELLITE)


def test_a_new_trunk_calls_the_eea_and_the_country_of_its_fallback() -> None:
    assert limits_for(None) == limits_for("+4915123456789") == list(EEA)
    assert limits_for("+41791234567") == [*EEA, "CH"]
    assert rules_of(limits_for("+12125550123")).allows("+12125550123")


@pytest.fixture
def people(database: Database) -> dict[str, int]:
    """Create a sub-account with a trunk and users, and users of its main account; return their ids by name.

    `main` and `account` are the two accounts, `trunk` is the trunk. `leader` and `above` are administrators of the main
    account, `manager` is its location manager; `administrator` and `colleague` are administrators of the sub-account,
    `member` is its local member.
    """
    with database.transaction() as session:
        main, leader = make_main(session)
        account = make_account(session)
        attach(session, main.id, account.id, Origin.LINK, NOW)
        trunk = make_trunk(session, account)
        found = {"main": main.id, "account": account.id, "trunk": trunk, "leader": leader.user_id}
        for name, of, role in (
            ("administrator", account, Role.ADMINISTRATOR),
            ("colleague", account, Role.ADMINISTRATOR),
            ("member", account, Role.LOCAL_MEMBER),
            ("above", main, Role.ADMINISTRATOR),
            ("manager", main, Role.LOCATION_MANAGER),
        ):
            user = make_user(session, name=name)
            join(session, user, of, role)
            found[name] = user.id
        session.flush()
        return found


def forward(database: Database, people: dict[str, int], who: str, draft: ForwardingDraft, id: int | None = None) -> int:
    """Add a forwarding to the sub-account, or change the forwarding `id`, as a user; return the forwarding's id.

    `people` has the ids of the accounts and users by name, from the fixture `people`; `who` is the user's name in it.
    """
    with database.transaction() as session:
        account = session.get_one(Account, people["account"])
        person = principal_of(session, session.get_one(User, people[who]))
        if id is not None:
            change_forwarding(session, person, account, id, draft, NOW)
            return id
        return add_forwarding(session, person, account, draft, NOW).id


def test_only_an_administrator_orders_a_trunk_that_calls_further_countries_than_usual(
    database: Database, people: dict[str, int]
) -> None:
    with database.transaction() as session:
        main = session.get_one(Account, people["main"])
        manager, above = (principal_of(session, session.get_one(User, people[who])) for who in ("manager", "above"))
    for countries, fallback in ((None, None), (("DE",), None), (EEA, None), (("CH",), "+41791234567")):
        ensure_may_choose(manager, main, countries, fallback)
    with pytest.raises(InvalidField) as refused:
        ensure_may_choose(manager, main, ("ZW", "AT", "870"), None)
    assert (refused.value.field, refused.value.code) == ("countries", "administrator_chooses")
    assert refused.value.allowed == ["870", "ZW"]
    ensure_may_choose(above, main, ("ZW", "AT", "870"), None)


@pytest.mark.parametrize("who", ["administrator", "above"])
def test_only_an_administrator_confirms_and_the_others_are_told(
    database: Database, people: dict[str, int], who: str
) -> None:
    bare = ForwardingDraft(Condition.ALWAYS, "00881 612345678")
    for other in ("member", "manager"):
        for confirmed in (None, SATELLITE):
            draft = ForwardingDraft(Condition.ALWAYS, SATELLITE, confirmed=confirmed)
            with pytest.raises(InvalidField) as refused:
                forward(database, people, other, draft)
            assert (refused.value.field, refused.value.code) == ("target", "administrator_confirms")
    for confirmed in (None, SOMALIA):
        with pytest.raises(InvalidField) as refused:
            forward(database, people, who, ForwardingDraft(Condition.ALWAYS, bare.target, confirmed=confirmed))
        assert (refused.value.field, refused.value.code, refused.value.allowed) == ("confirmed", "high_risk", SATELLITE)
    id = forward(database, people, who, ForwardingDraft(Condition.ALWAYS, bare.target, confirmed=SATELLITE))
    with database.transaction() as session:
        told = session.scalars(sa.select(Message).order_by(Message.id)).all()
        leader = session.get_one(User, people["leader"]).name
        names = {"administrator", "colleague", "above", leader} - {who}
        assert {one.recipient_name for one in told} == names and len(told) == len(names)
        assert {one.template for one in told} == {"high_risk_allowed"}
        assert told[0].facts["target"] == SATELLITE and told[0].facts["name"] == who
        assert [one.facts["target"] for one in session.scalars(sa.select(AuditEntry))] == [SATELLITE]
    # A member may switch it off, and not on again.
    forward(database, people, "member", ForwardingDraft(Condition.ALWAYS, SATELLITE, enabled=False), id)
    with pytest.raises(InvalidField):
        forward(database, people, "member", ForwardingDraft(Condition.ALWAYS, SATELLITE, confirmed=SATELLITE), id)


def test_a_forwarding_leads_only_where_its_trunk_may_call(database: Database, people: dict[str, int]) -> None:
    with database.transaction() as session:
        session.get_one(SipTrunk, people["trunk"]).countries = ["DE"]
    with pytest.raises(InvalidField) as refused:
        forward(database, people, "administrator", ForwardingDraft(Condition.ALWAYS, "+43 1 58858"))
    assert (refused.value.field, refused.value.code) == ("target", "outside_limit")
    forward(database, people, "member", ForwardingDraft(Condition.ALWAYS, "0171 1234567"))
    forward(database, people, "member", ForwardingDraft(Condition.BUSY, "+43 1 58858", enabled=False))
    with database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(CallForwarding)) == 2
        assert session.scalar(sa.select(sa.func.count()).select_from(Message)) == 0
