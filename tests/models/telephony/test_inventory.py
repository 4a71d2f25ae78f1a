"""Tests of the lists of numbers, trunks and contracts of all locations, and of the search by a part of a number.

The search must find what a simple model finds that checks each number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.contracts.contracts import Contract, ContractItem
from models.db.paging import BadCursor
from models.db.session import Database
from models.states import Origin
from models.telephony import inventory
from models.telephony.inventory import contracts_of, numbers_of, trunks_of
from models.telephony.number_search import found_by
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tests.factories import NOW, make_account, make_main

# Berlin, Bielefeld and Münster, with subscribers that share digits with each other and with the area codes.
BLOCKS = [
    ("030", 4930123, 1), ("030", 4930123450, 10), ("030", 493012345600, 100), ("030", 4930300300, 10),
    ("0521", 495211230, 10), ("0521", 4952149300, 100), ("0521", 495214910, 1), ("0251", 49251030, 10),
    ("0251", 4925100, 1), ("0251", 492510100, 100),
]  # fmt: skip


def give(session: Session, account: Account, area_code: str, first: int, size: int) -> NumberBlock:
    """Give the account a block of `size` numbers, the first of which is `first` (E.164, as an integer); return it."""
    block = NumberBlock(area_code=area_code, first_number=first, size=size, account_id=account.id, available_from=NOW)
    session.add(block)
    session.flush()
    return block


@pytest.fixture
def stocked(database: Database) -> Iterator[Session]:
    """Provide a session, with an open transaction, in which one account has all number blocks of the list `BLOCKS`."""
    with database.transaction() as session:
        account = make_account(session)
        for area_code, first, size in BLOCKS:
            give(session, account, area_code, first, size)
        yield session


def by_hand(digits: str, plain: str) -> set[int]:
    """Return the first number of each block in `BLOCKS` that has a matching number, by checking each number.

    `plain` is the text that is searched for, `digits` its digits. If `plain` begins with "+", a number matches whose
    E.164 form begins with the digits. Otherwise a number matches if its E.164 form contains the digits, or if they are
    the first that one dials for it, with 0 or 00.
    """
    found = set()
    for _, first, size in BLOCKS:
        for number in range(first, first + size):
            e164, national = str(number), "0" + str(number)[2:]
            if plain.startswith("+"):
                hit = e164.startswith(digits)
            elif digits.startswith("00"):
                hit = e164.startswith(digits[2:]) or digits in e164
            else:
                hit = digits in e164 or national.startswith(digits)
            if hit:
                found.add(first)
    return found


@st.composite
def typed_parts(draw: st.DrawFn) -> str:
    """Draw a text to search for: a part of a number in any spelling, or random digits, with usual separators."""
    if draw(st.booleans()):
        _, first, size = draw(st.sampled_from(BLOCKS))
        e164 = str(first + draw(st.integers(0, size - 1)))
        text = draw(st.sampled_from(["+" + e164, "00" + e164, "0" + e164[2:], e164]))
        begin = draw(st.integers(0, len(text) - 1))
        part = text[begin : draw(st.integers(begin + 1, len(text)))]
    else:
        part = draw(st.text("0123459", min_size=1, max_size=9))
    return part[0] + "".join(draw(st.sampled_from(["", "", "", " ", "-", "/", " / ", ") "])) + one for one in part[1:])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typed_parts())
@example("000")
@example("+0")
def test_the_database_finds_what_brute_force_finds(stocked: Session, typed: str) -> None:
    found = set(stocked.scalars(sa.select(NumberBlock.first_number).where(found_by(typed))))
    digits = re.sub("[^0-9]", "", typed)
    assert found == by_hand(digits, typed)


@pytest.mark.parametrize(
    "typed",
    [
        "030 / 123-45", "+49 30 12345", "0049 30 12345", "(030) 12345", "030/12345-6", "+49 (0)30 123456",
        "03012345678", "+49 30 123456 42", "4930123456", "30 1234 56", "3456 7", "01234",
    ],
)  # fmt: skip
def test_usual_spellings_find_the_number_inside_its_block(stocked: Session, typed: str) -> None:
    found = set(stocked.scalars(sa.select(NumberBlock.first_number).where(found_by(typed))))
    assert 493012345600 in found or typed == "01234"
    assert 49251030 not in found


@pytest.fixture
def company(database: Database) -> tuple[Account, list[Account]]:
    """Create a main account with five sub-accounts, and another customer's account.

    Return the main account and its sub-accounts. Each account has two number blocks, a trunk and a contract.
    """
    with database.transaction() as session:
        main, _ = make_main(session, name="Zentrale")
        stranger = make_account(session, name="Fremd")
        subs = []
        for place, city in enumerate(["Köln", "Bonn", "Köln", "Berlin", "Ulm"]):
            account = make_account(session, name=f"Standort {place}", city=city)
            attach(session, main.id, account.id, Origin.LINK, NOW)
            subs.append(account)
        session.flush()
        for place, account in enumerate([main, *subs, stranger]):
            contract = Contract(account_id=account.id, started_at=NOW)
            session.add(contract)
            session.flush()
            for product, cents in (("trunk-10", 2990), ("block-10", 290 + place)):
                session.add(
                    ContractItem(contract_id=contract.id, product_key=product, monthly_cents=cents, one_off_cents=0)
                )
            trunk = SipTrunk(
                account_id=account.id, contract_id=contract.id, sip_user=f"t{place:012d}", domain="sip.example",
                secret=b"x", channels=2, created_at=NOW,
            )  # fmt: skip
            session.add(trunk)
            session.flush()
            for more in (0, 10):
                give(session, account, "030", 493050000000 + place * 1000 + more, 10).trunk_id = trunk.id
        return main, subs


@pytest.mark.parametrize("what", ["numbers", "trunks", "contracts"])
def test_every_list_pages_through_all_of_the_company_once(
    database: Database, company: tuple[Account, list[Account]], what: str
) -> None:
    main, subs = company
    after, seen, numbers = None, [], []
    with database.transaction() as session:
        while True:
            if what == "numbers":
                page = numbers_of(session, main, after=after, limit=5)
            elif what == "trunks":
                page = trunks_of(session, main, after=after, limit=5)  # type: ignore[assignment]
            else:
                page = contracts_of(session, main, NOW, after=after, limit=5)  # type: ignore[assignment]
            seen += [item.account.customer_number for item in page.items]
            numbers += [item.block.id for item in page.items if what == "numbers"]
            after = page.after
            if after is None:
                break
    times = 2 if what == "numbers" else 1
    assert seen == sorted(account.customer_number for account in [main, *subs] for _ in range(times))
    assert len(numbers) == len(set(numbers))


def test_numbers_are_narrowed_by_words_and_digits(
    database: Database, company: tuple[Account, list[Account]], monkeypatch: pytest.MonkeyPatch
) -> None:
    main, subs = company
    for few in (inventory.FEW, 3):
        monkeypatch.setattr(inventory, "FEW", few)
        with database.transaction() as session:
            for search, expected in {
                "koeln": {subs[0].id, subs[2].id},
                "030 5000": {account.id for account in [main, *subs]},
                "Köln 50 00 10": {subs[0].id},
                "0305000 6": set(),
                "500020": {subs[1].id},
                "+49 30 50002017": {subs[1].id},
                "nirgends": set(),
                "0123456789": set(),
            }.items():
                listed = numbers_of(session, main, search).items
                assert {item.account.id for item in listed} == expected, (few, search)
                assert {item.sip_user for item in listed} <= {f"t{place:012d}" for place in range(6)}


def test_trunks_and_contracts_are_narrowed_by_words(database: Database, company: tuple[Account, list[Account]]) -> None:
    main, subs = company
    with database.transaction() as session:
        session.scalars(sa.select(SipTrunk).where(SipTrunk.account_id == subs[3].id)).one().state = TrunkState.CLOSED
        ended = session.scalars(sa.select(Contract).where(Contract.account_id == subs[4].id)).one()
        ended.ended_at = NOW + timedelta(hours=1)
    with database.transaction() as session:
        assert [item.account.id for item in trunks_of(session, main, "t000000000002").items] == [subs[1].id]
        assert len(trunks_of(session, main).items) == 5
        bonn = contracts_of(session, main, NOW, "bonn rufnummernblock").items
        assert [(item.account.id, item.monthly_cents) for item in bonn] == [(subs[1].id, 2990 + 292)]
        assert [product.key for _, product in bonn[0].items] == ["trunk-10", "block-10"]
        assert contracts_of(session, main, NOW, "Kanäle fax").items == []
        assert len(contracts_of(session, main, NOW).items) == 6
        assert len(contracts_of(session, main, NOW + timedelta(hours=1)).items) == 5


@pytest.mark.parametrize("place", ["x", "bnVsbA", "WyJhIl0", "WzEsMl0", "WyJhIiwtMV0"])
def test_a_place_that_we_have_not_given_out(database: Database, place: str) -> None:
    with database.transaction() as session:
        main, _ = make_main(session)
        with pytest.raises(BadCursor):
            numbers_of(session, main, after=place)


MIDDLE, BEGIN = "ix_number_blocks_stem", "ex_number_blocks_overlap"


def test_indexes_answer_for_a_part_in_the_middle_and_for_a_beginning(database: Database) -> None:
    """Check that a search uses an index, among so many number blocks that the planner would choose one.

    All 20,000 blocks belong to one account, because creating 10,000 accounts would take too long for a test.
    """
    with database.transaction() as session:
        account = make_account(session)
        session.execute(
            sa.text(
                "INSERT INTO number_blocks (area_code, first_number, size, account_id, available_from)"
                " SELECT '030', 493010000000 + n * 100, 100, :account, now() FROM generate_series(0, 19999) n"
            ),
            {"account": account.id},
        )
        # How much of the index is still in its pending list depends on the tests before; a long list costs like a scan.
        session.execute(sa.select(sa.func.gin_clean_pending_list(MIDDLE)))
        session.execute(sa.text("ANALYZE number_blocks"))
        for typed, indexes in {
            "987 65": {MIDDLE},
            "1098765": {MIDDLE},
            "030 10987 65": {MIDDLE, BEGIN},
            "+49 30 10987 65": {BEGIN},
        }.items():
            query = sa.select(NumberBlock.id).where(NumberBlock.account_id.is_not(None), found_by(typed))
            explained = str(query.compile(session.connection(), compile_kwargs={"literal_binds": True}))
            plan = "\n".join(session.connection().exec_driver_sql("EXPLAIN " + explained).scalars())
            assert {index for index in (MIDDLE, BEGIN) if index in plan} == indexes, plan
            assert "Seq Scan" not in plan, plan
