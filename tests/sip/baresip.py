"""The real softphone baresip (Debian's baresip-core), controlled by commands to its socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.sip.phones import Phone
from tests.sip.softphone import Softphone, write_tone
from workers.stack.ports import LOOPBACK, free_sip_port

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


class Baresip(Softphone):
    """A running baresip (a softphone) with the credentials of a trunk.

    If `anonymous`, it does not register, and hides its number in calls.
    """

    over = "terminated (duration"
    records_after_hold = False

    def __init__(self, folder: Path, phone: Phone, *, tone: int, anonymous: bool = False) -> None:
        """Start baresip with the credentials of the phone's trunk; in calls it plays a tone of `tone` Hz.

        Wait until it is registered, or if `anonymous` until it is ready. `folder` takes its files.
        """
        program = shutil.which("baresip")
        assert program is not None
        folder.mkdir()
        self._control = free_sip_port()
        self._domain = phone.line.domain
        write_tone(folder / "tone.wav", tone)
        config = _CONFIG.format(host=LOOPBACK, port=phone.port, folder=folder, control=self._control, modules=_MODULES)
        (folder / "config").write_text(config)
        user = "anonymous" if anonymous else phone.user
        account = f"<sip:{user}@{phone.line.domain}>;auth_user={phone.user};auth_pass={phone.secret}"
        account += f';outbound="sip:{LOOPBACK}:{phone.line.server}";answermode=auto;regint={0 if anonymous else 600}'
        (folder / "accounts").write_text(f"{account};audio_codecs=pcma;catchall=no\n")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "-f", str(folder), "-s", "-4"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )
        super().__init__(process, folder, tone)
        self.wait("ready." if anonymous else "200 OK")

    @property
    def log(self) -> str:
        """Return what the softphone has printed so far, including all SIP messages."""
        return (self._folder / "log").read_text(errors="replace")

    def do(self, command: str) -> None:
        """Send a command in baresip's command language, such as "hangup", to its control socket."""
        with socket.socket(type=socket.SOCK_DGRAM) as wire:
            wire.sendto(f"/{command}\n".encode(), (LOOPBACK, self._control))

    def dial(self, number: str) -> None:
        """Call `number`: a SIP URI with it as the user, and with the domain of the softphone's trunk."""
        self.do(f"dial sip:{number}@{self._domain}")

    def hold(self) -> None:
        """Put the call on hold."""
        self.do("hold")

    def resume(self) -> None:
        """Resume the call that is on hold."""
        self.do("resume")

    def hang_up(self) -> None:
        """End the call."""
        self.do("hangup")

    def recordings(self) -> Sequence[Path]:
        """Return the WAV files of the sound that the other party of each call has sent, the oldest first."""
        return sorted(self._folder.glob("dump-*-dec.wav"))
