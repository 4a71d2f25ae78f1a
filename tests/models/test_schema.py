"""Tests that the worker, the command line and the web application each import the modules of all tables.

Without that, a program's first write to the database would fail: SQLAlchemy would not find a foreign key's table.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import models.schema

COUNT = """
import sqlalchemy as sa
import {program}
from models.db.base import Base
sa.orm.configure_mappers()
print(len(Base.metadata.sorted_tables))
"""


@pytest.mark.parametrize("program", ["workers.app", "workers.cli", "web.app"])
def test_a_program_knows_every_table(program: str) -> None:
    command = [sys.executable, "-c", COUNT.format(program=program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(models.schema.metadata.tables)
