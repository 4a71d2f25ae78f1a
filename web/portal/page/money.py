"""Formats prices in euros for pages."""

from __future__ import annotations

from tasks.wording import formats
from web.portal.page.locale import locale


def euros(cents: int) -> str:
    """Format euro cents in the page's language: '29,90 €', in English '€29.90'."""
    return formats.euros(cents, locale())
