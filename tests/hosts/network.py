"""Hosts on one machine: network namespaces connected by a switch, whose links can be cut in two ways.

The switch has a namespace of its own, so that the machine's own network is not touched. The addresses are those
reserved for documentation (192.0.2.0/24). Needs root on Linux, `ip` and `iptables`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from workers.stack.processes import through_launcher
from workers.stack.unprivileged import SystemUser

SUBNET = "192.0.2.0/24"
_NEW_NETWORK = 0x40000000
"""The constant CLONE_NEWNET of Linux, which stands for network namespaces."""
_NAMESPACES = Path("/run/netns")
NOT_RUN = 77
"""The exit code that says that nothing was tested."""


class NotPossible(Exception):
    """Raised if a test of the whole system cannot run on this machine; the message says what is missing."""


class Cut(StrEnum):
    """How a host loses its network: silently, or by a pulled cable. The values are texts for the run's table."""

    SILENT = "packets vanish"
    """Packets are dropped. Other hosts still find this host, as behind a router, but get no answer."""
    UNPLUGGED = "cable pulled"
    """The link is down. Other hosts no longer find this host, and after seconds their kernels report that."""


class Host:
    """A host of a `Network`: a network namespace with one address. Programs on it see their own host name."""

    def __init__(self, name: str, address: str, namespace: str, switch: str) -> None:
        self.name, self.address = name, address
        self._namespace, self._switch = namespace, switch
        self._is_silent = False

    def start(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: SystemUser | None = None,
        directory: Path | None = None,
        **launcher: int,
    ) -> subprocess.Popen[bytes]:
        """Start a program on the host, in a new session, as `user` (None: root); return the process.

        `env` are its environment variables and `directory` is its working directory; if None, each is that of this
        process. The output is appended to the file `log`. The program ends when this process ends: it then gets SIGTERM
        or, if `launcher` has `death_signal`, that signal.
        """
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self._prefix, *through_launcher(_found(command), user=user, **launcher)],  # type: ignore[arg-type]
                env=env,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Create the sockets that this thread opens in the `with` block in the host's network namespace."""
        with Path("/proc/thread-self/ns/net").open() as before, (_NAMESPACES / self._namespace).open() as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self, how: Cut) -> None:
        """Cut the host off the network: packets in both directions are lost, and no connection is closed."""
        if how is Cut.SILENT:
            self._is_silent = True
            self._filter("-I")
        else:
            _run("ip", "-n", self._switch, "link", "set", "dev", self.name, "down")

    def reconnect(self) -> None:
        """Connect the host to the network again. Safe to run twice."""
        if self._is_silent:
            self._filter("-D")
            self._is_silent = False
        _run("ip", "-n", self._switch, "link", "set", "dev", self.name, "up")

    def _filter(self, verb: str) -> None:
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            inside = ("ip", "netns", "exec", self._namespace)
            _run(*inside, "iptables", "-w", verb, chain, "!", way, "lo", "-j", "DROP")

    @property
    def _prefix(self) -> list[str]:
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self._namespace, *named]


class Network:
    """A switch, and the hosts that are connected to it. All are network namespaces."""

    def __init__(self) -> None:
        self._prefix = f"standorte-{os.getpid()}"
        self._switch = self._namespace("switch")
        self._all = [self._switch]
        self._set_up(self._switch, "link", "add", "name", "switch", "type", "bridge")
        self._set_up(self._switch, "link", "set", "switch", "up")

    def host(self, name: str, address: str) -> Host:
        """Create a host and connect it to the switch. `name` has at most 15 characters; `address` is in `SUBNET`."""
        namespace = self._namespace(name)
        self._all.append(namespace)
        self._set_up(
            self._switch, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", namespace
        )
        self._set_up(self._switch, "link", "set", "dev", name, "master", "switch", "up")
        self._set_up(namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            self._set_up(namespace, "link", "set", link, "up")
        return Host(name, address, namespace, self._switch)

    def close(self) -> None:
        """Remove the switch and all hosts. Their programs must have ended."""
        for namespace in reversed(self._all):
            with suppress(NotPossible):
                _run("ip", "netns", "delete", namespace)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._prefix}-{name}"
        _run("ip", "netns", "add", namespace)
        return namespace

    def _set_up(self, namespace: str, *arguments: str) -> None:
        _run("ip", "-n", namespace, *arguments)


@contextmanager
def open_network() -> Iterator[Network]:
    """Create a switch for the time of a `with` block, and yield it as a network without hosts.

    Raises `NotPossible` if this machine does not allow it.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotPossible("network namespaces need root on Linux")
    for program in ("ip", "iptables", "unshare", "hostname"):
        if shutil.which(program) is None:
            raise NotPossible(f"there is no {program} on PATH (Debian: apt-get install iproute2 iptables util-linux)")
    network = Network()
    try:
        _try_out(network)
        yield network
    finally:
        network.close()


def _try_out(network: Network) -> None:
    """Raise `NotPossible` unless a host of the network can be cut off: a container may lack the right to do it."""
    host = network.host("first", "192.0.2.254")
    host.cut(Cut.SILENT)
    host.reconnect()


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEW_NETWORK) != 0:
        raise NotPossible(f"setns: {os.strerror(ctypes.get_errno())}")


def _found(command: Sequence[str]) -> list[str]:
    """Return the command with the full path of its program, because the launcher does not search PATH."""
    return [
        shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or command[0],
        *command[1:],
    ]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotPossible(f"{' '.join(command)}: {done.stderr.strip()}")
