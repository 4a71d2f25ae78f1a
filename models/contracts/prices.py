"""What several products cost together: net, value-added tax and gross, in integer euro cents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.contracts.catalogue import Product

VAT_PERCENT = 19
"""Germany's, for telecommunication services to businesses (§ 12 UStG)."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum, net; tax is added once to the sum, not to each line."""

    net: int

    @property
    def vat(self) -> int:
        """Rounded to the cent, halves up."""
        return (self.net * VAT_PERCENT + 50) // 100

    @property
    def gross(self) -> int:
        """With the tax."""
        return self.net + self.vat


@dataclass(frozen=True, slots=True)
class Costs:
    """What is paid every month, and what is paid once."""

    monthly: Amount
    one_off: Amount


def costs_of(products: Iterable[Product]) -> Costs:
    """What these products cost together."""
    chosen = tuple(products)
    return Costs(
        Amount(sum(product.monthly_cents for product in chosen)),
        Amount(sum(product.one_off_cents for product in chosen)),
    )
