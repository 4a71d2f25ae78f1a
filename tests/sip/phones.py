"""Phone systems and the telephone network, played by sipp: registering, taking and making calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil

from tests.sip.sipp import PATIENCE, Line, Played
from tests.sip.steps import (
    ANSWERING,
    HANGING_UP,
    HEADERS,
    LATE,
    RINGING,
    SDP,
    ack,
    after_invite,
    behind_nat,
    invite_head,
    refusing,
    registering,
    reply,
    request_within,
    send,
)
from workers.stack.ports import LOOPBACK, free_sip_port
from workers.stack.processes import wait_for

NETWORK = "127.0.0.2"
"""The address of the telephone network, from which its calls come in."""


@dataclass(frozen=True)
class Within:
    """A SIP request that sipp sends within a call; `gets` is the status expected in reply (an ACK expects none).

    `target` is the Request-URI, `route` the value of the Route header; empty: those of the call. `extra` are further
    header lines.
    """

    method: str
    target: str = ""
    route: str = ""
    extra: str = ""
    gets: int = 481


@dataclass
class Phone:
    """A trunk's phone system, played by sipp. It registers from `port` and takes calls there, for the `numbers`."""

    line: Line
    user: str
    secret: str
    port: int
    numbers: tuple[str, ...] = ()

    def register(
        self,
        *,
        gets: int = 200,
        as_user: str | None = None,
        expires: int = 600,
        contact: str | None = None,
        extra: str = "",
    ) -> Played:
        """Register from `port`; `gets` is the expected status of the attempt with credentials.

        `as_user` is the SIP user (None: the trunk's), `expires` the wanted seconds, `contact` the value of Contact,
        `extra` one more header line.
        """
        steps = self._registering(gets=gets, as_user=as_user, expires=expires, contact=contact, extra=extra)
        return self.line.play(steps, name="register", port=self.port).finish()

    def _registering(
        self,
        *,
        gets: int = 200,
        as_user: str | None = None,
        expires: int = 600,
        contact: str | None = None,
        extra: str = "",
    ) -> list[str]:
        who = f"{as_user or self.user}@{self.line.domain}"
        contact = contact or f"<sip:{self.user}@{LOOPBACK}:{self.port}>"
        return registering(who, contact, self._credentials() + (extra and f"\n{extra}"), gets=gets, expires=expires)

    def attend(self, call_id: str, *, takes: bool = True) -> Played:
        """Register over TCP and take the call with this Call-ID on that connection; with `takes=False` let it ring."""
        steps = [*self._registering(contact=f"<sip:{self.user}@{LOOPBACK}:{self.port};transport=tcp>")]
        steps += ANSWERING if takes else RINGING
        attending = replace(self.line, tcp=True).play(steps, name="attend", port=self.port, call_id=call_id)
        assert wait_for(lambda: "SIP/2.0 200" in attending.messages, patience=PATIENCE), attending.messages
        return attending

    def answer(self, *, contact: str = "[local_ip]:[local_port]") -> Played:
        """Take the next call, with `contact` as host and port in the Contact header."""
        steps = [step.replace("phone@[local_ip]:[local_port]", f"phone@{contact}") for step in ANSWERING]
        return _listen(self.line, steps, self.port)

    def answer_behind_nat(self, announced: str) -> Played:
        """Take the next call; announce the foreign address `announced` for media, and echo the media that arrive."""
        media = free_sip_port()
        steps = [behind_nat(step, announced, media) for step in ANSWERING]
        return _listen(self.line, steps, self.port, echo=media)

    def call_from_behind_nat(self, number: str, announced: str) -> Played:
        """Call a number and hold; announce the foreign address `announced` for media, and echo the media received."""
        media = free_sip_port()
        head = invite_head(self.line, number, self.user, "")
        steps = [*self._invite(head), *after_invite(head, 2, 200, meanwhile=[LATE, '<recv request="INFO"/>'])]
        held = self.line.play([behind_nat(step, announced, media) for step in steps], name="nat", echo=media)
        assert wait_for(held.is_up, patience=PATIENCE), held.messages
        return held

    def answer_and_hang_up(self) -> Played:
        """Take the next call and hang up."""
        return _listen(self.line, HANGING_UP, self.port)

    def ring(self) -> Played:
        """Ring at the next call until the caller gives up."""
        return _listen(self.line, RINGING, self.port)

    def refuse(self, status: str) -> Played:
        """Refuse the next call with this status, such as "486 Busy Here"."""
        return refuse(self.line, self.port, status)

    def call(
        self, number: str, *, gets: int = 200, sender: str | None = None, extra: str = "", call_id: str | None = None
    ) -> Played:
        """Call as `sender` (None: the trunk), with a header `extra`; expect status `gets`; once answered, hang up."""
        return self._call(number, gets, sender, extra, hold=False, call_id=call_id).finish()

    def hold(self, number: str) -> Played:
        """Call a number and stay in the call; return once it is answered. `hang_up` of the result ends the call."""
        held = self._call(number, 200, None, "", hold=True)
        assert wait_for(held.is_up, patience=PATIENCE), held.messages
        return held

    def call_and_wait(
        self, number: str, *, contact: str, sender: str = "", extra: str = "", name: str = "phone"
    ) -> Played:
        """Start a call to `number` and return at once; sipp expects an answer and lets the other side hang up.

        `finish` of the result waits for that and asserts it. `contact` is host and port in the Contact header, `name`
        the user there and in the SDP (o= and s=), `sender` the user or URI in the From header, also with a name before
        it (empty: the phone's own user), `extra` a further header of the INVITE.
        """
        head = invite_head(self.line, number, sender or self.user, extra)
        own = f"<sip:{name}@{contact}>"
        steps = [
            step.replace("<sip:phone@[local_ip]:[local_port]>", own)
            .replace("\no=-", f"\no={name}")
            .replace("\ns=-", f"\ns={name}")
            for step in self._invite(head)
        ]
        up = after_invite(head, 2, 200)
        # Without the BYE and the replies to it.
        steps += [*up[:-3], '<recv request="BYE"/>', reply("200 OK")]
        return self.line.play(steps, name="wait", port=self.port)

    def transfer(self, number: str, target: str) -> Played:
        """Call, ask for a transfer of the other side to the number `target` (REFER), expect 405, and hang up."""
        ask = f"Refer-To: <sip:{target}@{self.line.domain}>"
        return self.say_within(number, [Within("REFER", extra=ask, gets=405)])

    def turn_to(self, number: str, target: str) -> Played:
        """Call, send a re-INVITE with the Request-URI `target` within the call, expect 481, and hang up."""
        return self.say_within(number, [Within("INVITE", target, gets=481)])

    def say_within(self, number: str, messages: Sequence[Within]) -> Played:
        """Call, send the messages within the call, expect their replies, and hang up."""
        head = invite_head(self.line, number, self.user, "")
        said: list[str] = []
        for place, one in enumerate(messages):
            sequence = 2 if one.method == "ACK" else 3 + place
            text = request_within(head, sequence, one.method, one.extra and f"\n{one.extra}")
            if one.target:
                text = text.replace("[next_url]", one.target)
            if one.route:
                text = text.replace("[routes]", f"Route: {one.route}")
            said.append(send(text))
            if one.method != "ACK":
                said += [LATE, f'<recv response="{one.gets}"/>']
        steps = [*self._invite(head), *after_invite(head, 2, 200, meanwhile=said, last=3 + len(messages))]
        return self.line.play(steps, name="within").finish()

    def attempt(self, number: str, *, refused: int) -> Played:
        """Start a call without waiting for its result; it may be answered or get the status `refused`."""
        return self._call(number, refused, None, "", hold=False)

    def give_up(self, number: str) -> Played:
        """Call, and cancel the call as soon as it rings."""
        head = invite_head(self.line, number, self.user, "")
        cancel = head.replace("INVITE", "CANCEL").format(2, "") + HEADERS.replace("[branch]", "[branch-3]")
        steps = [
            *self._invite(head),
            '<recv response="100" optional="true"/>',
            '<recv response="180"/>',
            send(cancel),
            '<recv response="200"/>',
            '<recv response="487"/>',
            send(ack(head, 2, back=6)),
        ]
        return self.line.play(steps, name="give-up").finish()

    def _call(
        self, number: str, gets: int, sender: str | None, extra: str, *, hold: bool, call_id: str | None = None
    ) -> Played:
        head = invite_head(self.line, number, sender or self.user, extra)
        steps = [
            *self._invite(head),
            *after_invite(head, 2, gets, meanwhile=[LATE, '<recv request="INFO"/>'] if hold else ()),
        ]
        return self.line.play(steps, name="call", call_id=call_id)

    def _invite(self, head: str) -> list[str]:
        return [
            send(head.format(1, "") + SDP),
            '<recv response="100" optional="true"/>',
            '<recv response="407" auth="true"/>',
            send(ack(head, 1, back=3)),
            send(head.format(2, self._credentials()) + SDP),
        ]

    def _credentials(self) -> str:
        return f"\n[authentication username={self.user} password={self.secret}]"


def answer(line: Line, port: int, host: str = LOOPBACK, *, extra: str = "") -> Played:
    """Take the next call at `host`, an address without a trunk; return once sipp listens at the port.

    `extra` is a further header of the replies.
    """
    told = extra and f"\n{extra}"
    ringing, taken = "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"
    steps = [step.replace(ringing, ringing + told).replace(taken, taken + told) for step in ANSWERING]
    return _listen(line, steps, port, host)


def refuse(line: Line, port: int, status: str, host: str = LOOPBACK) -> Played:
    """Refuse the next call at this port of `host` with this status, such as "486 Busy Here".

    Return once sipp listens at the port.
    """
    return _listen(line, refusing(status), port, host)


def _listen(line: Line, steps: list[str], port: int, host: str = LOOPBACK, echo: int | None = None) -> Played:
    taking = line.play(steps, name="listen", host=host, port=port, echo=echo)
    # Asked of the process: trying to bind the port could take it from sipp.
    listening = psutil.Process(taking.process.pid)
    kind = "tcp" if line.tcp else "udp"
    assert wait_for(lambda: any(each.laddr.port == port for each in listening.net_connections(kind)), patience=PATIENCE)
    return taking


def call_in(line: Line, number: str, *, gets: int = 200, extra: str = "", sender: str = "+441632960961") -> Played:
    """Call from the telephone network as `sender`; expect the status `gets`, and hang up if the call was answered.

    `extra` is one more header line.
    """
    head = invite_head(line, number, sender, extra)
    steps = [send(head.format(1, "") + SDP), *after_invite(head, 1, gets)]
    return line.play(steps, name="in", host=NETWORK, outside=True).finish()


def bye_out_of_nowhere(line: Line, target: str, *, gets: int) -> Played:
    """Send Kamailio a BYE of a call that does not exist, with the Request-URI `target`; expect the status `gets`."""
    request = (
        f"BYE {target} SIP/2.0\nRoute: <sip:{LOOPBACK}:{line.server};lr>\nFrom: <sip:a@test>;tag=1\n"
        f"To: <sip:b@test>;tag=2\nCSeq: 1 BYE{HEADERS}"
    )
    return line.play([send(request), f'<recv response="{gets}"/>'], name="bye").finish()
