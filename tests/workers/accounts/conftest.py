"""Fixtures of the tests of importing customers: the CSV file, and a function that writes and imports it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.db.session import Database
from models.values import utc_now
from workers.accounts.customer_file import open_customers
from workers.accounts.customer_import import AccountImport, Finding, Summary

HEADER = "customer_number;name;street;postal_code;city;contact_name;contact_email;contact_phone"
Take = Callable[..., tuple[Summary, list[Finding]]]


def line(number: str = "4000001", **changes: str) -> str:
    """Return a valid line of the CSV file of customers, with the columns in `changes` replaced."""
    values = {
        "customer_number": number,
        "name": "Möbel Müller GmbH",
        "street": "Große Str. 1",
        "postal_code": "33602",
        "city": "Bielefeld",
        "contact_name": "Erika Müller",
        "contact_email": f"kontakt{number}@example.de",
        "contact_phone": "0521 99998-0",
        **changes,
    }
    return ";".join(values.values())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the CSV file of customers, which does not exist yet."""
    return tmp_path / "customers.csv"


@pytest.fixture
def take(database: Database, file: Path) -> Take:
    """Provide a function that writes lines to the CSV file and imports it; it returns a summary and all findings.

    The summary counts the rows and what became of them; a finding is a problem of a row, or a remark on it. The
    function's parameters are the lines and, as keywords, the file's `header` line and `encoding`.
    """

    def take(*lines: str, header: str = HEADER, encoding: str = "utf-8") -> tuple[Summary, list[Finding]]:
        file.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
        findings: list[Finding] = []
        with open_customers(file) as customers:
            summary = AccountImport(database, utc_now, findings.append, lambda _: None).run(customers)
        return summary, findings

    return take
