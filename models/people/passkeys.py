"""Passkeys (WebAuthn): second factors with which a device signs a challenge, after checking who uses the device.

A challenge is encrypted for its user and sent with the form, not stored. It is valid for ten minutes, and only until
the passkey is used, so that no answer counts twice.
"""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url, generate_challenge
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from models.people.audit_log import AuditEvent
from models.people.login_changes import Where, note_change
from models.people.second_factors import FactorKind, SecondFactor, factors_of
from models.people.users import User
from models.vault import SecretUnreadable, Vault

P = ParamSpec("P")
T = TypeVar("T")

QUESTION_LASTS = timedelta(minutes=10)
_VERIFIED = UserVerificationRequirement.REQUIRED


@dataclass(frozen=True, slots=True)
class Site:
    """The portal as WebAuthn devices know it: host name (to which passkeys are bound), origin and displayed name."""

    host: str
    origin: str
    name: str


@dataclass(frozen=True, slots=True)
class Question:
    """A WebAuthn challenge to a device: `options` for the browser, as JSON, and `sealed`, a hidden value for the form.

    `sealed` is the encrypted challenge, which only the server can decrypt. The browser has to send it back.
    """

    options: str
    sealed: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The data that a browser sent back: `sealed`, the encrypted challenge, and `credential`, the answer as JSON."""

    sealed: str
    credential: str


def site_of(base_url: str, name: str) -> Site | None:
    """Return the portal at the URL `base_url` as WebAuthn devices know it; None if its host is an IP address.

    Passkeys need a host name. `name` is the portal's name, which devices show.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    return Site(host, f"{parts.scheme}://{parts.netloc}", name)


def ask_for_new_passkey(session: Session, vault: Vault, site: Site, user: User, now: datetime) -> Question:
    """Return the challenge that makes a device create a passkey of the user.

    Devices that have a passkey of the user already are excluded. The device must check who uses it, such as by a
    fingerprint.
    """
    challenge = generate_challenge()
    options = generate_registration_options(
        rp_id=site.host,
        rp_name=site.name,
        user_id=str(user.id).encode(),
        user_name=user.email,
        user_display_name=user.name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=_VERIFIED
        ),
        exclude_credentials=_descriptors(session, user.id),
    )
    return Question(options_to_json(options), _seal(vault, user.id, challenge, now))


def ask_for_passkey(session: Session, vault: Vault, site: Site, user_id: int, now: datetime) -> Question | None:
    """Return a challenge that any of the user's passkeys can answer; None if the user has no passkey."""
    known = _descriptors(session, user_id)
    if not known:
        return None
    challenge = generate_challenge()
    options = generate_authentication_options(
        rp_id=site.host, challenge=challenge, allow_credentials=known, user_verification=_VERIFIED
    )
    return Question(options_to_json(options), _seal(vault, user_id, challenge, now))


def add_passkey(
    session: Session, vault: Vault, site: Site, user: User, name: str, answer: Answer, where: Where, now: datetime
) -> bool:
    """Add the passkey that a device created for a challenge of `ask_for_new_passkey`; return whether it was added.

    `name` is what the user calls the passkey, `where` the browser in which the user adds it. If the passkey is added,
    this is recorded in the audit log and the user told by mail. Returns False if the answer is wrong, the challenge is
    older than ten minutes, or the passkey is stored already, for any user.
    """
    asked = _open(vault, user.id, answer.sealed, now)
    if asked is None:
        return False
    made = _checked(
        verify_registration_response,
        credential=answer.credential,
        expected_challenge=asked[0],
        expected_rp_id=site.host,
        expected_origin=site.origin,
        require_user_verification=True,
    )
    if made is None:
        return False
    known = sa.select(SecondFactor.id).where(SecondFactor.credential_id == made.credential_id)
    if session.scalar(known) is not None:
        return False
    session.add(
        SecondFactor(
            id=uuid.uuid4(),
            user_id=user.id,
            kind=FactorKind.PASSKEY,
            name=name,
            secret=made.credential_public_key,
            credential_id=made.credential_id,
            counter=made.sign_count,
            created_at=now,
        )
    )
    note_change(session, user, AuditEvent.FACTOR_ADDED, where, now, name=name)
    session.flush()
    return True


def prove_by_passkey(session: Session, vault: Vault, site: Site, user: User, answer: Answer, now: datetime) -> bool:
    """Return whether one of the user's passkeys gave this answer to a challenge of `ask_for_passkey`; store its use.

    The device must have checked who uses it, and its signature counter, if it has one, must have grown. Also returns
    False if the challenge is older than ten minutes or older than the passkey's last use.
    """
    asked = _open(vault, user.id, answer.sealed, now)
    if asked is None:
        return False
    challenge, asked_at = asked
    id = _checked(_credential_id, answer.credential)
    factor = next((one for one in factors_of(session, user.id) if id is not None and one.credential_id == id), None)
    if factor is None:
        return False
    proof = _checked(
        verify_authentication_response,
        credential=answer.credential,
        expected_challenge=challenge,
        expected_rp_id=site.host,
        expected_origin=site.origin,
        credential_public_key=factor.secret,
        credential_current_sign_count=factor.counter,
        require_user_verification=True,
    )
    if proof is None:
        return False
    # Of two requests with one answer, one finds that the passkey was used since.
    unused = sa.or_(SecondFactor.last_used_at.is_(None), SecondFactor.last_used_at < asked_at)
    use = sa.update(SecondFactor).where(SecondFactor.id == factor.id, unused)
    used = use.values(counter=proof.new_sign_count, last_used_at=now).returning(SecondFactor.id)
    return session.scalar(used.execution_options(synchronize_session=False)) is not None


def _checked(check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call `check` with the other arguments and return its result; return None if it raises any exception.

    For data that no device has made, the library webauthn raises not only its own exceptions: its parsers also fail on
    deep nesting, wrong types and truncated data. Each failure means that the answer is wrong.
    """
    try:
        return check(*args, **kwargs)
    except Exception:
        return None


def _credential_id(credential: str) -> bytes:
    return base64url_to_bytes(str(json.loads(credential)["id"]))


def _descriptors(session: Session, user_id: int) -> list[PublicKeyCredentialDescriptor]:
    ids = (factor.credential_id for factor in factors_of(session, user_id))
    return [PublicKeyCredentialDescriptor(id=id) for id in ids if id is not None]


def _seal(vault: Vault, user_id: int, challenge: bytes, now: datetime) -> str:
    facts = {"use": "passkey", "user": user_id, "at": now.isoformat(), "challenge": bytes_to_base64url(challenge)}
    return vault.seal(json.dumps(facts)).decode()


def _open(vault: Vault, user_id: int, sealed: str, now: datetime) -> tuple[bytes, datetime] | None:
    """Decrypt `sealed`, and return the challenge that it contains and the time at which it was encrypted.

    Returns None if `sealed` is not an encrypted challenge, was encrypted for another user, or is older than ten minutes
    (`QUESTION_LASTS`).
    """
    try:
        facts = json.loads(vault.open(sealed.encode()))
    except (SecretUnreadable, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("use") != "passkey" or facts["user"] != user_id:
        return None
    asked_at = datetime.fromisoformat(facts["at"])
    return (base64url_to_bytes(facts["challenge"]), asked_at) if now < asked_at + QUESTION_LASTS else None
