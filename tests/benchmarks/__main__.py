"""`make bench`: measures the portal, prints a table and writes the same figures to .standorte/bench.json.

Most figures are printed beside a baseline that is measured in turns with them. Other work slows the machine, so only
the ratio of the two is meaningful. Figures without a baseline have no ratio.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Callable, Sequence

from rich.console import Console

from models.db.roles import DatabaseRole
from tests.benchmarks import (
    accepting,
    broker,
    bulk,
    bulkheads,
    dialtone,
    growth,
    overview,
    pipeline,
    reconciliation,
    registrations,
    search,
    second_wall,
    sweep,
    whole_way,
)
from tests.benchmarks.figures import Figure, save_figures, table_of
from tests.benchmarks.sizes import FULL, SHORT, Size
from tests.benchmarks.system import System, open_system
from workers.stack import kamailio
from workers.stack.data_directory import StackDirectory


class LeftOut(Exception):
    """Raised by a part of the benchmarks that cannot run, or only in part, because a program is not installed.

    `figures` are those that the part has measured before it stopped; empty if there are none.
    """

    def __init__(self, why: str, figures: Sequence[Figure] = ()) -> None:
        super().__init__(why)
        self.figures = figures


LIMIT = 2000
"""The most milliseconds until a phone system notices a change, or an order is completed during trouble elsewhere."""
MOST_SLOWED = 1.5
"""During trouble elsewhere, the median duration of orders or links may be at most this many times the usual one."""


def dial_tone(system: System, size: Size) -> list[Figure]:
    """Measure the milliseconds from a click at the portal until a phone system notices the order or change of a trunk.

    Also measure the registrations a second that Kamailio takes. Raises `LeftOut` without Kamailio; without sipp it
    raises `LeftOut` with the figures that do not need sipp.
    """
    if kamailio.installed() is None:
        raise LeftOut("No kamailio on this machine")
    with system.kamailio(system.postgres.url("registrar", DatabaseRole.KAMAILIO)) as server:
        felt = dialtone.measure(system, server, size.dial_tones, size.changes)
    figures = [
        Figure(
            "click to dial tone: POST to the first 200 for a REGISTER (median)",
            "ms",
            statistics.median(felt.dial_tone) * 1000,
            statistics.median(felt.completed) * 1000,
            "the same POST to completed",
        ),
        Figure("… the slowest of them", "ms", max(felt.dial_tone) * 1000, max(felt.completed) * 1000, "likewise"),
        Figure("… one REGISTER of a trunk that is there (median)", "ms", statistics.median(felt.registration) * 1000),
    ]
    for change, times in felt.in_force.items():
        for what, taken in (
            (f"in force: {change} (median)", statistics.median(times) * 1000),
            ("… the slowest of them", max(times) * 1000),
        ):
            against = "no more than two seconds" + _missed(taken > LIMIT)
            figures.append(Figure(what, "ms", taken, LIMIT, against))
    if shutil.which("sipp") is None:
        raise LeftOut("No sipp on this machine: nobody to register", figures)
    rates = registrations.measure(system, size.subscribers, size.registrations, size.rounds)
    what = f"registrations, {size.subscribers:,} subscribers"
    against = f"the same with {registrations.FEW} subscribers"
    return [*figures, Figure(what, "1/s", statistics.median(rates.many), statistics.median(rates.few), against)]


def throughput(system: System, size: Size) -> list[Figure]:
    """Measure the orders completed a second with 1, 2 and 4 worker processes; return two figures for each of these.

    The first figure counts until all orders are completed, the second until all their mails have left as well. The
    baseline is the number of chains of four empty Celery tasks that as many processes complete a second.
    """
    figures = []
    for processes in (1, 2, 4):
        orders: list[pipeline.Rates] = []
        chains = []
        for _ in range(size.rounds):
            system.flush()
            chains.append(pipeline.chains_per_second(system, processes, size.orders))
            orders.append(pipeline.orders_per_second(system, processes, size.orders))
        bare = statistics.median(chains)
        workers = f"{processes} worker process{'es' if processes > 1 else ''}"
        for what, rates in (
            (f"orders completed, {workers}", [rate.completed for rate in orders]),
            ("… and all their mails sent, with receipts", [rate.mailed for rate in orders]),
        ):
            figures.append(Figure(what, "1/s", statistics.median(rates), bare, "bare chain of four empty tasks"))
    return figures


def whole(system: System, size: Size) -> list[Figure]:
    """Measure orders over HTTP until their last mail has left: how many a second, and processor time of each.

    The baseline is a plain application (Flask, SQLAlchemy, four Celery tasks) that sends the same mails.
    """
    found = whole_way.measure(system, size.orders // 2, size.rounds)
    against = f"plain Flask, SQLAlchemy and a chain of four tasks, the same {found.mails} mails"
    return [
        Figure("orders, HTTP to last mail", "1/s", found.ours.per_second, found.plain.per_second, against),
        Figure("… processor time an order, all processes", "ms", found.ours.cpu, found.plain.cpu, against),
    ]


def latency(system: System, size: Size) -> list[Figure]:
    """Measure the median time of one order on an idle system, from accepted to its last mail, in milliseconds.

    Return this one figure. It is compared with no baseline.
    """
    found = pipeline.seconds_for_one(system, size.singles)
    return [Figure("one order, accepted to its last mail (median)", "ms", statistics.median(found) * 1000)]


def acceptance(system: System, size: Size) -> list[Figure]:
    """Measure orders accepted over HTTP: how many a second, response times, processor time and SQL traffic of each.

    The baseline is a Flask endpoint that inserts one row.
    """
    found = accepting.measure(system, size.posts, size.rounds)
    ours, bare, against = found.ours, found.bare, "Flask endpoint that inserts one row"
    return [
        Figure("orders accepted over HTTP", "1/s", ours.per_second, bare.per_second, against),
        Figure("… p50", "ms", ours.p50, bare.p50, against),
        Figure("… p99", "ms", ours.p99, bare.p99, against),
        Figure("… processor time an order, all servers", "ms", ours.cpu, bare.cpu, against),
        Figure("… round trips to PostgreSQL an order", "", found.traffic.round_trips, 3, "BEGIN, INSERT, COMMIT"),
        Figure("… transactions an order", "", found.traffic.transactions, 1, "likewise"),
    ]


def row_security(system: System, size: Size) -> list[Figure]:
    """Measure the processor time of an order and of an overview with row-level security.

    The baseline is the same without row-level security.
    """
    against = "the same without row-level security"
    return [
        Figure(f"processor time of {what}, behind row-level security", "ms", cost.walled, cost.bare, against)
        for what, cost in second_wall.measure(system, size.rounds * 10).items()
    ]


def broken_broker(system: System, size: Size) -> list[Figure]:
    """Measure the orders a second that are accepted over HTTP while Redis is in a bad state, one figure for each state.

    Redis is away, frozen, full, read-only or refuses writes. The baseline is a Redis that works.
    """
    rates = broker.measure(system, size.posts, size.rounds)
    what = "orders accepted beside a Redis"
    against = "a Redis that works, in turns"
    return [
        Figure(f"{what} {state}", "1/s", statistics.median(found.broken), statistics.median(found.normal), against)
        for state, found in rates.items()
    ]


def memory(system: System, size: Size) -> list[Figure]:
    """Measure the resident memory of the largest worker process while the worker handles `size.tasks` tasks.

    Compares the mean of the last third of the samples with that of the third before: a leak shows as a ratio above 1.
    """
    samples = pipeline.memory(system, size.tasks)
    third = len(samples) // 3
    late, middle = statistics.mean(samples[-third:]), statistics.mean(samples[third : 2 * third])
    what = f"memory of a worker process after {size.tasks:,} tasks"
    return [Figure(what, "MiB", late, middle, "the same, a third of the tasks earlier")]


def registrar(system: System, size: Size) -> list[Figure]:
    """Measure the scheduled job `registrar` for each number of trunks in `size.trunks`: seconds and peak memory.

    The baselines are a bare COPY of the compared tables, and the memory of the smallest run.
    """
    runs = [reconciliation.measure(system, trunks) for trunks in size.trunks]
    figures = []
    for run in runs:
        figures += [
            Figure(f"registrar job, {run.trunks:,} trunks", "s", run.seconds, run.copy, "COPY of both sides' tables"),
            Figure("… peak memory", "MiB", run.peak, runs[0].peak, f"the same with {runs[0].trunks:,} trunks"),
        ]
    return figures


def due(system: System, size: Size) -> list[Figure]:
    """Measure how long a sweep (a look for due work) and a worker's claim of a batch take with many requests due.

    `size.due` requests are due. The baselines are a sweep with nothing due, and a bare SELECT … FOR UPDATE SKIP LOCKED.
    """
    found = sweep.measure(system, size.due, size.sweeps)
    return [
        Figure(f"sweep, {size.due:,} due requests", "ms", found.sweep * 1000, found.idle * 1000, "the same, none due"),
        Figure("… claim of a batch", "ms", found.claim * 1000, found.bare * 1000, "bare FOR UPDATE SKIP LOCKED"),
    ]


def locations(system: System, size: Size) -> list[Figure]:
    """Measure how long the overview of a main account with many sub-accounts takes, against one with few."""
    found = overview.measure(system, size.pages)
    what, against = f"overview, {overview.MANY:,} sub-accounts", f"the same with {overview.FEW} sub-accounts"
    return [Figure(what, "ms", found.many * 1000, found.few * 1000, against)]


def bulks(system: System, size: Size) -> list[Figure]:
    """Measure a bulk file of orders, from upload until all are confirmed, against orders that are sent one by one.

    Also measure how long another customer's single orders take while the workers are busy with the file.
    """
    found = bulk.measure(system, size.rows, size.orders)
    what = f"a bulk of {size.rows:,} orders, upload to confirmed"
    against = "one order a request, same front and workers"
    waits = sorted(found.waits)
    return [
        Figure(what, "1/s", found.bulk.per_second, found.single.per_second, against),
        Figure("… processor time an order, all processes", "ms", found.bulk.cpu, found.single.cpu, against),
        Figure("… its press answered after", "ms", found.answered * 1000),
        Figure("… single order of somebody else meanwhile, median", "ms", statistics.median(waits) * 1000),
        Figure("… the slowest of them", "ms", waits[-1] * 1000, 2000, "no more than two seconds"),
    ]


def number_search(system: System, size: Size) -> list[Figure]:
    """Measure how long the search for a phone number by some or all of its digits takes.

    The baseline is reading one row by its primary key.
    """
    found = search.measure(system.database, size.accounts, size.posts // 10)
    against = "one row by its primary key"
    return [
        Figure(f"a number by {what}, among {size.accounts * 100:,}", "ms", taken, found.by_key, against)
        for what, taken in (
            ("seven digits in its middle", found.middle),
            ("all of its digits", found.whole),
            ("three digits in its middle", found.short),
        )
    ]


def bulkhead_table(system: System, size: Size) -> list[Figure]:
    """Measure how long orders and link requests take on an idle system, and while another part of it is in trouble.

    The median may be at most 1.5 times (`MOST_SLOWED`) that of the idle system, the slowest at most two seconds; a
    figure beyond its limit is marked as missed.
    """
    troubles = bulkheads.measure(system, size.bulkheads)
    idle = troubles["idle"]
    figures = []
    for trouble, felt in troubles.items():
        for kind, times, usual in (("order", felt.orders, idle.orders), ("link", felt.links, idle.links)):
            if times:
                usually, median, slowest = (
                    statistics.median(usual) * 1000,
                    statistics.median(times) * 1000,
                    max(times) * 1000,
                )
                idle_text = "idle" + _missed(median > usually * MOST_SLOWED)
                limit_text = "no more than two seconds" + _missed(slowest > LIMIT)
                figures += [
                    Figure(f"{kind}, {trouble} (median)", "ms", median, usually, idle_text),
                    Figure("… the slowest of them", "ms", slowest, LIMIT, limit_text),
                ]
    return figures


def _missed(is_beyond: bool) -> str:
    return ": MISSED" if is_beyond else ""


def growth_of_tables(system: System, size: Size) -> list[Figure]:
    """Measure the pages of 8 KiB that PostgreSQL reads for a web page, API call, job or claim, with many orders.

    The baseline is the same with 10,000 orders. Its description also names the large tables that were read as a whole,
    and the indexes of large tables that were used. Figures for the size of each growing table follow, compared with
    the size of its indexes.
    """
    found = growth.measure(system, size.grown)
    figures = []
    for what, asked in found.many.items():
        few = found.few[what]
        how = ", ".join([*(f"ALL OF {table}" for table in sorted(asked.whole)), *sorted(asked.indexes)])
        against = f"{growth.FEW:,} orders; {asked.fails or how or 'no large table'}"
        figures += [
            Figure(f"{what}: pages read", "", asked.pages, few.pages, against),
            Figure(f"… in {asked.statements} statements", "ms", asked.ms, few.ms, f"{growth.FEW:,} orders"),
        ]
    for table in found.tables:
        what, against = f"{table.name}, {table.rows / found.orders:.1f} rows an order", "its indexes"
        figures.append(Figure(what, "MiB", table.data, table.indexes, against))
    return [*figures, Figure("orders in all of this", "", found.orders)]


PARTS: dict[str, Callable[[System, Size], list[Figure]]] = {
    "latency": latency,
    "bulkheads": bulkhead_table,
    "dialtone": dial_tone,
    "throughput": throughput,
    "whole-way": whole,
    "accepting": acceptance,
    "second-wall": row_security,
    "broker": broken_broker,
    "bulk": bulks,
    "memory": memory,
    "registrar": registrar,
    "sweep": due,
    "overview": locations,
    "growth": growth_of_tables,
    # Last: its numbers are many, and stay.
    "search": number_search,
}


def main() -> None:
    """Run all parts of the benchmarks, or those named with `--only`; print the table of figures and save it as JSON.

    `--short` runs each part with small numbers (see `sizes.py`).
    """
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    arguments = parser.parse_args()
    size = SHORT if arguments.short else FULL
    # Wide enough for the table also where there is no terminal.
    console = Console(width=132)
    with open_system() as system:
        figures: list[Figure] = []
        left_out = []
        for name in arguments.only or PARTS:
            with console.status(f"measuring: {name}"):
                try:
                    figures += PARTS[name](system, size)
                except LeftOut as reason:
                    figures += reason.figures
                    left_out.append(f"NOT MEASURED, {name}: {reason}. As root on Debian: .make/sip")
    console.print(table_of(figures))
    for line in left_out:
        console.print(line, style="bold red")
    save_figures(figures, StackDirectory().path / "bench.json")


if __name__ == "__main__":
    main()
