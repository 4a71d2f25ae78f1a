"""A real softphone rings: two baresip with the credentials of two sites call and hear each other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.telephony.forwarding import Condition
from models.telephony.trunks import RequestUri
from tests.fakes import wait_until
from tests.sip.conftest import Sites
from tests.sip.phones import Phone, call_in
from tests.sip.softphone import Softphone, start

_NONE = "NO BARESIP ON PATH: NO TEST WITH A REAL PHONE HAS RUN. As root on Debian: .make/sip"


@pytest.fixture
def soft(tmp_path: Path) -> Iterator[Callable[[Phone, int], Softphone]]:
    """Yield a function that starts a softphone for a trunk, playing a tone of this frequency (Hz).

    Without baresip skip the test, or fail if CI=true.
    """
    if shutil.which("baresip") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(_NONE, pytrace=False)
        pytest.skip(_NONE)
    with ExitStack() as running:

        def started(phone: Phone, tone: int) -> Softphone:
            found = start(tmp_path / phone.user, phone, tone=tone)
            running.callback(found.end)
            return found

        yield started


def test_two_softphones_call_and_hear_each_other_and_are_held_forwarded_and_called_from_outside(
    sites: Sites, soft: Callable[[Phone, int], Softphone]
) -> None:
    one, two = sites.order(numbers=1), sites.order(numbers=1)
    berlin, hamburg = soft(one, 440), soft(two, 1000)
    berlin.do(f"dial sip:0{two.numbers[0].removeprefix('+49')}@sip.example")
    for phone in (berlin, hamburg):
        phone.wait("Call established")
    wait_until(lambda: abs(berlin.heard() - 1000) < 20 and abs(hamburg.heard() - 440) < 20, what="both tones")
    for command, direction in (("hold", "a=sendonly"), ("resume", "a=sendrecv")):
        replies = berlin.log.count("SIP/2.0 200 OK")
        berlin.do(command)
        berlin.wait("SIP/2.0 200 OK", times=replies + 1)
        assert direction in hamburg.log.rpartition("\nINVITE ")[2]
    berlin.do("hangup")
    hamburg.wait("session closed")
    assert f"Call established: sip:{one.numbers[0]}@sip.example" in hamburg.log
    # From the network, by way of the other site's forwarding.
    sites.forward(one, Condition.ALWAYS, two.numbers[0])
    call_in(sites.line, one.numbers[0])
    assert f"To: <sip:{two.numbers[0]}@sip.example>" in hamburg.log.rpartition("\nINVITE ")[2]


def test_how_a_call_names_the_number_is_chosen_for_each_trunk_and_counts_with_the_next_call(sites: Sites) -> None:
    phone, caller = sites.order(numbers=1), sites.order()
    caller.register()
    phone.register(contact=f"<sip:line-7@127.0.0.1:{phone.port};x=y>")
    number, spelled = phone.numbers[0], phone.numbers[0].replace("+49", "0049")

    def heard() -> str:
        # The called side hangs up, so that a request from each side crosses what was changed in To.
        taking = phone.answer_and_hang_up()
        caller.call_and_wait(spelled, contact="127.0.0.1:9").finish()
        return taking.finish().heard("INVITE")

    contact = f"INVITE sip:line-7@127.0.0.1:{phone.port};x=y SIP/2.0"
    invite = heard()
    assert invite.startswith(contact)
    assert f"To: <sip:{number}@sip.example>" in invite and f"P-Called-Party-ID: <sip:{number}@sip.example>" in invite
    taking = phone.answer()
    call_in(sites.line, number, extra="P-Called-Party-ID: <sip:+493090000000@sip.example>")
    invite = taking.finish().heard("INVITE")
    assert invite.startswith(contact) and "+493090000000" not in invite
    with sites.changing(phone) as trunk:
        trunk.request_uri = RequestUri.NUMBER
    invite = heard()
    assert invite.startswith(f"INVITE sip:{number}@127.0.0.1:{phone.port}") and f"To: <sip:{spelled}@" in invite
    assert "P-Called-Party-ID" not in invite
