"""The sizes of the benchmarks: how much the full run measures, and how much the short one."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks import bulkheads


@dataclass(frozen=True, slots=True)
class Size:
    """How much each part of the benchmarks measures; the full run and `--short` have different sizes.

    The fields are numbers: `orders` in a round of throughput, `rounds` of comparisons, `posts` to the web application,
    `singles` (orders one after the other), `tasks` of the memory test, `trunks` in each run of the job `registrar`,
    `due` requests beside the sweep, `grown` orders in a large database, `sweeps`, `pages` of the overview, `rows` of a
    bulk file, `accounts` of the number search, `dial_tones` (orders until a phone registers), `changes` of trunks, and
    `subscribers` and `registrations` at Kamailio.
    """

    orders: int
    rounds: int
    posts: int
    singles: int
    tasks: int
    trunks: tuple[int, ...]
    due: int
    grown: int
    sweeps: int
    pages: int
    rows: int
    accounts: int
    dial_tones: int
    changes: int
    subscribers: int
    registrations: int
    bulkheads: bulkheads.Size


FULL = Size(
    orders=2000,
    rounds=3,
    posts=2000,
    singles=30,
    tasks=100_000,
    trunks=(10_000, 100_000, 1_000_000),
    due=50_000,
    grown=1_000_000,
    sweeps=50,
    pages=200,
    rows=10_000,
    accounts=10_000,
    dial_tones=50,
    changes=20,
    subscribers=100_000,
    registrations=5_000,
    bulkheads=bulkheads.Size(requests=30, trunks=300_000, rows=10_000),
)
SHORT = Size(
    orders=200,
    rounds=1,
    posts=200,
    singles=5,
    tasks=2_000,
    trunks=(1_000, 10_000),
    due=1_000,
    grown=100_000,
    sweeps=5,
    pages=10,
    rows=500,
    accounts=300,
    dial_tones=6,
    changes=3,
    subscribers=10_000,
    registrations=500,
    bulkheads=bulkheads.Size(requests=6, trunks=5_000, rows=300),
)
