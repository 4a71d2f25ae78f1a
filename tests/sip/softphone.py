"""baresip (Debian's baresip-core), a real softphone: it registers, plays a tone, and records what it hears."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import wave
from array import array
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.sip.phones import Phone
from tests.sip.sipp import PATIENCE, phone_port
from workers.stack.ports import LOOPBACK
from workers.stack.processes import wait_for

_RATE = 8000
"""The samples of a recording in a second."""
_QUIET = 500
_MODULES = Path("/usr/lib/baresip/modules")
_CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
net_interface {host}
call_local_timeout 120
audio_source aufile,{folder}/tone.wav
audio_player aufile,{folder}/played.wav
audio_alert aufile,{folder}/alert.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_timeout 30
snd_path {folder}
cons_listen {host}:{control}
module_path {modules}
module g711.so
module aufile.so
module sndfile.so
module cons.so
module_app account.so
module_app menu.so
"""


@dataclass
class Softphone:
    """One baresip that is registered with the credentials of a trunk and answers calls by itself.

    It plays a tone to the other side, and records what it hears as WAV files in `folder`.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    control: int

    @property
    def log(self) -> str:
        """Return what the softphone has printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def do(self, command: str) -> None:
        """Type a command, such as `dial sip:…`, `hold` or `hangup`."""
        with socket.socket(type=socket.SOCK_DGRAM) as wire:
            wire.sendto(f"/{command}\n".encode(), (LOOPBACK, self.control))

    def wait(self, words: str, *, times: int = 1) -> None:
        """Wait until the softphone has printed these words so many times."""
        assert wait_for(lambda: self.log.count(words) >= times, patience=PATIENCE), self.log

    def heard(self) -> int:
        """Return the frequency (Hz) of what came from the other side, as recorded so far; 0 for silence."""
        heard = b""
        for file in sorted(self.folder.glob("dump-*-dec.wav")):
            # The length in the header is written when the recording ends.
            heard += file.read_bytes()[44:]
        samples = array("h", heard[: len(heard) // 2 * 2])
        loud = [sample for sample in samples if abs(sample) > _QUIET]
        if len(loud) < len(samples) // 2 or len(samples) < _RATE // 2:
            return 0
        crossings = sum(one < 0 <= other for one, other in pairwise(samples))
        return round(crossings * _RATE / len(samples))

    def end(self) -> None:
        """End the softphone."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


def start(folder: Path, phone: Phone, *, tone: int) -> Softphone:
    """Start a softphone with the credentials of a trunk, and wait until it is registered.

    It plays a tone of this frequency (Hz) as long as its calls last, for some seconds.
    """
    program = shutil.which("baresip")
    assert program is not None
    folder.mkdir()
    control = phone_port()
    _write_tone(folder / "tone.wav", tone)
    config = _CONFIG.format(host=LOOPBACK, port=phone.port, folder=folder, control=control, modules=_MODULES)
    (folder / "config").write_text(config)
    server = f"{LOOPBACK}:{phone.line.server}"
    account = f"<sip:{phone.user}@{phone.line.domain}>;auth_user={phone.user};auth_pass={phone.secret}"
    account += f';outbound="sip:{server}";answermode=auto;regint=600;audio_codecs=pcma;catchall=no\n'
    (folder / "accounts").write_text(account)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-f", str(folder), "-s", "-4"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    found = Softphone(process, folder, control)
    found.wait("200 OK")
    return found


def _write_tone(file: Path, frequency: int) -> None:
    wave_of = (round(8000 * math.sin(2 * math.pi * frequency * place / _RATE)) for place in range(_RATE * PATIENCE))
    with wave.open(str(file), "wb") as writing:
        writing.setparams((1, 2, _RATE, 0, "NONE", ""))
        writing.writeframes(array("h", wave_of).tobytes())
