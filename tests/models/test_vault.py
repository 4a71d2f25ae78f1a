"""Tests of the vault, which encrypts secrets and derives codes and fingerprints from the secret key.

A secret must still be readable after a change of the key. The key alone must not be enough to derive a code.
"""

from __future__ import annotations

import pytest

from models.proofs.proofs import AddressProof, EmailProof
from models.vault import SecretUnreadable, Vault, new_sip_secret
from tests.factories import NOW


def test_a_new_key_in_front_reads_what_the_old_one_sealed() -> None:
    sealed = Vault("old").seal("Brücke 5")
    rotated = Vault("new", "old")
    assert rotated.open(sealed) == "Brücke 5"
    assert Vault("new").open(rotated.seal("Brücke 6")) == "Brücke 6"


def test_fingerprints_differ_by_content_use_and_key() -> None:
    vault = Vault("new", "old")
    [new, old] = vault.fingerprints("call", b"body")
    assert [[new], [old]] == [Vault(key).fingerprints("call", b"body") for key in ("new", "old")]
    others = vault.fingerprints("call", b"other") + vault.fingerprints("link", b"body")
    assert len({new, old, *others}) == 6


@pytest.mark.parametrize(
    "sealed",
    [Vault("old").seal("secret"), b"", b"no seal", Vault("new").seal("secret")[:-5]],
    ids=["another key", "nothing", "no seal", "cut off"],
)
def test_what_none_of_the_keys_fits_is_unreadable(sealed: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        Vault("new", "newer").open(sealed)


def test_sealed_secrets_say_nothing() -> None:
    vault = Vault("key")
    first, second = vault.seal("secret"), vault.seal("secret")
    assert b"secret" not in first
    assert first != second


def test_sip_secrets_can_be_typed_from_paper_and_never_come_twice() -> None:
    secrets = {new_sip_secret() for _ in range(200)}
    assert len(secrets) == 200
    assert {len(secret) for secret in secrets} == {24}
    assert not set("0OIl1") & set("".join(secrets))


@pytest.mark.parametrize(
    "proof", [EmailProof(main_id=1, address="a@example.com"), AddressProof(main_id=1, address_key="a")]
)
def test_nobody_with_the_key_alone_can_derive_a_code(proof: EmailProof | AddressProof) -> None:
    vault, sent = Vault("key"), []
    proof.issue, proof.sent_issue, proof.reminders, proof.resent = 1, 0, 0, 0
    proof.ask(NOW)
    for _ in range(2):
        guessed = vault.code(*proof.words()[:3], str(proof.issue))
        assert not proof.try_code(vault, guessed, proof.words(), NOW)
        proof.start_sending(NOW)
        assert not proof.try_code(vault, guessed, proof.words(), NOW)
        assert proof.try_code(vault, vault.code(*proof.words()), proof.words(), NOW)
        sent.append(proof.words())
        proof.renew(NOW)
    # The next code keeps the random value, by which an older link is recognised.
    assert sent[0][-1] == sent[1][-1] and len(sent[0][-1]) == 32
