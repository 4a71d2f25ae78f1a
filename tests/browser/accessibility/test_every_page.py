"""Tests that every GET endpoint has an accessibility test in this folder, or a reason here why it has none."""

from __future__ import annotations

from tests.browser.accessibility import (
    test_accounts,
    test_back_office,
    test_orders_and_requests,
    test_people,
    test_telephony,
)
from tests.browser.accessibility.looks import PROMISED
from tests.browser.conftest import Portal

NO_PAGES = {
    "static": "files",
    "openapi": "JSON",
    "api.list_accounts": "JSON",
    "api.show_account": "JSON",
    "api.show_billing": "JSON",
    "api.list_products": "JSON",
    "api.list_requests": "JSON",
    "api.list_costs": "JSON",
    "api.show_request": "JSON",
    "orders.show_hints": "JSON",
    "health.healthz": "for machines",
    "health.readyz": "for machines",
    "health.metrics": "for machines",
    "answers.live": "a part of portal.show_request",
    "locations.live": "a part of portal.overview",
    "locations.export": "CSV and XLSX",
    "locations.table_export": "CSV and XLSX",
    "locations.costs_export": "CSV and XLSX",
    "locations.export_log": "CSV and XLSX",
    "orders.offer": "PDF",
    "answers.order_file": "PDF",
    "office.request_file": "PDF, PNG and JPEG",
    "bulks.template": "CSV and XLSX",
    "bulks.left_out": "CSV",
    "bulks.live": "a part of bulks.show",
    "telephone.live": "a part of telephone.show",
    "dev_mail.letter": "PDF",
    "typeface.show": "a font",
    "typeface.part": "a font",
    "typeface.other_scripts": "a style sheet",
    "dev_mail.source": "plain text",
    "dev_mail.html": "the mail itself: not the portal's, and shown in a frame",
    "portal.home": "leads to portal.overview",
    "users.overview": "leads to users.listed",
    "orders.begin": "leads to orders.show_step",
    "orders.resume": "leads to orders.show_step",
}
"""The GET endpoints that need no accessibility test, each with what it answers instead of a page."""

# Imported for what their tests promise.
_SHOWING = (test_accounts, test_back_office, test_orders_and_requests, test_people, test_telephony)


def test_no_page_is_forgotten(portal: Portal) -> None:
    fetched = {rule.endpoint for rule in portal.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    shown = set[str]().union(*PROMISED.values())
    assert fetched - set(NO_PAGES) == shown
    assert not set(NO_PAGES) - fetched
