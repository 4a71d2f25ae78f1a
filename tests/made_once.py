"""Folders that one test process fills for all processes of pytest-xdist, so that the slow work is done once."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def folder_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return the folder for temporary files that all processes of this test run share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of this test run; the first process that asks for it fills it.

    That process calls `make` with the folder's path; `make` creates and fills the folder. Other processes wait until it
    has returned.
    """
    folder = folder_of_run(factory) / name
    made = folder.with_name(f"{name}.made")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            # What a process that failed has left.
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder
