"""What the auditor of a chaos run reads (`Evidence`), and the registry of its checks by their names in the report."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from tests.named_functions import named

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the auditor's checks read: the record of a chaos run, and its two databases as the run has left them.

    `record` is the record by key (the keys are listed in `tests/chaos/auditor.py`). `portal` and `registrar` are
    connections to the portal's and the registrar's database, which return rows as dictionaries.
    """

    record: dict[str, Any]
    portal: psycopg.Connection[dict[str, Any]]
    registrar: psycopg.Connection[dict[str, Any]]

    def ask(self, question: str) -> Rows:
        """Return the rows of an SQL query on the portal's database, each as a dictionary by column."""
        return self.portal.execute(question.encode()).fetchall()

    def password_digest(self, trunk: dict[str, Any]) -> str:
        """Return the digest (HA1) that the registrar should have for a trunk.

        `trunk` is a row of the portal's table of trunks; its encrypted SIP password is decrypted for this.
        """
        key = hashlib.sha256(f"standorte/vault/1:{self.record['secret_key']}".encode()).digest()
        password = Fernet(base64.urlsafe_b64encode(key)).decrypt(trunk["secret"]).decode()
        return hashlib.md5(f"{trunk['sip_user']}:{trunk['domain']}:{password}".encode()).hexdigest()

    def ask_registrar(self, question: str) -> Rows:
        """Return the rows of an SQL query on the registrar's database, each as a dictionary by column."""
        return self.registrar.execute(question.encode()).fetchall()


Check = Callable[[Evidence], Iterator[str]]
"""A function that gets the evidence and yields what is wrong, as sentences."""
CHECKS: dict[str, Check] = {}
"""All checks by their names in the report, in its order."""
check = partial(named, CHECKS)
