"""The `Runtime` of this process, which the Celery tasks read. A worker process sets it when it starts."""

from __future__ import annotations

from tasks.runtime import Runtime

_runtime: Runtime | None = None


def set_runtime(runtime: Runtime | None) -> None:
    """Set the `Runtime` that this process's tasks use; None removes it."""
    global _runtime
    _runtime = runtime


def runtime() -> Runtime:
    """Return the `Runtime` of this process. Raises `RuntimeError` if none was set, as in the web front."""
    if _runtime is None:
        raise RuntimeError("no runtime in this process: only workers run tasks")
    return _runtime
