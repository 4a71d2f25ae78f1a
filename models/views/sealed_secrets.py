"""The secrets that tables store encrypted: checking that keys can decrypt them, and re-encrypting with a new key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.people.second_factors import FactorKind, SecondFactor
from models.telephony.trunks import SipTrunk
from models.vault import SecretUnreadable, Vault

PAGE = 500
"""The greatest number of rows that are locked and re-encrypted in one transaction."""
SAMPLE = 100
"""How many of the oldest, and of the newest, secrets of each kind are decrypted to check the keys."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table whose column `secret` the vault encrypts, in the rows that match the SQL condition `which`.

    `name` is the kind of secret, such as "SIP passwords".
    """

    name: str
    table: type[SipTrunk] | type[SecondFactor]
    which: sa.ColumnElement[bool]


SEALED = (
    Sealed("SIP passwords", SipTrunk, sa.true()),
    # A passkey's `secret` is its public key.
    Sealed("second factors", SecondFactor, SecondFactor.kind == FactorKind.APP),
)


def unreadable_secrets(session: Session, vault: Vault) -> Counter[str]:
    """Return, by kind of secret, how many of the 100 oldest and 100 newest secrets no key of the vault can decrypt.

    A kind without such secrets has no entry.
    """
    found: Counter[str] = Counter()
    for sealed in SEALED:
        column = sa.select(sealed.table.secret).where(sealed.which).limit(SAMPLE)
        for order in (sealed.table.id, sealed.table.id.desc()):
            found[sealed.name] += sum(not _opens(vault, secret) for secret in session.scalars(column.order_by(order)))
    return +found


def reseal_page(session: Session, vault: Vault, sealed: Sealed, after: Any) -> tuple[Any, Counter[str]]:
    """Re-encrypt, with the vault's first key, those of the next `PAGE` (500) secrets that another key has encrypted.

    `after` is the id after which the rows begin, None for the first call. Locks these rows. Returns the last row's id,
    None if there are no more rows, and two counts by name: `resealed`, and `unreadable` for secrets that no key can
    decrypt and that stay as they are.
    """
    table, found = sealed.table, Counter[str]()
    rows = sa.select(table.id, table.secret).where(sealed.which).order_by(table.id).limit(PAGE).with_for_update()
    page = session.execute(rows if after is None else rows.where(table.id > after)).all()
    fresh: list[dict[str, Any]] = []
    for id, secret in page:
        try:
            again = vault.reseal(secret)
        except SecretUnreadable:
            found["unreadable"] += 1
            continue
        if again is not None:
            fresh.append({"id": id, "secret": again})
    if fresh:
        session.execute(sa.update(table), fresh)
    found["resealed"] = len(fresh)
    return page[-1].id if page else None, found


def _opens(vault: Vault, secret: bytes) -> bool:
    try:
        vault.open(secret)
    except SecretUnreadable:
        return False
    return True
