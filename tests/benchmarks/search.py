"""Measures how long the portal takes to find a number by a part, among 1,000,000 numbers of 10,000 accounts."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, issue_customer_numbers
from models.db.session import Database
from models.telephony.inventory import numbers_of
from models.telephony.numbers import NumberBlock
from tests.factories import make_main

# A third of the accounts has its hundred numbers in one block, a third in ten, a third one by one.
_ACCOUNTS = """
INSERT INTO accounts (customer_number, role, state, main_id, origin, attached_at, name, street, postal_code, city,
    contact_name, contact_email, created_at)
SELECT number, 'sub', 'active', :main, 'order', now(), 'Filiale ' || number, 'Große Str. 5', '50667', 'Köln',
    'Kim Beispiel', 'kim@example.com', now()
FROM unnest(CAST(:numbers AS text[])) number
"""
_BLOCKS = """
INSERT INTO number_blocks (area_code, first_number, size, account_id, available_from)
SELECT '0221', 4922100000000 + mod(place * 7919, 99991) * 100 + step, size, id, now()
FROM (
    SELECT id, place, (ARRAY[1, 10, 100])[1 + mod(place, 3)] AS size
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM accounts WHERE main_id = :main) numbered
) sized CROSS JOIN LATERAL generate_series(0, 99, size) step
"""


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """Median milliseconds of a search for a phone number, by the digits that a user types.

    A user types seven digits from within the number (`middle`), the `whole` number or three digits (`short`). `by_key`
    is the baseline: reading one row by its primary key.
    """

    middle: float
    whole: float
    short: float
    by_key: float


def measure(database: Database, accounts: int, tries: int) -> Milliseconds:
    """Make `accounts` accounts with a hundred numbers each, and time `tries` searches with each kind of part."""
    with database.transaction() as session:
        main, _ = make_main(session, name="Zentrale")
        sample = _fill(session, main, accounts)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE accounts"))
        connection.execute(sa.text("VACUUM ANALYZE number_blocks"))
    chosen = random.Random(5)

    def numbers() -> Iterator[str]:
        for _ in range(tries):
            yield str(chosen.choice(sample) + chosen.randrange(100))

    def median(look: Callable[[Session, str], object]) -> float:
        taken = []
        for number in numbers():
            with database.transaction() as session:
                began = time.perf_counter()
                assert look(session, number), number
                taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1000

    with database.transaction() as session:
        some = session.scalars(sa.select(NumberBlock.id).limit(1)).one()
    return Milliseconds(
        middle=median(lambda session, number: numbers_of(session, main, number[5:12]).items),
        whole=median(lambda session, number: numbers_of(session, main, "0" + number[2:]).items),
        short=median(lambda session, number: numbers_of(session, main, number[6:9]).items),
        by_key=median(lambda session, _number: session.get(NumberBlock, some)),
    )


def _fill(session: Session, main: Account, accounts: int) -> list[int]:
    session.execute(sa.text("UPDATE accounts SET role = 'main' WHERE id = :main"), {"main": main.id})
    for start in range(0, accounts, 1000):
        numbers = issue_customer_numbers(session, min(1000, accounts - start))
        session.execute(sa.text(_ACCOUNTS), {"main": main.id, "numbers": numbers})
    session.execute(sa.text(_BLOCKS), {"main": main.id})
    firsts = sa.select(NumberBlock.first_number).join(Account, Account.id == NumberBlock.account_id)
    return [first - first % 100 for first in session.scalars(firsts.where(Account.main_id == main.id))]
