"""Make a test call as a customer's phone system would: register, call the own number, answer, hang up.

The call uses a temporary trunk that exists only during the call, with a number under an unassigned country code. If the
job `registrar` compares the tables at the same moment, it finds a trunk that the portal does not have, and may delete
it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import time
import uuid
from dataclasses import dataclass
from types import TracebackType

from tasks.ports import Registrar, Subscribers, TrunkRecord

_PATIENCE = 3.0
"""The greatest number of seconds to wait for a message from the server."""


class NoDialTone(Exception):
    """Raised when the test call fails; the message says at which step."""


def make_test_call(server: str, domain: str, registrar: Registrar, subscribers: Subscribers) -> str:
    """Make a test call through the SIP server at `server` (host:port), and return an English sentence on the result.

    It says how long registration and answer took, in milliseconds. `domain` is the SIP domain of trunks. The temporary
    trunk of the call is written by `registrar` and removed by `subscribers`. Raises `NoDialTone` if the call fails,
    `GatewayError` if the registrar's database refuses the trunk or does not answer.
    """
    # Two channels, because the trunk both makes and takes the call.
    trunk = TrunkRecord(
        key=str(uuid.uuid4()),
        sip_user=f"doctor{secrets.token_hex(6)}",
        domain=domain,
        secret=secrets.token_urlsafe(16),
        channels=2,
        numbers=(f"+999{secrets.randbelow(10**11):011d}",),
        postal_code="00000",
    )
    for failure in registrar.put_trunks([trunk]):
        if failure is not None:
            raise failure
    try:
        return _call(server, trunk)
    except OSError as error:
        raise NoDialTone(f"{server} does not answer: {error}") from error
    finally:
        subscribers.remove([(trunk.sip_user, trunk.domain)])


def _call(server: str, trunk: TrunkRecord) -> str:
    began = time.perf_counter()
    with Phone(server, trunk) as caller, Phone(server, trunk) as called:
        called.ask("REGISTER", f"sip:{trunk.domain}", expires=60)
        registered = time.perf_counter()
        target = f"sip:{trunk.numbers[0]}@{trunk.domain}"
        caller.challenge("INVITE", target)
        caller.send("INVITE", target)
        called.answer("INVITE")
        accepted = caller.final("INVITE", target)
        answered = time.perf_counter()
        caller.send("ACK", target, within=accepted)
        called.receive("ACK")
        caller.send("BYE", target, within=accepted)
        called.answer("BYE")
        caller.final("BYE", target)
    return (
        f"registered at {server} in {(registered - began) * 1000:.0f} ms, "
        f"a test call was answered {(answered - registered) * 1000:.0f} ms later"
    )


@dataclass(frozen=True, slots=True)
class _Message:
    start: str
    headers: list[tuple[str, str]]

    @property
    def status(self) -> int:
        """Return the status code of a reply; 0 if the message is a request."""
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0 ") else 0

    def all(self, name: str) -> list[str]:
        """Return all values of the header `name`, in the order of the message."""
        return [value for known, value in self.headers if known.lower() == name.lower()]


class Phone:
    """One phone of the test call, with its own UDP socket. It logs in as `trunk` at `server` (host:port).

    Use it as a context manager, which closes the socket at the end.
    """

    def __init__(self, server: str, trunk: TrunkRecord) -> None:
        host, _, port = server.rpartition(":")
        self._trunk = trunk
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect((host, int(port)))
        self._here = "{}:{}".format(*self._socket.getsockname())
        self._call = secrets.token_hex(8)
        self._sequence = 0
        self._branch = ""
        self._nonce = ""

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, method: str, uri: str, *, expires: int) -> None:
        """Send a SIP request, authenticate as the server demands, and wait until the request is accepted.

        `uri` is the SIP URI of the request line, `expires` the value of the Expires header in seconds. Raises
        `NoDialTone` unless the server demands authentication and then accepts the request, `TimeoutError` if it does
        not reply.
        """
        self.challenge(method, uri)
        self.send(method, uri, expires=expires)
        self.final(method, uri)

    def challenge(self, method: str, uri: str) -> None:
        """Send a SIP request without authentication, and keep the nonce of the server's challenge for later requests.

        Raises `NoDialTone` unless the server demands authentication, `TimeoutError` if it does not reply.
        """
        self.send(method, uri)
        reply = self._reply()
        asked = reply.all("WWW-Authenticate") + reply.all("Proxy-Authenticate")
        nonce = re.search(r'nonce="([^"]+)"', asked[0]) if asked else None
        if reply.status not in (401, 407) or nonce is None:
            raise NoDialTone(f"{method} without a secret: {reply.start}")
        if method == "INVITE":
            self.send("ACK", uri, within=reply)
        self._nonce = nonce[1]

    def send(self, method: str, uri: str, *, within: _Message | None = None, expires: int = 0) -> None:
        """Send a SIP request, without waiting for a reply.

        For a request within a call, `within` is the reply to the call's INVITE, else None. With an error reply as
        `within`, the request is the ACK that ends the refused call. `expires` is the value of the Expires header in
        seconds; 0 leaves the header out. A request outside a call is authenticated if `challenge` has received a nonce.
        """
        me = f"<sip:{self._trunk.sip_user}@{self._trunk.domain}>"
        refused = within is not None and within.status >= 300
        if method != "ACK":
            self._sequence += 1
        if not refused:
            self._branch = secrets.token_hex(8)
        to = within.all("To")[0] if within else (me if method == "REGISTER" else f"<{uri}>")
        lines = [
            f"Via: SIP/2.0/UDP {self._here};rport;branch=z9hG4bK{self._branch}",
            f"From: {me};tag={self._call}",
            f"To: {to}",
            f"Call-ID: {self._call}@{self._here}",
            f"CSeq: {self._sequence} {method}",
            "Max-Forwards: 10",
        ]
        if within and not refused:
            uri = within.all("Contact")[0].strip("<>")
            lines += [f"Route: {route}" for route in reversed(within.all("Record-Route"))]
        if method in ("REGISTER", "INVITE"):
            lines.append(f"Contact: <sip:{self._trunk.sip_user}@{self._here}>")
        if expires:
            lines.append(f"Expires: {expires}")
        if self._nonce and within is None:
            name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
            lines.append(f"{name}: {self._digest(method, uri)}")
        self._wire(f"{method} {uri} SIP/2.0", lines)

    def final(self, method: str, uri: str) -> _Message:
        """Wait for the final reply to the last request, which had this method and URI, and return the reply.

        Raises `NoDialTone` unless the reply is 200, `TimeoutError` if none comes in time. A refused INVITE is
        acknowledged first.
        """
        reply = self._reply()
        if reply.status != 200:
            if method == "INVITE":
                self.send("ACK", uri, within=reply)
            raise NoDialTone(f"{method}: {reply.start.removeprefix('SIP/2.0 ')}")
        return reply

    def receive(self, method: str) -> _Message:
        """Wait for the next message from the server and return it.

        Raises `NoDialTone` if the message is no request with this method, `TimeoutError` if none comes in time.
        """
        message = self._message()
        if not message.start.startswith(f"{method} "):
            raise NoDialTone(f"{message.start} instead of {method}")
        return message

    def answer(self, method: str, status: str = "200 OK") -> None:
        """Wait for the next request from the server and reply with `status`, a SIP status such as "200 OK".

        Raises `NoDialTone` if the request has another method than `method`, `TimeoutError` if none comes in time.
        """
        asked = self.receive(method)
        copied = ("Via", "Record-Route", "From", "Call-ID", "CSeq")
        lines = [f"{name}: {value}" for name, value in asked.headers if name in copied]
        tag = "" if ";tag=" in asked.all("To")[0] else f";tag={self._call}"
        lines += [f"To: {asked.all('To')[0]}{tag}", f"Contact: <sip:{self._trunk.sip_user}@{self._here}>"]
        self._wire(f"SIP/2.0 {status}", lines)

    def _reply(self) -> _Message:
        while (message := self._message()).status < 200:
            pass
        return message

    def _message(self) -> _Message:
        head = self._socket.recv(65535).decode(errors="replace").partition("\r\n\r\n")[0]
        start, *lines = head.split("\r\n")
        return _Message(start, [(name.strip(), value.strip()) for name, _, value in (x.partition(":") for x in lines)])

    def _wire(self, start: str, lines: list[str]) -> None:
        self._socket.send("\r\n".join([start, *lines, "Content-Length: 0", "", ""]).encode())

    def _digest(self, method: str, uri: str) -> str:
        mark = secrets.token_hex(8)
        proof = f"{self._trunk.ha1}:{self._nonce}:00000001:{mark}:auth:{_md5(f'{method}:{uri}')}"
        who = f'Digest username="{self._trunk.sip_user}", realm="{self._trunk.domain}", nonce="{self._nonce}"'
        return f'{who}, uri="{uri}", response="{_md5(proof)}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{mark}"'


def _md5(text: str) -> str:
    # SIP's digest authentication is defined with MD5.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
