"""Tests that host names are looked up within seconds, even if a name server does not answer."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from workers.cli import cli


@pytest.mark.parametrize(("set_by_operator", "expected"), [(None, "timeout:1 attempts:2"), ("timeout:3", "timeout:3")])
def test_every_program_tells_the_resolver_how_long_to_wait(
    monkeypatch: pytest.MonkeyPatch, set_by_operator: str | None, expected: str
) -> None:
    # Set first, so that it is as before after the test.
    monkeypatch.setenv("RES_OPTIONS", set_by_operator or "")
    if set_by_operator is None:
        del os.environ["RES_OPTIONS"]
    assert CliRunner().invoke(cli, ["roles", "sql"]).exit_code == 0
    assert os.environ["RES_OPTIONS"] == expected
