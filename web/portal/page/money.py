"""Formatting of prices."""

from __future__ import annotations

from decimal import Decimal

from flask_babel import format_currency


def euros(cents: int) -> str:
    """Format euro cents in the page's language: '29,90 €', in English '€29.90'."""
    text: str = format_currency(Decimal(cents) / 100, "EUR")
    return text
