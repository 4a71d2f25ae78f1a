"""Phone systems and the telephone network, both played by sipp: they register, take calls and make calls."""

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
"""The address of the telephone network, from which its calls come."""


@dataclass(frozen=True)
class Within:
    """A SIP request that sipp sends within a call. `gets` is the expected status of the reply; an ACK gets no reply.

    `method` is the SIP method, such as "BYE", `target` is the Request-URI, `route` the value of the Route header; if
    empty, they are those of the call. `extra` are further header lines.
    """

    method: str
    target: str = ""
    route: str = ""
    extra: str = ""
    gets: int = 481


@dataclass
class Phone:
    """A phone system with the credentials of a trunk, played by sipp.

    It registers from `port` and takes calls there. `user` and `secret` are the trunk's SIP user and password, `numbers`
    its numbers.
    """

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
        """Register from the phone's port, and expect the status `gets` for the REGISTER with credentials.

        `as_user` is the SIP user (None: the trunk's), `expires` the requested seconds, `contact` the value of the
        Contact header (None: the usual one), `extra` one more header line. Return the finished run of sipp.
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
        """Register over TCP, and answer the call with this Call-ID on the same connection.

        With `takes=False` only let it ring. Return the running sipp once it is registered.
        """
        steps = [*self._registering(contact=f"<sip:{self.user}@{LOOPBACK}:{self.port};transport=tcp>")]
        steps += ANSWERING if takes else RINGING
        attending = replace(self.line, tcp=True).play(steps, name="attend", port=self.port, call_id=call_id)
        assert wait_for(lambda: "SIP/2.0 200" in attending.messages, patience=PATIENCE), attending.messages
        return attending

    def answer(self, *, contact: str = "[local_ip]:[local_port]") -> Played:
        """Answer the next call, with `contact` as host and port in the Contact header.

        Return the running sipp once it listens.
        """
        steps = [step.replace("phone@[local_ip]:[local_port]", f"phone@{contact}") for step in ANSWERING]
        return _listen(self.line, steps, self.port)

    def answer_behind_nat(self, announced: str) -> Played:
        """Answer the next call as a phone behind a NAT, and send back the media that arrive.

        `announced` is the address for media in its SDP: one at which it cannot be reached. Return the running sipp once
        it listens.
        """
        media = free_sip_port()
        steps = [behind_nat(step, announced, media) for step in ANSWERING]
        return _listen(self.line, steps, self.port, echo=media)

    def call_from_behind_nat(self, number: str, announced: str) -> Played:
        """Call a number as a phone behind a NAT, stay in the call, and send back the media that arrive.

        `announced` is the address for media in its SDP: one at which it cannot be reached. Return the running sipp once
        the call is answered.
        """
        media = free_sip_port()
        head = invite_head(self.line, number, self.user, "")
        steps = [*self._invite(head), *after_invite(head, 2, 200, meanwhile=[LATE, '<recv request="INFO"/>'])]
        held = self.line.play([behind_nat(step, announced, media) for step in steps], name="nat", echo=media)
        assert wait_for(held.is_up, patience=PATIENCE), held.messages
        return held

    def answer_and_hang_up(self) -> Played:
        """Answer the next call, then hang up. Return the running sipp once it listens."""
        return _listen(self.line, HANGING_UP, self.port)

    def ring(self) -> Played:
        """Ring at the next call until the caller cancels. Return the running sipp once it listens."""
        return _listen(self.line, RINGING, self.port)

    def refuse(self, status: str, *, branches: int = 1) -> Played:
        """Refuse the next call with this status, such as "486 Busy Here".

        Kamailio may send the call in several branches; sipp ends without a fault when it has refused `branches` of
        them. Return the running sipp once it listens.
        """
        return _listen(self.line, refusing(status, branches), self.port)

    def call(
        self, number: str, *, gets: int = 200, sender: str | None = None, extra: str = "", call_id: str | None = None
    ) -> Played:
        """Call a number and expect the status `gets`; hang up if the call was answered.

        Return the finished run of sipp. `sender` is the user or URI in the From header (None: the trunk's user),
        `extra` one more header line, `call_id` the Call-ID (None: a new one).
        """
        return self._call(number, gets, sender, extra, hold=False, call_id=call_id).finish()

    def hold(self, number: str) -> Played:
        """Call a number and stay in the call.

        Return the running sipp once the call is answered; its `hang_up` ends the call.
        """
        held = self._call(number, 200, None, "", hold=True)
        assert wait_for(held.is_up, patience=PATIENCE), held.messages
        return held

    def call_and_wait(
        self, number: str, *, contact: str, sender: str = "", extra: str = "", name: str = "phone"
    ) -> Played:
        """Call `number`, expect an answer, and wait until the called phone hangs up. Return the running sipp at once.

        Its method `finish` asserts that all this happened. `contact` is host and port in the Contact header, `name` the
        user there and in the SDP (o= and s=). `sender` is the user or URI in the From header, perhaps with a display
        name before it (empty: the trunk's user). `extra` is a further header line of the INVITE.
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
        """Call `number`, ask by REFER that the called phone be transferred to the number `target`, and hang up.

        Kamailio must answer the REFER with 405. Return the finished run of sipp.
        """
        ask = f"Refer-To: <sip:{target}@{self.line.domain}>"
        return self.say_within(number, [Within("REFER", extra=ask, gets=405)])

    def turn_to(self, number: str, target: str) -> Played:
        """Call `number`, send a re-INVITE with the Request-URI `target` within the call, and hang up.

        Kamailio must answer the re-INVITE with 481. Return the finished run of sipp.
        """
        return self.say_within(number, [Within("INVITE", target, gets=481)])

    def say_within(self, number: str, messages: Sequence[Within]) -> Played:
        """Call `number`, send the requests `messages` within the call, expect their replies, and hang up.

        Return the finished run of sipp.
        """
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
        """Start a call that may be answered, or refused with the status `refused`. Return the running sipp at once."""
        return self._call(number, refused, None, "", hold=False)

    def give_up(self, number: str) -> Played:
        """Call `number`, and cancel the call as soon as it rings. Return the finished run of sipp."""
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
    """Answer the next call at this port of `host`, as a party without a trunk.

    `extra` is a further header line of its replies. Return the running sipp once it listens.
    """
    told = extra and f"\n{extra}"
    ringing, taken = "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"
    steps = [step.replace(ringing, ringing + told).replace(taken, taken + told) for step in ANSWERING]
    return _listen(line, steps, port, host)


def refuse(line: Line, port: int, status: str, host: str = LOOPBACK) -> Played:
    """Refuse the next call at this port of `host` with this status, such as "486 Busy Here".

    Return the running sipp once it listens.
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
    """Call a number from the telephone network as `sender`; expect the status `gets`, and hang up if it was answered.

    `extra` is one more header line. Return the finished run of sipp.
    """
    head = invite_head(line, number, sender, extra)
    steps = [send(head.format(1, "") + SDP), *after_invite(head, 1, gets)]
    return line.play(steps, name="in", host=NETWORK, outside=True).finish()


def bye_out_of_nowhere(line: Line, target: str, *, gets: int) -> Played:
    """Send Kamailio a BYE with the Request-URI `target` that belongs to no call, and expect the status `gets`.

    Return the finished run of sipp.
    """
    request = (
        f"BYE {target} SIP/2.0\nRoute: <sip:{LOOPBACK}:{line.server};lr>\nFrom: <sip:a@test>;tag=1\n"
        f"To: <sip:b@test>;tag=2\nCSeq: 1 BYE{HEADERS}"
    )
    return line.play([send(request), f'<recv response="{gets}"/>'], name="bye").finish()
