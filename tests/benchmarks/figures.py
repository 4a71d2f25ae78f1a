"""The figures that the benchmarks have measured, shown as a table and saved as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what was measured, in which unit, the portal's value (`ours`) and that of the baseline.

    `against` says what the baseline is; `baseline` and `ratio` are None where there is nothing to compare with.
    """

    what: str
    unit: str
    ours: float
    baseline: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """Return the portal's value divided by the baseline; None if there is no baseline or it is zero."""
        return self.ours / self.baseline if self.baseline else None


def table_of(figures: list[Figure]) -> Table:
    """Return the figures as a table for a terminal, one line each."""
    table = Table("figure", "unit", box=None, padding=(0, 2))
    for title in ("ours", "baseline", "ratio"):
        table.add_column(title, justify="right")
    table.add_column("baseline is")
    for figure in figures:
        numbers = [f"{value:,.2f}" if value is not None else "" for value in (figure.ours, figure.baseline)]
        ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
        table.add_row(figure.what, figure.unit, *numbers, ratio, figure.against)
    return table


def save_figures(figures: list[Figure], file: Path) -> None:
    """Write the figures to the file as a JSON array; creates the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
    file.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
