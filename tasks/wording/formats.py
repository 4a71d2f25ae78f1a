"""Prices and days as people read them, in German and English."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_currency

from models.values import Locale


def euros(cents: int, locale: Locale) -> str:
    """Format euro cents in the language: '29,90 €', in English '€29.90'."""
    return format_currency(Decimal(cents) / 100, "EUR", locale=locale)


def long_date(day: date, locale: Locale) -> str:
    """Format a day with the month's name in the language, for example '16. März 2026'."""
    return format_date(day, "long", locale=locale)
