"""Builds the steps of sipp's scenarios as XML elements: SIP messages to send, and SIP messages to expect."""

from __future__ import annotations

from collections.abc import Sequence

from tests.sip.sipp import Line

HEADERS = """
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
Call-ID: [call_id]
Content-Length: 0"""
"""The last headers of a request without a body."""
SDP = """
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
Call-ID: [call_id]
Contact: <sip:phone@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 40000 RTP/AVP 8
"""
"""The last headers and the body of an INVITE."""
_BACK = """
[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Contact: <sip:phone@[local_ip]:[local_port]>
Content-Length: 0"""
LATE = '<recv response="180" optional="true"/>'
"""The step that expects a ringing (180), if it comes: Kamailio's processes may relay it after the answer."""


def send(text: str) -> str:
    """Return the step of a sipp scenario, as XML, that sends the SIP message `text`."""
    return f"<send><![CDATA[\n{text.strip()}\n\n]]></send>"


def reply(status: str, *, tag: str = "") -> str:
    """Return the step of a sipp scenario, as XML, that replies to the last received request.

    `status` is code and text, such as "200 OK". `tag` is added to the To header: a parameter such as ";tag=7".
    """
    return send(f"SIP/2.0 {status}{_BACK.format(tag=tag)}")


# Kamailio's processes take the messages of one call side by side, so a BYE sent at once can overtake the ACK.
ANSWERING = [
    '<recv request="INVITE"/>',
    # Nobody answers at once, and the server's processes may pass on two replies in either order.
    reply("180 Ringing", tag=";tag=[pid]-[call_number]") + '\n<pause milliseconds="20"/>',
    '<send retrans="500"><![CDATA[\nSIP/2.0 200 OK'
    + _BACK.format(tag=";tag=[pid]-[call_number]").replace("Content-Length: 0", "Content-Type: application/sdp")
    + "\nContent-Length: [len]\n\n"
    + SDP.split("\n\n")[1]
    + "]]></send>",
    '<recv request="ACK" optional="true"/>',
    '<recv request="BYE"/>',
    reply("200 OK"),
]
"""The steps of a phone that rings, answers the call, and waits until the caller hangs up."""
RINGING = [
    # The later reply to the INVITE needs the headers of the INVITE, not those of the CANCEL.
    '<recv request="INVITE"><action>'
    '<ereg regexp=":.*" search_in="hdr" header="Via" occurrence="1" assign_to="near"/>'
    '<ereg regexp=":.*" search_in="hdr" header="Via" occurrence="2" assign_to="far"/>'
    '<ereg regexp=":.*" search_in="hdr" header="CSeq" assign_to="cseq"/></action></recv>',
    reply("180 Ringing", tag=";tag=[pid]-[call_number]"),
    '<recv request="CANCEL"/>',
    reply("200 OK"),
    send(
        "SIP/2.0 487 Request Terminated\nVia[$near]\nVia[$far]\n[last_From:]\n"
        "[last_To:];tag=[pid]-[call_number]\n[last_Call-ID:]\nCSeq[$cseq]\nContent-Length: 0"
    ),
    '<recv request="ACK"/>',
]
"""The steps of a phone that rings until the caller cancels."""


def refusing(status: str, branches: int = 1) -> list[str]:
    """Return the steps, as XML, with which a phone refuses a call with this status, such as "486 Busy Here".

    They expect the call's INVITE `branches` times: Kamailio sends one to each registered contact.
    """
    steps: list[str] = []
    for branch in range(branches):
        # The ACKs of the branches before may arrive before or after this one.
        steps += ['<recv request="ACK" optional="true"/>'] * branch
        steps += ['<recv request="INVITE"/>', reply(status, tag=";tag=[pid]-[call_number]")]
    return [*steps, '<recv request="ACK"/>']


# In requests of the called side, From and To are exchanged.
HANGING_UP = [
    '<recv request="INVITE" rrs="true"><action>'
    '<ereg regexp=":.*" search_in="hdr" header="From" assign_to="caller"/>'
    '<ereg regexp=":.*" search_in="hdr" header="To" assign_to="called"/></action></recv>',
    *ANSWERING[1:3],
    '<recv request="ACK"/>',
    send(f"BYE [next_url] SIP/2.0\n[routes]\nFrom[$called];tag=[pid]-[call_number]\nTo[$caller]\nCSeq: 1 BYE{HEADERS}"),
    '<recv response="200"/>',
]
"""The steps of a phone that rings, answers the call, and hangs up."""


def registering(who: str, contact: str, credentials: str, *, gets: int = 200, expires: int = 600) -> list[str]:
    """Return the steps that register `who` (user@domain): a REGISTER, the challenge, and a REGISTER with credentials.

    `contact` is the value of the Contact header, `credentials` header lines with a line break before each, `expires`
    the requested seconds, `gets` the expected status of the second REGISTER.
    """
    request = (
        f"REGISTER sip:{who.partition('@')[2]} SIP/2.0\nFrom: <sip:{who}>;tag=[call_number]\nTo: <sip:{who}>\n"
        f"CSeq: {{}} REGISTER\nContact: {contact}\nExpires: {expires}{{}}{HEADERS}"
    )
    return [
        send(request.format(1, "")),
        '<recv response="401" auth="true"/>',
        send(request.format(2, credentials)),
        f'<recv response="{gets}"/>',
    ]


def behind_nat(step: str, announced: str, media: int) -> str:
    """Return `step` with other media in its SDP: with the IP address `announced` and the port `media`."""
    return step.replace("c=IN IP4 [local_ip]", f"c=IN IP4 {announced}").replace("m=audio 40000", f"m=audio {media}")


def invite_head(line: Line, number: str, sender: str, extra: str) -> str:
    """Return the request line and the first headers of an INVITE to `number`, which may be a number or a URI.

    The text has two placeholders `{}`: for the CSeq number, and for a further header line. `sender` is the user or URI
    of the From header, perhaps with a display name before it; `extra` is a header line (empty: none).
    """
    uri = number if ":" in number else f"sip:{number}@{line.domain}"
    # '"Kim" +4930901820' has a name to show.
    name, _, sender = sender.rpartition(" ")
    sender = sender if "@" in sender or ":" in sender else f"{sender}@{line.domain}"
    sender = sender if ":" in sender else f"sip:{sender}"
    sender = sender if ">" in sender else f"<{sender}>"
    return (
        f"INVITE {uri} SIP/2.0\nFrom: {name}{sender};tag=[call_number]\nTo: <{uri}>\n"
        f"CSeq: {{}} INVITE{{}}{extra and chr(10) + extra}"
    )


def ack(head: str, sequence: int, *, back: int) -> str:
    """Return the text of the ACK to the reply that refused an INVITE.

    `head` is the INVITE's head (see `invite_head`), `sequence` its CSeq number. The step that sends the ACK must come
    `back` steps after the one that sent the INVITE.
    """
    # It has the branch of that INVITE.
    text = head.replace("INVITE", "ACK").format(sequence, "").replace(">\nCSeq", ">[peer_tag_param]\nCSeq")
    return text + HEADERS.replace("[branch]", f"[branch-{back}]")


def request_within(head: str, sequence: int, method: str, extra: str = "") -> str:
    """Return the text of a SIP request within a call, with this method and the CSeq number `sequence`.

    `head` is the head of the INVITE that has begun the call (see `invite_head`). `extra` are further header lines, each
    with a line break before it.
    """
    sender = head.split("\n")[1]
    return f"{method} [next_url] SIP/2.0\n[routes]\n{sender}\nTo[$to]\nCSeq: {sequence} {method}{extra}{HEADERS}"


def after_invite(
    head: str, sequence: int, gets: int, *, meanwhile: Sequence[str] = (), last: int | None = None
) -> list[str]:
    """Return the steps after an INVITE: expect the status `gets`, acknowledge it, and end the call if it was answered.

    `head` and `sequence` are the INVITE's head (see `invite_head`) and CSeq number. `meanwhile` are steps during the
    call. `last` is the CSeq number of the BYE (None: the next one).
    """
    steps = [f'<recv response="{code}" optional="true"/>' for code in (100, 180, 183)]
    if gets != 200:
        return [*steps, f'<recv response="{gets}"/>', send(ack(head, sequence, back=len(steps) + 2))]
    return [
        *steps,
        '<recv response="200" rrs="true"><action>'
        '<ereg regexp=":.*" search_in="hdr" header="To" assign_to="to"/></action></recv>',
        send(request_within(head, sequence, "ACK")),
        *meanwhile,
        send(request_within(head, last or sequence + 1, "BYE")),
        LATE,
        '<recv response="200"/>',
    ]
