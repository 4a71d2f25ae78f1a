"""Run the embedded stack: start its programs in order, print the welcome text, and stop them at a signal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from workers import programs
from workers.settings import SIP_DOMAIN
from workers.stack.data_directory import StackDirectory, State
from workers.stack.errors import PortInUse, StackError
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, accepts_connections, free_port, free_sip_port, is_free
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.processes import Identity, end_session, identify
from workers.stack.redis import EmbeddedRedis
from workers.stack.supervisor import Lines, Service, Supervisor

DATABASE, REGISTRAR = "standorte", "registrar"
_POSTGRES_PATIENCE = 15.0
"""The seconds that PostgreSQL has to save its data and stop, before it is killed."""
ONE_REQUEST = 3.0
"""The seconds in which further signals count as the first stop request: make, timeout and systemd send several."""
_NAMES = ("stack", "postgres", "redis", "mail", "migrate", "kamailio", "seed", "beat", "worker", "web")


class Stack:
    """Runs all programs of the portal as child processes on this machine, with their data in one directory.

    The web front end listens on `port`. `concurrency` is the number of worker processes for each of the Celery queues
    requests.verify, requests.provision and messages.send. With `demo`, the demo data is loaded at the first start.
    """

    def __init__(self, directory: StackDirectory, *, port: int, concurrency: int, demo: bool) -> None:
        self._directory = directory
        self._demo = demo
        self._concurrency = concurrency
        self._postgres = EmbeddedPostgres(directory.postgres)
        before = directory.read().ports
        self._redis = EmbeddedRedis(directory.redis, port=free_port(before.get("redis")))
        self._smtp_port = free_port(before.get("smtp"))
        self._kamailio = EmbeddedKamailio(
            directory.kamailio,
            registrar_url=self._postgres.url(REGISTRAR, DatabaseRole.KAMAILIO),
            domain=os.environ.get("SIP_DOMAIN", SIP_DOMAIN),
            # Two addresses of this machine stand for the telephone network and for the emergency services.
            interconnect=os.environ.get("SIP_INTERCONNECT", "127.0.0.2"),
            network=os.environ.get("SIP_NETWORK", "127.0.0.2:5060"),
            emergency=os.environ.get("SIP_EMERGENCY", "127.0.0.2:5112"),
            media_relay=os.environ.get("SIP_MEDIA_RELAY", ""),
            interconnect_tls=Path(folder) if (folder := os.environ.get("SIP_INTERCONNECT_TLS")) else None,
            port=free_sip_port(before.get("sip", 5060)),
            interconnect_port=free_port(before.get("interconnect", 5070)),
            user=self._postgres.user,
        )
        self._no_dial_tone = ""
        self._stop_began = 0.0
        self._port = port
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._say = Lines(_NAMES, colour=colour).say
        self._supervisor = Supervisor(self._say, self._remember)

    def run(self) -> None:
        """Start all programs, print the addresses of the portal, and keep the programs running until a stop signal.

        The stack's directory must be locked by the caller. First ends the processes that a killed stack has left.
        Raises `PortInUse` if another program listens on the web front end's port, `StackError` if a program other than
        Kamailio cannot start.
        """
        end_leftovers(self._directory)
        if not is_free(self._port):
            raise PortInUse(self._port)
        # Counters of ended processes would be added to the counters of the new processes.
        shutil.rmtree(self._directory.metrics, ignore_errors=True)
        self._directory.metrics.mkdir()
        asyncio.run(self._run())

    def settings(self) -> dict[str, str]:
        """Return the settings of the child processes and of console commands, as environment variables."""
        return {
            **self._sip_settings(),
            **self._carrier(),
            **self._database_urls(),
            "REDIS_URL": self._redis.url(),
            "SMTP_URL": f"smtp://{LOOPBACK}:{self._smtp_port}",
            "LETTERS_DIR": str(self._directory.letters),
            "BASE_URL": os.environ.get("BASE_URL", f"http://{LOOPBACK}:{self._port}"),
            "PORT": str(self._port),
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "console"),
            "PROMETHEUS_MULTIPROC_DIR": str(self._directory.metrics),
            "STANDORTE_DIR": str(self._directory.path),
        }

    def _sip_settings(self) -> dict[str, str]:
        """Return the settings about Kamailio as environment variables; SIP_SERVER is missing if it could not start."""
        kamailio = self._kamailio
        address = f"{LOOPBACK}:{kamailio.port}"
        return {
            **({} if self._no_dial_tone else {"SIP_SERVER": address}),
            "SIP_DOMAIN": kamailio.domain,
            "SIP_PORT": str(kamailio.port),
            "SIP_INTERCONNECT_LISTEN": f"{LOOPBACK}:{kamailio.interconnect_port}",
        }

    def _database_urls(self) -> dict[str, str]:
        """Return the URLs of both databases, each for the workers', the front's and the owner's role.

        The keys are the names of the environment variables, such as FRONT_DATABASE_URL.
        """
        parts = {"": DatabaseRole.WORKER, "FRONT_": DatabaseRole.FRONT, "OWNER_": DatabaseRole.OWNER}
        names = {"DATABASE_URL": DATABASE, "REGISTRAR_URL": REGISTRAR}
        return {
            f"{part}{name}": self._postgres.url(database, role)
            for part, role in parts.items()
            for name, database in names.items()
        }

    def _carrier(self) -> dict[str, str]:
        """Return the settings about the carrier as environment variables; {} for a stack without demo data.

        A setting that the environment does not have gets the value of the fictitious carrier.
        """
        if not self._demo:
            return {}
        from workers.demo.carrier import DEMO_CARRIER

        return {name: os.environ.get(name, value) for name, value in DEMO_CARRIER.items()}

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        starting = asyncio.create_task(self._start())
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, partial(self._stop_asked, number, starting, stopped))
        try:
            with suppress(asyncio.CancelledError):
                await starting
                await stopped.wait()
        finally:
            self._say("stack", "Stopping ...")
            await self._supervisor.stop()
            self._directory.write(State(ports=self._ports()))
            self._say("stack", f"Stopped. The data stays in {self._directory.path}")

    def _stop_asked(self, number: signal.Signals, starting: asyncio.Task[None], stopped: asyncio.Event) -> None:
        """Handle a stop signal: begin to stop; at a second Ctrl-C kill all programs but PostgreSQL.

        A Ctrl-C within three seconds (`ONE_REQUEST`) of the first signal kills nothing, and only prints how to kill the
        programs. `starting` is the task that starts the programs and is cancelled; `stopped` is set.
        """
        now = time.monotonic()
        if not stopped.is_set():
            self._stop_began = now
            stopped.set()
            starting.cancel()
        elif number == signal.SIGINT and now - self._stop_began < ONE_REQUEST:
            self._say("stack", f"Stopping already. Ctrl-C after {ONE_REQUEST:g} seconds kills what hangs.")
        elif number == signal.SIGINT:
            self._say("stack", "Ctrl-C again: killing what hangs, all but PostgreSQL")
            self._supervisor.hurry()

    async def _start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment = inherited | self.settings() | {"SECRET_KEY": self._directory.secret_key()}
        environment |= {"PYTHONUNBUFFERED": "1"}
        as_owner = environment
        environment = {name: value for name, value in environment.items() if not name.startswith("OWNER_")}
        start = self._supervisor.start
        await start(self._postgres_service())
        for database in (DATABASE, REGISTRAR):
            await asyncio.to_thread(self._postgres.create_database, database)
        databases = {DATABASE: PORTAL_ROLES, REGISTRAR: REGISTRAR_ROLES}
        await asyncio.to_thread(create_roles, self._postgres.url("postgres", driver=""), databases)
        await asyncio.gather(start(self._redis_service()), start(self._mail_service(environment)))
        await self._supervisor.run("migrate", programs.console("migrate", "--registrar", "--row-security"), as_owner)
        await self._start_kamailio()
        # Kamailio's ports are known only now.
        environment |= self._sip_settings()
        if self._demo and not self._directory.seeded.exists():
            await self._supervisor.run("seed", programs.console("seed"), environment)
            self._directory.seeded.touch()
        beat = Service("beat", programs.beat(self._directory.schedule), environment)
        worker = Service("worker", programs.worker(self._concurrency), environment)
        # Only the web front end gets the folders with the caught mails and letters, which it shows.
        caught = {"DEV_MAIL_DIR": str(self._directory.mail), "DEV_LETTERS_DIR": str(self._directory.letters)}
        web = Service(
            "web", programs.web(LOOPBACK, self._port), environment | caught, is_ready=partial(_web_is_ready, self._port)
        )
        # Each of these three may die a few times while the others are starting.
        await asyncio.gather(*(start(service, within=60, deaths_allowed=3) for service in (beat, worker, web)))
        self._welcome()

    def _postgres_service(self) -> Service:
        postgres = self._postgres
        return Service(
            "postgres",
            postgres.command(),
            {"PATH": os.defpath, "LC_ALL": "C"},
            prepare=postgres.prepare,
            is_ready=postgres.is_ready,
            user=postgres.user,
            directory=postgres.directory,
            stop_signal=postgres.stop_signal,
            patience=_POSTGRES_PATIENCE,
            may_be_killed=False,
        )

    def _redis_service(self) -> Service:
        redis = self._redis
        redis.prepare()
        return Service("redis", redis.command(), is_ready=redis.is_ready, stop_signal=redis.stop_signal, log=redis.log)

    async def _start_kamailio(self) -> None:
        """Start Kamailio. If that fails, keep the error for the welcome text, because the stack can run without it."""
        kamailio = self._kamailio
        # Seconds have passed since the ports were chosen.
        kamailio.move_to_free_ports()
        try:
            await asyncio.to_thread(kamailio.check)
            await self._supervisor.start(
                Service(
                    "kamailio",
                    kamailio.command(),
                    kamailio.environment(),
                    prepare=kamailio.prepare,
                    is_ready=kamailio.is_ready,
                    user=kamailio.user,
                    directory=kamailio.directory,
                    stop_signal=kamailio.stop_signal,
                )
            )
        except StackError as obstacle:
            self._no_dial_tone = str(obstacle)

    def _mail_service(self, environment: Mapping[str, str]) -> Service:
        catcher = [sys.executable, "-m", "workers.stack.mailcatcher"]
        return Service(
            "mail",
            [*catcher, str(self._smtp_port), str(self._directory.mail)],
            environment,
            is_ready=partial(accepts_connections, self._smtp_port),
        )

    def _ports(self) -> dict[str, int]:
        return {
            "redis": self._redis.port,
            "smtp": self._smtp_port,
            "sip": self._kamailio.port,
            "interconnect": self._kamailio.interconnect_port,
            "web": self._port,
        }

    def _remember(self, children: Mapping[str, Identity]) -> None:
        self._directory.write(State(identify(os.getpid()), self.settings(), self._ports(), dict(children)))

    def _welcome(self) -> None:
        lines = ["", f"Standortverwaltung is ready: {self.settings()['BASE_URL']}", ""]
        if self._demo:
            from workers.demo.seed import DEMO_LOGINS

            width = max(len(login.email) for login in DEMO_LOGINS)
            lines += [f"  {login.email:<{width}}  {login.password}  {login.who}" for login in DEMO_LOGINS]
            lines.append("")
        base_url = self.settings()["BASE_URL"]
        # The front end shows mails and letters to this machine only, and not at all with another BASE_URL.
        if base_url.startswith((f"http://{LOOPBACK}", "http://localhost")):
            lines.append(f"Mails and letters: {base_url}/dev/mail")
        if self._no_dial_tone:
            lines += [f"NO PHONE CAN REGISTER: {line}" for line in self._no_dial_tone.splitlines()]
        else:
            kamailio = self._kamailio
            lines.append(f"Phones: domain {kamailio.domain} at {LOOPBACK}:{kamailio.port}, UDP and TCP")
            if self._demo:
                from workers.demo.cast import HAMBURG

                lines.append(f"  with the user and password at {base_url}/standortverwaltung/{HAMBURG.customer_number}")
            lines.append("  A test call: standorte doctor")
        lines.append(f"As files: {self._directory.mail}   {self._directory.letters}")
        lines.append(f"Data: {self._directory.path}   Ctrl-C ends it.")
        for line in [*lines, ""]:
            self._say("stack", line)


def up(directory: StackDirectory, *, port: int, concurrency: int, demo: bool) -> None:
    """Run the embedded stack of a directory until a stop signal, with the directory locked against other stacks.

    The web front end listens on `port`. `concurrency` is the number of worker processes for each of the Celery queues
    requests.verify, requests.provision and messages.send. With `demo`, the demo data is loaded at the first start.
    Raises `AlreadyRunning` if a stack runs in the directory, `PortInUse` if another program listens on `port`,
    `StackError` if a program other than Kamailio cannot start.
    """
    with directory.locked():
        Stack(directory, port=port, concurrency=concurrency, demo=demo).run()


def end_leftovers(directory: StackDirectory) -> int:
    """End the child processes that a killed stack of the directory has left running; return how many there were.

    The processes are recognised by number and start time. Raises `StackError` if one belongs to another user.
    """
    ended = 0
    children = directory.read().children
    # PostgreSQL last, because the other processes use it until they end.
    for name in sorted(children, key=lambda name: name == "postgres"):
        how = signal.SIGINT if name == "postgres" else signal.SIGTERM
        try:
            ended += end_session(children[name], how=how, patience=_POSTGRES_PATIENCE)
        except psutil.AccessDenied:
            raise StackError(f"{name} of an earlier start (process {children[name].pid}) is not yours.") from None
    return ended


def _web_is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
