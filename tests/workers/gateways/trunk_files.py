"""Lines of CSV files of trunks, and SQL that gives Kamailio trunks which the portal does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from workers.accounts.customer_import import Finding
from workers.accounts.trunk_import import TrunkSummary

HEADER = (
    "customer_number;sip_user;channels;product;monthly_price;started_on;domain;secret;numbers"
    ";term_months;notice_months;renewal_months"
)
SUBSCRIBER = "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES (%s, 'sip.example', %s, %s, %s)"
ALIASES = (
    "INSERT INTO dbaliases (alias_username, alias_domain, username, domain)"
    " SELECT '+' || n, 'sip.example', %s, 'sip.example' FROM generate_series(%s, %s) AS n"
)
HA1 = hashlib.md5(b"old2:sip.example:nobody knows", usedforsecurity=False).hexdigest()
HA1B = hashlib.md5(b"old2@sip.example:sip.example:nobody knows", usedforsecurity=False).hexdigest()
Take = Callable[..., tuple[TrunkSummary, list[Finding]]]


def line(customer_number: str, sip_user: str = "old1", **changes: str) -> str:
    """Return a valid line of a CSV file of trunks, with the columns in `changes` replaced."""
    values = {
        "customer_number": customer_number,
        "sip_user": sip_user,
        "channels": "8",
        "product": "trunk-10",
        "monthly_price": "17,50",
        "started_on": "01.04.2019",
        "domain": "",
        "secret": "",
        "numbers": "",
        "term_months": "",
        "notice_months": "",
        "renewal_months": "",
        **changes,
    }
    return ";".join(values.values())
