"""Kamailio with its timeouts shortened to a few seconds, for tests of what happens when they end."""

from __future__ import annotations

from workers.stack.kamailio import CONFIGURATION, EmbeddedKamailio

LIMIT = 8
"""After so many wrong passwords from one address, registrations from it are refused for a while.

The while ends `PAUSE` seconds after the first wrong password.
"""
PAUSE = 3
_SHORTER = {
    "name=calls;interval=60": "name=calls;interval=1",
    "#!define WRONG_OF_ADDRESS 50": f"#!define WRONG_OF_ADDRESS {LIMIT}",
    '"wrong=>size=10;autoexpire=60': f'"wrong=>size=10;autoexpire={PAUSE}',
    '"written=>size=10;autoexpire=60': f'"written=>size=10;autoexpire={PAUSE}',
    '"nonce_expire", 60': '"nonce_expire", 2',
    "children=8": "children=8\ntcp_connection_lifetime=2",
    'modparam("tm", ': 'modparam("tm", "fr_timer", 1000)\nmodparam("tm", ',
}


class HastyKamailio(EmbeddedKamailio):
    """Kamailio with timeouts of a few seconds instead of a minute. A silent TCP connection lives for two seconds."""

    def prepare(self) -> None:
        """Create Kamailio's directory, with a copy of the configuration that has shorter timeouts.

        Safe to run twice.
        """
        super().prepare()
        text = CONFIGURATION.read_text("utf-8")
        for usual, shorter in _SHORTER.items():
            assert text.count(usual) == 1, usual
            text = text.replace(usual, shorter)
        (self.directory / CONFIGURATION.name).write_text(text, "utf-8")
