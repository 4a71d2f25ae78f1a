"""Tests that the real softphones baresip and Linphone, registered at two sites, call and hear each other."""

from __future__ import annotations

from models.telephony.forwarding import Condition
from models.telephony.trunks import RequestUri
from tests.sip.conftest import Sites, Softphones
from tests.sip.phones import call_in
from tests.sip.softphone import talk


def test_two_kinds_of_softphones_call_and_hear_each_other_and_are_held_forwarded_and_called_from_outside(
    sites: Sites, soft: Softphones
) -> None:
    one, two = sites.order(numbers=1), sites.order(numbers=1)
    berlin, hamburg = soft.baresip(one, tone=440), soft.linphone(two, tone=1000)
    talk(berlin, hamburg, f"0{two.numbers[0].removeprefix('+49')}")
    talk(hamburg, berlin, f"0{one.numbers[0].removeprefix('+49')}")
    # Each caller's number is shown to the other one.
    assert f"Call established: sip:{two.numbers[0]}@sip.example" in berlin.log
    assert f"new incoming call from sip:{one.numbers[0]}@sip.example" in hamburg.log
    # From the network, by way of the other site's forwarding.
    for forwards, target, rings in ((one, two, hamburg), (two, one, berlin)):
        forwarding = sites.forward(forwards, Condition.ALWAYS, target.numbers[0])
        call_in(sites.line, forwards.numbers[0])
        assert f"To: <sip:{target.numbers[0]}@sip.example>" in rings.last_invite()
        sites.stop_forwarding(forwards, forwarding)


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
