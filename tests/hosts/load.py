"""The load of `make hosts`: a program that plays customers and sends orders over HTTPS at a steady rate.

`python -m tests.hosts.load TASK.json RECORD.jsonl`. TASK has the portal's `url`, the certificate `ca` of the authority
to trust, the API `tokens` of the customers, the `rate` in orders a second, and the number `kept` of connections to keep
open. Each call, and how each order ended, is written to RECORD at once, as one line of JSON. SIGTERM ends the load: no
new order is begun, and those that are not answered yet are repeated until they are.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

import httpx

from tests.benchmarks.front import BODY

PATIENCE = 90.0
"""Seconds for which a customer repeats an order before giving up."""
_PAUSE = 0.5
"""Seconds before a customer repeats an order."""
_TIMEOUT = httpx.Timeout(12, connect=3, pool=None)
"""Time limits in seconds of a customer's call: for the connection, and for the answer."""
_MOST = 600
"""The most customers who wait for an answer at the same time. While there are so many, no further order is begun."""


class Customers:
    """The customers: they send each order with its own idempotency key, and repeat the call until it is answered.

    An order is given up after `PATIENCE` (90) seconds.
    """

    def __init__(self, task: dict[str, Any], record: TextIO) -> None:
        self._task, self._record = task, record
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Send orders until SIGTERM; return when all of them have been answered or given up."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._is_over.set)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._task["kept"], keepalive_expiry=5)
        trusted = ssl.create_default_context(cafile=self._task["ca"])
        async with httpx.AsyncClient(
            base_url=self._task["url"], verify=trusted, timeout=_TIMEOUT, limits=limits
        ) as api:
            began = time.monotonic()
            for number in count():
                wait = began + number / self._task["rate"] - time.monotonic()
                try:
                    await asyncio.wait_for(self._is_over.wait(), max(wait, 0.001))
                    break
                except TimeoutError:
                    pass
                if len(self._under_way) < _MOST:
                    order = asyncio.create_task(self._order(api, number))
                    self._under_way.add(order)
                    order.add_done_callback(self._under_way.discard)
            await asyncio.gather(*self._under_way)

    async def _order(self, api: httpx.AsyncClient, number: int) -> None:
        tokens = self._task["tokens"]
        headers = {
            "Authorization": f"Bearer {tokens[number % len(tokens)]}",
            "Idempotency-Key": uuid4().hex,
            "Content-Type": "application/json",
        }
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            began = time.time()
            try:
                answer = await api.post("/api/v1/orders", content=BODY, headers=headers)
            except httpx.HTTPError as error:
                self._write(order=number, began=began, error=type(error).__name__)
            else:
                self._write(order=number, began=began, status=answer.status_code)
                if answer.status_code == 202:
                    return self._write(order=number, accepted=answer.json()["id"])
                if answer.status_code < 500 and answer.status_code != 429:
                    return self._write(order=number, failed=f"{answer.status_code} {answer.text[:300]}")
            await asyncio.sleep(_PAUSE)
        return self._write(order=number, unanswered=True)

    def _write(self, **facts: Any) -> None:
        print(json.dumps({"at": time.time(), **facts}), file=self._record, flush=True)


def main() -> None:
    """Read the task, and send orders until SIGTERM."""
    task = json.loads(Path(sys.argv[1]).read_text())
    with Path(sys.argv[2]).open("w") as record:
        asyncio.run(Customers(task, record).run())


if __name__ == "__main__":
    main()
