"""The API's blueprint with every endpoint: importing this module registers them all."""

from __future__ import annotations

from web.api import (
    accounts,
    cancellations,
    changes,
    collective_invoices,
    costs,
    links,
    moves,
    numbers,
    orders,
    products,
    proofs,
    requests,
)
from web.api.blueprint import api

__all__ = [
    "accounts",
    "api",
    "cancellations",
    "changes",
    "collective_invoices",
    "costs",
    "links",
    "moves",
    "numbers",
    "orders",
    "products",
    "proofs",
    "requests",
]
