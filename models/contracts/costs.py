"""Total costs of several products: net, value-added tax and gross, in integer euro cents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.contracts.catalogue import PriceLine

VAT_PERCENT = 19
"""The German value-added tax rate in percent, for telecommunication services to businesses (§ 12 UStG)."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A net sum in euro cents. Value-added tax is calculated once on the sum, not on each line."""

    net: int

    @property
    def vat(self) -> int:
        """Return the value-added tax on the sum in euro cents, rounded to the cent, halves up."""
        return (self.net * VAT_PERCENT + 50) // 100

    @property
    def gross(self) -> int:
        """Return the sum including value-added tax, in euro cents."""
        return self.net + self.vat


@dataclass(frozen=True, slots=True)
class Costs:
    """The total monthly and the total one-off cost of several products."""

    monthly: Amount
    one_off: Amount


def costs_of(lines: Iterable[PriceLine]) -> Costs:
    """Return the total monthly and one-off costs of products at these prices; a product given twice counts twice."""
    chosen = tuple(lines)
    return Costs(
        Amount(sum(line.monthly_cents for line in chosen)),
        Amount(sum(line.one_off_cents for line in chosen)),
    )
