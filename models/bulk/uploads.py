"""Saving of an uploaded file as a bulk that is not sent yet, with its checked rows, and saving of corrected rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import ACTIONS, ON_ACCOUNTS, Bulk, BulkRow, rows_of
from models.errors import Forbidden
from models.people.rights import Principal, may
from models.states import Kind
from models.vault import Vault

MOST_UNSENT = 50
"""How many files that are not sent a main account can have; each is deleted after 30 days."""
QUOTED = frozenset({"monthly_before", "monthly_after", "one_off", "shown", "says"})
"""The keys of a draft about an account that say what the row costs and does; the others say what is asked for."""


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A checked row of an uploaded file. It has either `errors` or `draft`, the request to create; the other is None.

    `line` is its line number, `cells` the typed texts by column. `errors` maps each wrong column to `[code, allowed]`:
    the code of the broken rule, and the values that would be valid, or None. `draft` is a JSON object.
    """

    line: int
    cells: Mapping[str, str]
    errors: Mapping[str, Sequence[Any]] | None
    draft: Mapping[str, Any] | None


def fingerprints_of(vault: Vault, kind: Kind, rows: Iterable[Mapping[str, str]]) -> list[bytes]:
    """Return keyed digests of `kind` and the rows' cells, one for each key of the vault, the first key's first.

    Files with equal content have equal digests, whatever their names and formats.
    """
    # With a key: link codes are part of the content, and nobody with the database alone may try codes against it.
    content = "\n".join((kind, *(json.dumps(cells, sort_keys=True) for cells in rows)))
    return vault.fingerprints("bulk", content.encode())


def same_file(session: Session, main: Account, fingerprints: Sequence[bytes]) -> Bulk | None:
    """Return the main account's bulk file that has one of these digests of its content; None if there is none."""
    return session.scalar(sa.select(Bulk).where(Bulk.main_id == main.id, Bulk.fingerprint.in_(fingerprints)))


def has_room(session: Session, main: Account) -> bool:
    """Return whether the main account has fewer than `MOST_UNSENT` files that are not sent."""
    unsent = sa.select(Bulk.id).where(Bulk.main_id == main.id, Bulk.sent_at.is_(None)).offset(MOST_UNSENT - 1)
    return session.scalar(unsent.limit(1)) is None


def keep_file(
    session: Session,
    principal: Principal,
    main: Account,
    kind: Kind,
    file_name: str,
    fingerprints: Sequence[bytes],
    rows: Sequence[CheckedRow],
    now: datetime,
    place: Mapping[str, Any] | None = None,
) -> Bulk:
    """Save the uploaded file as a new bulk that is not sent yet, and return the bulk.

    `fingerprints` are digests of the content, made by `fingerprints_of`. If the main account has a bulk with one of
    these digests, nothing is saved and that bulk is returned. `place` says where in the file the table was found: the
    line of its headings and perhaps the sheet; None if that is not known. Raises `Forbidden` if the person may not
    create requests of this kind for the main account.
    """
    if not may(principal, ACTIONS[kind], main):
        raise Forbidden
    made: Bulk | None = session.scalar(
        postgresql.insert(Bulk)
        .values(
            main_id=main.id,
            user_id=principal.user_id,
            kind=kind,
            locale=principal.locale,
            file_name=file_name,
            place=place,
            fingerprint=fingerprints[0],
            created_at=now,
            attempts=0,
        )
        .on_conflict_do_nothing()
        .returning(Bulk)
    )
    if made is None:
        found = same_file(session, main, fingerprints)
        assert found is not None
        return found
    facts = [{"bulk_id": made.id, "main_id": main.id, "line": row.line, **_facts(made, row)} for row in rows]
    session.execute(sa.insert(BulkRow), facts)
    return made


def mend(session: Session, bulk: Bulk, rows: Sequence[CheckedRow]) -> None:
    """Overwrite rows of the bulk file with their corrected versions, found by line number, which may have errors, too.

    The bulk must be locked and not sent. Flushes.
    """
    assert bulk.sent_at is None
    known = {row.line: row for row in rows_of(session, bulk, lines=[row.line for row in rows])}
    for row in rows:
        for name, value in _facts(bulk, row).items():
            setattr(known[row.line], name, value)
    session.flush()


def _facts(bulk: Bulk, row: CheckedRow) -> dict[str, Any]:
    return {"cells": dict(row.cells), "errors": row.errors, "draft": row.draft, "key": _key(bulk, row)}


def _key(bulk: Bulk, row: CheckedRow) -> bytes | None:
    if row.draft is None:
        return None
    if bulk.kind is Kind.LINK:
        # Asking for one account twice does no harm: of two requests that run at once the second is refused.
        return hashlib.sha256(bulk.id.bytes + row.line.to_bytes(4)).digest()
    if bulk.kind in ON_ACCOUNTS:
        # What it costs follows from it. What is done at once can be asked for again, after something else.
        wanted = {name: value for name, value in row.draft.items() if name not in QUOTED}
        once = "" if row.draft.get("effective_on") or row.draft.get("last_day") else f"{bulk.id} "
        return hashlib.sha256((once + json.dumps(wanted, sort_keys=True)).encode()).digest()
    # In which language somebody is written to, who is invited, or how calls arrive, does not make it another order.
    told = {name: value for name, value in row.draft.items() if name not in ("locale", "local_user", "request_uri")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()
