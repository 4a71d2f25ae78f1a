"""The runtime of this process. `workers` sets it when a process starts; tasks find it here."""

from __future__ import annotations

from tasks.runtime import Runtime

_runtime: Runtime | None = None


def set_runtime(runtime: Runtime | None) -> None:
    """Called once by the composition root, and by tests."""
    global _runtime
    _runtime = runtime


def runtime() -> Runtime:
    """What the tasks of this process work with. Raises if no worker has set it: the web front runs no tasks."""
    if _runtime is None:
        raise RuntimeError("no runtime in this process: only workers run tasks")
    return _runtime
