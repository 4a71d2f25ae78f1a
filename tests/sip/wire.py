"""A phone that sends SIP messages over UDP, for tests that must send exactly the same bytes twice."""

from __future__ import annotations

import hashlib
import re
import socket
from itertools import count

from tests.sip.phones import Phone
from tests.sip.sipp import PATIENCE
from workers.stack.ports import LOOPBACK

_numbers = count(1)


class Wire:
    """A UDP socket at the address `host` that sends Kamailio SIP messages with the credentials of the phone's trunk."""

    def __init__(self, phone: Phone, host: str = LOOPBACK) -> None:
        self._phone = phone
        self._host = host
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind((host, 0))
        self._socket.connect((LOOPBACK, phone.line.server))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def ask(self, message: str) -> str:
        """Send a message; return the final reply to it, the one with a status of 200 or more."""
        [sequence] = re.findall("^CSeq: .+$", message, re.M)
        self._socket.send(message.encode())
        while True:
            reply = self._socket.recv(65535).decode()
            # A refusal of an earlier call comes again, because it gets no ACK.
            if not reply.startswith("SIP/2.0 1") and sequence in reply:
                return reply

    def replies(self, message: str) -> list[str]:
        """Send a message; return all replies to it, including provisional ones.

        To be sure that none is missing, send further messages until every process of Kamailio has answered one. A
        process sends all replies to one message before it takes another.
        """
        [sequence] = re.findall("^CSeq: .+$", message, re.M)
        self._socket.send(message.encode())
        found = [self.receive()]
        for _ in range(20):
            asked = self.request("OPTIONS")
            [own] = re.findall("^CSeq: .+$", asked, re.M)
            self._socket.send(asked.encode())
            while own not in (reply := self.receive()):
                found.append(reply)
        return [reply for reply in found if sequence in reply]

    def send(self, message: str) -> None:
        """Send a message without waiting for a reply."""
        self._socket.send(message.encode())

    def receive(self) -> str:
        """Wait for the next message from Kamailio and return it; raise `TimeoutError` if none comes in time."""
        return self._socket.recv(65535).decode()

    def nonce(self) -> str:
        """Send a REGISTER without credentials and return the nonce of the challenge."""
        return nonce_in(self.ask(self.request()))

    def register(self, contact: str = "", expires: int = 600) -> str:
        """Register with a new nonce, and return the reply.

        `contact` is the value of the Contact header (empty: this socket's address), `expires` is in seconds.
        """
        return self.ask(self.request(contact=contact, expires=expires, nonce=self.nonce()))

    def request(
        self, method: str = "REGISTER", number: str = "", *, contact: str = "", expires: int = 600, nonce: str = ""
    ) -> str:
        """Return the text of a new SIP request of the trunk, with credentials for `nonce` (empty: without credentials).

        `number` is the called number (empty: the request is to the domain), `contact` the value of the Contact header
        (empty: this socket's address), `expires` is in seconds.
        """
        phone, domain, place = self._phone, self._phone.line.domain, next(_numbers)
        uri = f"sip:{number}@{domain}" if number else f"sip:{domain}"
        own = f"<sip:{phone.user}@{domain}>"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{self.port};branch=z9hG4bK{place}",
            "Max-Forwards: 70",
            f"From: {own};tag=1",
            f"To: {f'<{uri}>' if number else own}",
            f"Call-ID: wire-{self.port}",
            f"CSeq: {place} {method}",
            f"Contact: {contact or f'<sip:{phone.user}@{self._host}:{self.port}>'}",
            f"Expires: {expires}",
            "Content-Length: 0",
        ]
        if nonce:
            response = _digest(self._phone, method, uri, nonce)
            which = "Proxy-Authorization" if method == "INVITE" else "Authorization"
            lines.append(
                f'{which}: Digest username="{phone.user}", realm="{domain}", nonce="{nonce}", uri="{uri}",'
                f' response="{response}", qop=auth, nc=00000001, cnonce="1"'
            )
        return "\r\n".join([*lines, "", ""])


def nonce_in(challenge: str) -> str:
    """Return the nonce in a challenge, a reply with the status 401 or 407."""
    found = re.search(r'nonce="([^"]+)"', challenge)
    assert found is not None, challenge
    return found[1]


def _digest(phone: Phone, method: str, uri: str, nonce: str) -> str:
    own = _md5(f"{phone.user}:{phone.line.domain}:{phone.secret}")
    return _md5(f"{own}:{nonce}:00000001:1:auth:{_md5(f'{method}:{uri}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
