"""Folders that one test process fills for all processes of pytest-xdist, because filling them takes long."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def folder_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return the folder for temporary files that all processes of this run of the tests share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of this run of the tests, which the first process that asks for it fills with `make`.

    `make` gets the folder's path and creates the folder. Other processes wait until it has ended.
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
