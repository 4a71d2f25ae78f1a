"""Tests of the embedded stack's data directory `.standorte/`: its state file, secret key and leftover processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import forked_programs
from workers import programs
from workers.stack.data_directory import StackDirectory, State, load_running_stack
from workers.stack.errors import AlreadyRunning, StackError
from workers.stack.processes import Identity, identify
from workers.stack.up import end_leftovers

SETTINGS = {"DATABASE_URL": "postgresql+psycopg://standorte@/standorte", "BASE_URL": "http://127.0.0.1:8000"}


@pytest.fixture
def directory(tmp_path: Path) -> StackDirectory:
    return StackDirectory(tmp_path / "stack")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in its own session, as every child of an embedded stack has; kill it after the test."""
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_second_stack_in_the_same_directory_is_told_about_the_first(directory: StackDirectory) -> None:
    with directory.locked():
        directory.write(State(identify(os.getpid()), SETTINGS))
        with pytest.raises(AlreadyRunning) as caught, StackDirectory(directory.path).locked():
            pass
    assert f"kill {os.getpid()}" in str(caught.value)
    assert SETTINGS["BASE_URL"] in str(caught.value)
    with directory.locked():
        pass


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(directory: StackDirectory) -> None:
    with directory.locked():
        key = directory.secret_key()
    assert StackDirectory(directory.path).secret_key() == key
    assert len(key) >= 32
    assert (directory.path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_only_its_owner_reads_the_settings_of_a_running_stack(directory: StackDirectory) -> None:
    with directory.locked():
        directory.write(State(identify(os.getpid()), SETTINGS))
    assert (directory.path / "stack.json").stat().st_mode & 0o777 == 0o600


def test_commands_take_their_settings_from_a_running_stack(
    directory: StackDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"STANDORTE_DIR": str(directory.path), "BASE_URL": "http://mine"}
    monkeypatch.setattr(os, "environ", environment)
    with directory.locked():
        directory.write(State(identify(os.getpid()), SETTINGS))
    assert load_running_stack()
    assert environment["DATABASE_URL"] == SETTINGS["DATABASE_URL"]
    assert environment["SECRET_KEY"] == directory.secret_key()
    # A variable set in the environment wins.
    assert environment["BASE_URL"] == "http://mine"


def test_a_dead_stack_gives_no_settings(directory: StackDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"STANDORTE_DIR": str(directory.path)})
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    with directory.locked():
        directory.write(State(Identity(dead.pid, 0), SETTINGS))
    assert not load_running_stack()
    assert "DATABASE_URL" not in os.environ


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": 1}'])
def test_a_broken_state_file_is_no_obstacle(directory: StackDirectory, text: str) -> None:
    with directory.locked():
        (directory.path / "stack.json").write_text(text)
    assert directory.read() == State()


def test_leftovers_of_a_killed_stack_are_ended(directory: StackDirectory, bystander: subprocess.Popen[bytes]) -> None:
    identity = identify(bystander.pid)
    assert identity is not None
    with directory.locked():
        directory.write(State(children={"web": identity}))
    assert end_leftovers(directory) == 1
    assert bystander.wait(10) != 0


def test_a_leftover_of_another_user_is_named(
    directory: StackDirectory, bystander: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(process: psutil.Process, _how: signal.Signals) -> None:
        raise psutil.AccessDenied(process.pid)

    identity = identify(bystander.pid)
    assert identity is not None
    with directory.locked():
        directory.write(State(children={"web": identity}))
    monkeypatch.setattr(psutil.Process, "send_signal", refuses)
    with pytest.raises(StackError, match=f"web of an earlier start .process {bystander.pid}. is not yours"):
        end_leftovers(directory)


def test_a_stranger_with_the_number_of_a_leftover_is_left_alone(
    directory: StackDirectory, bystander: subprocess.Popen[bytes]
) -> None:
    identity = identify(bystander.pid)
    assert identity is not None
    with directory.locked():
        directory.write(State(children={"web": Identity(identity.pid, identity.started - 3600)}))
    assert end_leftovers(directory) == 0
    assert bystander.poll() is None


@pytest.mark.parametrize("command", [["requests", "list"], ["doctor"], ["migrate"]])
def test_without_settings_and_stack_a_command_says_what_is_missing(tmp_path: Path, command: list[str]) -> None:
    environment = {"PATH": os.defpath, "STANDORTE_DIR": str(tmp_path)}
    code, _, errors = forked_programs.run(programs.console(*command), environment, tmp_path)
    assert code == 2
    assert "DATABASE_URL is missing." in errors
    # The cause comes first, what follows from it after that.
    assert errors.startswith(f"No stack runs in {tmp_path}")
    assert errors.index("DATABASE_URL is missing.") > 0
    assert "Traceback" not in errors
