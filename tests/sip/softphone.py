"""The base class of real softphones, which take commands, play a tone in calls, and record what they hear."""

from __future__ import annotations

import math
import subprocess
import wave
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from tests.fakes import wait_until
from tests.sip.sipp import PATIENCE
from workers.stack.processes import wait_for

RATE = 8000
"""Samples per second of a recording."""
_QUIET = 500
_HEADER = 44
"""Bytes of a WAV file before its samples. They are skipped: the length in them is written only at the end."""


class Softphone(ABC):
    """A running softphone with the credentials of a trunk, which answers calls by itself.

    For the first seconds of each call it plays a tone of `tone` Hz to the other party.
    """

    over: ClassVar[str]
    """What the softphone prints when a call has ended."""
    records_after_hold = True
    """Whether a recording continues after a held call is resumed. That of baresip 1.0 does not."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, tone: int) -> None:
        self._process = process
        self._folder = folder
        self._forgotten = 0
        self.tone = tone

    @property
    @abstractmethod
    def log(self) -> str:
        """Return what the softphone has printed so far, including all SIP messages."""

    @abstractmethod
    def do(self, command: str) -> None:
        """Send the softphone a command in its own command language."""

    @abstractmethod
    def dial(self, number: str) -> None:
        """Call `number`: a SIP URI with it as the user, and with the domain of the softphone's trunk."""

    @abstractmethod
    def hold(self) -> None:
        """Put the call on hold."""

    @abstractmethod
    def resume(self) -> None:
        """Resume the call that is on hold."""

    @abstractmethod
    def hang_up(self) -> None:
        """End the call."""

    @abstractmethod
    def recordings(self) -> Sequence[Path]:
        """Return the WAV files of the sound that the other party has sent, the oldest first."""

    def wait(self, words: str, *, times: int = 1) -> None:
        """Wait until the softphone's output has the text `words` at least `times` times.

        Fail after `PATIENCE` seconds.
        """
        assert wait_for(lambda: self.log.count(words) >= times, patience=PATIENCE), self.log

    def last_invite(self) -> str:
        """Return the log from the last INVITE on, sent or received, beginning with its Request-URI."""
        return self.log.rpartition("\nINVITE ")[2]

    def forget(self) -> None:
        """Make `heard` and `hears` ignore the sound that was recorded up to now."""
        self._forgotten = len(self._heard())

    def heard(self) -> int:
        """Return the frequency (Hz) of the sound recorded from the other party since the last call of `forget`.

        Return 0 if it was mostly silence, or shorter than half a second.
        """
        heard = self._heard()[self._forgotten :]
        samples = array("h", heard[: len(heard) // 2 * 2])
        loud = [sample for sample in samples if abs(sample) > _QUIET]
        if len(loud) < len(samples) // 2 or len(samples) < RATE // 2:
            return 0
        crossings = sum(one < 0 <= other for one, other in pairwise(samples))
        return round(crossings * RATE / len(samples))

    def hears(self, other: Softphone) -> bool:
        """Return whether the sound recorded since the last call of `forget` is the tone that `other` plays."""
        return abs(self.heard() - other.tone) < 20

    def _heard(self) -> bytes:
        return b"".join(file.read_bytes()[_HEADER:] for file in self.recordings() if file.exists())

    def end(self) -> None:
        """Kill the softphone. An orderly end would wait for a server that may be gone."""
        self._process.kill()
        self._process.wait()


def hear_each_other(one: Softphone, other: Softphone) -> None:
    """Wait until each softphone hears the tone of the other one; sound from before this call does not count."""
    for phone in (one, other):
        phone.forget()
    wait_until(lambda: one.hears(other) and other.hears(one), what="both tones")


def talk(caller: Softphone, called: Softphone, number: str) -> None:
    """Let `caller` call `number`, at which `called` answers, and assert that they hear each other.

    Then each puts the call on hold and resumes it, after which they must hear each other again. Finally the caller
    hangs up, and both must report the end. A softphone whose recording stops at a hold is not checked after that.
    """
    ended = [(phone, phone.log.count(phone.over)) for phone in (caller, called)]
    caller.dial(number)
    hear_each_other(caller, called)
    for holds, held in ((caller, called), (called, caller)):
        for act, direction in ((holds.hold, "a=sendonly"), (holds.resume, "a=sendrecv")):
            act()
            wait_until(partial(_was_told, held, direction), what=direction)
        for phone, other in ((caller, called), (called, caller)):
            if phone.records_after_hold:
                phone.forget()
                wait_until(partial(phone.hears, other), what="the tone after a hold")
    caller.hang_up()
    for phone, before in ended:
        phone.wait(phone.over, times=before + 1)


def _was_told(phone: Softphone, direction: str) -> bool:
    """Return whether the phone's last INVITE has been acknowledged and contains the SDP line `direction`.

    Such a line is "a=sendonly", with which the other party puts the call on hold.
    """
    told = phone.last_invite()
    return direction in told and "\nACK " in told


def write_tone(file: Path, frequency: int) -> None:
    """Write a tone of this frequency (Hz) to a WAV file, `PATIENCE` seconds long."""
    wave_of = (round(8000 * math.sin(2 * math.pi * frequency * place / RATE)) for place in range(RATE * PATIENCE))
    with wave.open(str(file), "wb") as writing:
        writing.setparams((1, 2, RATE, 0, "NONE", ""))
        writing.writeframes(array("h", wave_of).tobytes())
