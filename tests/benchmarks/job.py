"""Runs a scheduled job in a process of its own, so that its peak memory can be measured.

`python -m tests.benchmarks.job NAME` runs the job on the databases that the environment names, and prints seconds, peak
memory, outcome, counts and findings as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one run of a scheduled job: its seconds, its peak memory in MiB and its outcome.

    `counts` are the counts that the job has recorded, by name; `found` is the number of its findings of each kind.
    """

    seconds: float
    peak: float
    """Peak memory in MiB."""
    outcome: str
    counts: dict[str, int]
    found: dict[str, int]


def measure(name: str, environment: Mapping[str, str]) -> Measured:
    """Run the scheduled job `name` in a new process with this environment; return its time, memory and results."""
    command = [sys.executable, "-m", __name__, name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _run(name: str) -> Measured:
    runtime = build_runtime(WorkerSettings())
    try:
        began = time.perf_counter()
        run = run_job(runtime, JOBS[name], by_hand=True)
        seconds = time.perf_counter() - began
    finally:
        close_runtime(runtime)
    assert run is not None
    # Not getrusage: its peak includes what the parent had before the exec.
    [kibibytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return Measured(seconds, int(kibibytes) / 1024, str(run.outcome), run.counts, run.found)


if __name__ == "__main__":
    print(json.dumps(asdict(_run(sys.argv[1]))))
