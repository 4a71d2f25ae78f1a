"""Tests of typed e-mail addresses: each is stored in one spelling, and those to which no mail can go are refused."""

from __future__ import annotations

import pytest

from models.emails import BadEmail, name_and_email, sendable_address, typed_email

RIGHT = {
    " hanna@example.com ": "hanna@example.com",
    "hanna@example.com\u200b": "hanna@example.com",
    "Hanna@Example.COM": "Hanna@example.com",
    "Hanna Palmer <hanna@example.com>": "hanna@example.com",
    "hanna+berlin@example.com": "hanna+berlin@example.com",
    "o'brien@example.com": "o'brien@example.com",
    "h&m/x=1!#$%*?^`{|}~@example.com": "h&m/x=1!#$%*?^`{|}~@example.com",
    '"hanna palmer"@example.com': '"hanna palmer"@example.com',
    '"hanna"@example.com': "hanna@example.com",
    "info@müller.de": "info@müller.de",
    "info@xn--mller-kva.de": "info@müller.de",
    "info@faß.de": "info@faß.de",
    "x@ιδεα.gr": "x@ιδεα.gr",
}


@pytest.mark.parametrize(("typed", "address"), RIGHT.items())
def test_addresses_are_kept_in_one_spelling(typed: str, address: str) -> None:
    assert typed_email(typed) == address
    assert typed_email(address) == address
    assert sendable_address(address).isascii()


@pytest.mark.parametrize("typed", ["jörg@example.com", "jörg@müller.de", '"jörg"@example.com', "用户@example.com"])
def test_letters_before_the_at_that_mail_servers_do_not_know(typed: str) -> None:
    with pytest.raises(BadEmail) as caught:
        typed_email(typed)
    assert caught.value.code == "not_ascii_before_at"


@pytest.mark.parametrize(
    "typed",
    ["", " ", "@", "hanna", "hanna@", "@example.com", "hanna@example", "a..b@example.com", ".a@example.com", "a.@x.de",
     "hanna palmer@example.com", "a@b@example.com", "a@example.com,b@example.com", "a@example.com b@example.com",
     "a@-x.de", "a@x-.de", "a@x..de", "a@x.de.", "a@[127.0.0.1]", "a@firma.local", "a@localhost", "a@x.test",
     "mailto:a@x.de", "a\n@x.de", "a@x.de\nBcc: b@x.de", "a@" + "x" * 64 + ".de", "<>", "Hanna <>"],
)  # fmt: skip
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(BadEmail) as caught:
        typed_email(typed)
    assert caught.value.code == "not_an_email_address"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Palmer, Hanna <h@example.com>", ("Palmer, Hanna", "h@example.com")),
        ('"Palmer, Hanna" <h@example.com> ', ("Palmer, Hanna", "h@example.com")),
        ("h@example.com", ("", "h@example.com")),
        ("Hanna <h@example.com", ("", "Hanna <h@example.com")),
    ],
)
def test_a_name_before_an_address(typed: str, found: tuple[str, str]) -> None:
    assert name_and_email(typed) == found
