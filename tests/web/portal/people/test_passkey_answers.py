"""Tests that an answer which no browser with a passkey can give is refused, and never an error 500."""

from __future__ import annotations

import json
import uuid
from base64 import urlsafe_b64encode

import pytest

from models.people.second_factors import FactorKind, SecondFactor
from models.people.users import User
from tests.factories import NOW, PASSWORD
from tests.web.conftest import Front
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import browser, enter_password, press

ID = urlsafe_b64encode(b"key").decode()
KNOWN = {"id": ID, "rawId": ID, "type": "public-key"}
DEEP_CBOR = urlsafe_b64encode(b"\x81" * 5000).decode()


def registration(attestation: str) -> str:
    """Return the JSON with which a browser answers the registration of a passkey.

    `attestation` is the attestation object in base64.
    """
    asked = urlsafe_b64encode(b'{"type":"webauthn.create","challenge":"","origin":""}').decode()
    return json.dumps({**KNOWN, "response": {"clientDataJSON": asked, "attestationObject": attestation}})


@pytest.mark.parametrize(
    "credential",
    [
        "[" * 19_000, "null", "[]", "{}", '{"id":5}', json.dumps({**KNOWN, "response": None}),
        json.dumps({**KNOWN, "response": {"clientDataJSON": 5, "attestationObject": {}}}),
        registration(ID), registration(""), registration(DEEP_CBOR), registration("oA"), registration("9g"),
    ],
)  # fmt: skip
def test_a_new_passkey_of_no_device_is_refused(front: Front, credential: str) -> None:
    sign_in(front, front.manager.email)
    fields = {"credential": credential, "name": "Telefon", "password": PASSWORD}
    assert press(front.client, "/anmeldung/passkey", **fields).status_code == 422


@pytest.mark.parametrize(
    "credential",
    [
        "[" * 19_000, "null", "[]", '{"id":5}', json.dumps(KNOWN), json.dumps({**KNOWN, "response": None}),
        json.dumps({**KNOWN, "response": {"clientDataJSON": "YQ", "authenticatorData": "", "signature": "YQ"}}),
        json.dumps({**KNOWN, "response": {"clientDataJSON": [], "authenticatorData": 1, "signature": {}}}),
    ],
)  # fmt: skip
def test_a_proof_of_no_device_is_refused(front: Front, credential: str) -> None:
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        key = {"secret": b"\x81" * 5000, "credential_id": b"key", "counter": 0, "created_at": NOW}
        session.add(SecondFactor(id=uuid.uuid4(), user_id=user.id, kind=FactorKind.PASSKEY, name="Telefon", **key))
    client = browser(front)
    page = enter_password(client, front.manager.email).text
    assert press(client, "/anmelden/faktor", page, credential=credential).status_code == 422
