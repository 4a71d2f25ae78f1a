"""Runs rtpengine (Debian's rtpengine-daemon), which relays media, without root and without its kernel module."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import NotInstalled
from workers.stack.ports import LOOPBACK, free_port
from workers.stack.unprivileged import SystemUser


class EmbeddedRelay(EmbeddedServer):
    """An rtpengine, which relays media, on the loopback interface; `host` is its address for the phones' media."""

    name = "rtpengine"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, user: SystemUser | None) -> None:
        self.directory = directory
        self.log = directory / "rtpengine.log"
        self.user = user
        self.port = free_port(udp=True)
        # An address of its own, because two of them share a port of one address without a word.
        self.host = f"127.{self.port // 256}.{self.port % 256}.1"

    @property
    def control(self) -> str:
        """Return the address at which rtpengine takes commands, in the form that Kamailio's configuration needs."""
        return f"udp:{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Create the directory for the log."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """Return the command line of rtpengine. Raises `NotInstalled` if it is not installed."""
        program = shutil.which("rtpengine")
        if program is None:
            raise NotInstalled("No rtpengine on PATH. As root on Debian: .make/sip")
        ports = ["--port-min=32768", "--port-max=40000"]
        where = [f"--interface={self.host}", f"--listen-ng={LOOPBACK}:{self.port}", *ports]
        return [program, "--foreground", "--log-stderr", "--table=-1", "--config-file=none", *where]

    def is_ready(self) -> bool:
        """Return whether rtpengine answers a ping."""
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.3)
            try:
                asking.connect((LOOPBACK, self.port))
                asking.send(b"1 d7:command4:pinge")
                return b"pong" in asking.recv(4096)
            except OSError:
                return False
