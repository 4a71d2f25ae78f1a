"""Runs sipp (Debian's sip-tester); each run plays one scenario of SIP messages."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from xml.sax.saxutils import quoteattr

from workers.stack.ports import LOOPBACK, free_sip_port

PATIENCE = 20
"""Seconds within which a scenario has to end."""
_count = count(1)


@dataclass
class Played:
    """One run of sipp: its process, the log of its messages, the Call-ID, and its IP address and port (`where`)."""

    process: subprocess.Popen[bytes]
    log: Path
    call_id: str
    where: tuple[str, int]

    @property
    def messages(self) -> str:
        """Return the log of all messages sent and received so far; "" if there are none yet."""
        return self.log.read_text() if self.log.exists() else ""

    def heard(self, kind: str) -> str:
        """Return the first received message that begins with `kind`, such as "INVITE"; "" if there is none."""
        came = re.findall(r"message received \[\d+\] bytes :\n\n(.*?)\n-{20,}", self.messages + "\n" + "-" * 30, re.S)
        return next((message for message in came if message.startswith(kind)), "")

    def finish(self) -> Played:
        """Wait until sipp ends; fail unless every message was as the scenario expects. Return this run."""
        code = self.process.wait(PATIENCE + 10)
        assert code == 0, f"sipp ended with {code}\n{self.messages}"
        return self

    def is_up(self) -> bool:
        """Return whether the call is answered: the log has both a 200 and the ACK of it."""
        return "SIP/2.0 200 " in self.messages and "\nACK sip:" in self.messages

    def hang_up(self) -> None:
        """End the call in which sipp stays, and wait until sipp ends.

        For this an INFO is sent to sipp, which then hangs up by its scenario.
        """
        told = (
            f"INFO sip:phone@{self.where[0]} SIP/2.0\nVia: SIP/2.0/UDP {LOOPBACK}:9;branch=z9hG4bKhangup\n"
            f"From: <sip:test@{LOOPBACK}>;tag=test\nTo: <sip:phone@{LOOPBACK}>\nCall-ID: {self.call_id}\n"
            "CSeq: 99 INFO\nContent-Length: 0\n\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.sendto(told.replace("\n", "\r\n").encode(), self.where)
        self.finish()

    def end(self) -> None:
        """Kill sipp at once."""
        self.process.kill()
        self.process.wait()


@dataclass
class Line:
    """The settings for running sipp against one Kamailio, and the runs that were started (`running`).

    `directory` takes sipp's files, `server` is Kamailio's port for phones, `domain` its SIP domain. With `tcp`, sipp
    uses TCP instead of UDP.
    """

    directory: Path
    server: int
    domain: str
    tcp: bool = False
    interconnect: int = 0
    """Kamailio's port for calls from the telephone network."""
    running: list[Played] = field(default_factory=list)

    def play(
        self,
        steps: list[str],
        *,
        name: str,
        host: str = LOOPBACK,
        port: int | None = None,
        call_id: str | None = None,
        echo: int | None = None,
        outside: bool = False,
    ) -> Played:
        """Start sipp with a scenario of one call, from `host` and `port` (None: a free one). Return the running sipp.

        `steps` are the scenario's XML elements, `name` is a part of its files' names. The scenario is played to
        Kamailio's port for phones; if `outside`, to its port for the telephone network, over TCP. Media that arrive at
        the port `echo` are sent back. sipp only accepts incoming messages with the Call-ID `call_id` (None: a new one).
        """
        number = next(_count)
        scenario = self.directory / f"{number}-{name}.xml"
        write_scenario(scenario, steps)
        log = scenario.with_suffix(".log")
        port = port or free_sip_port(host=host)
        call_id = call_id or f"call-{number}@test"
        program = shutil.which("sipp")
        assert program is not None
        server, tcp = (self.interconnect, True) if outside else (self.server, self.tcp)
        where = [f"{LOOPBACK}:{server}", "-i", host, "-p", str(port), "-t", "t1" if tcp else "u1"]
        what = ["-sf", str(scenario), "-m", "1", "-cid_str", call_id, "-trace_msg", "-message_file", str(log)]
        if echo is not None:
            what += ["-rtp_echo", "-mi", host, "-mp", str(echo)]
        process = subprocess.Popen(
            [program, *where, *what, "-nostdin", "-timeout", f"{PATIENCE}s", "-timeout_error"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
        )
        played = Played(process, log, call_id, (host, port))
        self.running.append(played)
        return played

    def end(self) -> None:
        """Kill all runs of sipp that were started with `play` and have not ended."""
        for played in self.running:
            played.end()


def write_scenario(file: Path, steps: list[str]) -> None:
    """Write the steps of one call to a scenario file in sipp's format."""
    file.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
        f"<scenario name={quoteattr(file.stem)}>\n" + "\n".join(steps) + "\n</scenario>\n"
    )
