"""What a worker process works with: database, gateways, secrets, clock and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from models.db.session import Database
from models.values import Clock
from models.vault import Vault
from tasks.ports import Ports
from tasks.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything a worker process has, built once by `workers`.

    `lease` is how long a claim lasts: longer than a batch's slowest calls, short enough to wait for when a
    worker dies. `batch` is how many due requests are taken at once.
    """

    database: Database
    ports: Ports
    vault: Vault
    clock: Clock
    sip_domain: str
    base_url: str
    mail_domain: str
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lease: timedelta = timedelta(seconds=90)
    batch: int = 32
