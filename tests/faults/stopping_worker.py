"""The Celery worker, made to stop at the point that the environment variable STOP_AT names.

The stopped process writes its id to the file STOP_FILE and waits to be killed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import signals

from tests.faults.stopping import Stop, install
from workers import process_pools


@signals.worker_process_init.connect
def _install(**_: Any) -> None:
    install(Stop(os.environ["STOP_AT"], Path(os.environ["STOP_FILE"])))


if __name__ == "__main__":
    process_pools.main()
