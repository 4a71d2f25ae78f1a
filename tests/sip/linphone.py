"""The real softphone Linphone, controlled by commands to its console linphonec (Debian's linphone-cli)."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.sip.phones import Phone
from tests.sip.softphone import Softphone, write_tone
from workers.stack.ports import LOOPBACK

_CONFIG = """\
[sip]
sip_port={port}
sip_tcp_port=0
bind_address={host}
use_ipv6=0
default_proxy=0
[rtp]
audio_rtp_port=24000-32000
[proxy_0]
reg_proxy=<sip:{host}:{server}>
reg_route=<sip:{host}:{server};lr>
reg_identity=sip:{user}@{domain}
reg_expires=600
reg_sendregister=1
publish=0
[auth_info_0]
username={user}
passwd={secret}
realm={domain}
[video]
display=0
capture=0
automatically_initiate=0
automatically_accept=0
[audio_codec_0]
mime=PCMA
rate=8000
channels=1
enabled=1
"""
# Codecs that are not mentioned are offered.
_OTHER_CODECS = (("opus", 48000, 2), ("speex", 16000, 1), ("speex", 8000, 1), ("PCMU", 8000, 1), ("G729", 8000, 1))


class Linphone(Softphone):
    """A running linphonec (the softphone Linphone for the console) with the credentials of a trunk."""

    over = "ended (No error)"

    def __init__(self, folder: Path, phone: Phone, *, tone: int) -> None:
        """Start linphonec with the credentials of the phone's trunk, and wait until it is registered.

        In calls it plays a tone of `tone` Hz. `folder` takes its files.
        """
        program = shutil.which("linphonec")
        assert program is not None
        self._domain = phone.line.domain
        # Its database is there, and it makes no folders for it.
        (folder / ".local/share/linphone").mkdir(parents=True)
        write_tone(folder / "tone.wav", tone)
        config = _CONFIG.format(
            host=LOOPBACK,
            port=phone.port,
            server=phone.line.server,
            user=phone.user,
            secret=phone.secret,
            domain=phone.line.domain,
        )
        for place, (name, rate, channels) in enumerate(_OTHER_CODECS, 1):
            config += f"[audio_codec_{place}]\nmime={name}\nrate={rate}\nchannels={channels}\nenabled=0\n"
        (folder / "config").write_text(config)
        # It works on calls only while it waits for a person at a terminal.
        self._terminal, inside = pty.openpty()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "-c", str(folder / "config"), "-S", "-d", "6", "-l", str(folder / "trace")],
                stdin=inside,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"PATH": os.defpath, "HOME": str(folder), "TERM": "dumb"},
            )
        os.close(inside)
        super().__init__(process, folder, tone)
        self.do("soundcard use files")
        self.do(f"play {folder}/tone.wav")
        self.do(f"record {folder}/heard.wav")
        self.do("autoanswer enable")
        self.wait("to [LinphoneRegistrationOk]")

    @property
    def log(self) -> str:
        """Return what the softphone has printed so far, followed by all SIP messages."""
        files = (self._folder / "log", self._folder / "trace")
        return "".join(file.read_text(errors="replace").replace("\r", "") for file in files if file.exists())

    def do(self, command: str) -> None:
        """Type a command in linphonec's command language, such as "terminate", into its console."""
        os.write(self._terminal, f"{command}\n".encode())

    def dial(self, number: str) -> None:
        """Call `number`: a SIP URI with it as the user, and with the domain of the softphone's trunk."""
        self.do(f"call sip:{number}@{self._domain}")

    def hold(self) -> None:
        """Put the call on hold."""
        self.do("pause")

    def resume(self) -> None:
        """Resume the call that is on hold."""
        self.do("resume")

    def hang_up(self) -> None:
        """End the call."""
        self.do("terminate")

    def recordings(self) -> Sequence[Path]:
        """Return the WAV file of the sound that the other party has sent, as a sequence of one file."""
        return [self._folder / "heard.wav"]

    def end(self) -> None:
        """End the softphone and close its console."""
        super().end()
        os.close(self._terminal)
