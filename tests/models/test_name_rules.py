"""Tests of the rules for names: a name with a web or e-mail address is refused, usual names are accepted."""

from __future__ import annotations

from time import perf_counter

import pytest

from models.name_rules import name_fault


@pytest.mark.parametrize(
    "text",
    [
        "www.evil.example/login", "klick auf http://evil.example", "HTTPS://EVIL.EXAMPLE", "hxxps://evil.example",
        "Gewinn (evil.example/login)", "evil.example?x=1", "evil.example:8080", "dr.evil.example/x", "1http://evil.example",
        "www . evil . example", "192.0.2.1/login", "Hanna <hanna@evil.example>", "mailto:hanna@evil.example", "a@b.de",
        "-//evil.example/x", "=?utf-8?q?www=2Eevil=2Eexample?=", "Anna =?UTF-8*de?B?d3d3?=",
    ],
)  # fmt: skip
def test_a_name_with_a_web_or_email_address_is_refused(text: str) -> None:
    fault = name_fault(text)
    assert fault is not None and fault.code == "web_address"


@pytest.mark.parametrize(
    "text",
    [
        "Beispiel24.de GmbH", "Booking.com (Deutschland) GmbH", "Praxis Dr.Meier/Schulz", "Dr.med.Meier/Schulz GbR",
        "Café @ Home", "Team@Work GmbH", "Müller & Co. KG", "St. Georg", "Filiale 2.1", "WWW-Service", "a/b", "Nr. 5/7",
        "Haus 1.OG/links", "R. u. S./Söhne", "Am Markt 12 1/2",
    ],
)  # fmt: skip
def test_usual_names_are_names(text: str) -> None:
    assert name_fault(text) is None


def test_long_texts_are_looked_through_in_no_time() -> None:
    began = perf_counter()
    for part in ("a", "a.", "-", "www ", "@a", "a@", "1.", "dr.", "=?", "=?a"):
        name_fault(part * 100_000)
    assert perf_counter() - began < 5
