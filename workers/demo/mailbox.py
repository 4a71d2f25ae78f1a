"""What the mail catcher of the embedded stack has caught: one file for each mail and recipient."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from email import policy
from email.headerregistry import AddressHeader
from email.parser import BytesHeaderParser
from pathlib import Path

from sqlalchemy.orm import Session

from models.messages import messages_of


def caught_mails(
    session: Session, folder: Path, request_ids: Sequence[uuid.UUID], since: float
) -> Mapping[uuid.UUID, Counter[str]]:
    """For each request, how many files there are for each address. `since`: POSIX time, older files are left out.

    A mail belongs to the request whose Message-ID it carries; the domain after the @ is the workers' business.
    """
    owners = {message.key: message.request_id for message in messages_of(session, request_ids)}
    caught: dict[uuid.UUID, Counter[str]] = {id: Counter() for id in request_ids}
    for identifier, addresses in _headers(folder, since):
        owner = owners.get(_local_part(identifier))
        if owner is not None:
            caught[owner].update(addresses)
    return caught


def _headers(folder: Path, since: float) -> Iterator[tuple[str, list[str]]]:
    parser = BytesHeaderParser(policy=policy.default)
    for path in folder.glob("*.eml"):
        if path.stat().st_mtime >= since:
            with path.open("rb") as file:
                mail = parser.parse(file)
            to = mail["To"]
            addresses = to.addresses if isinstance(to, AddressHeader) else ()
            yield str(mail["Message-ID"] or ""), [address.addr_spec.lower() for address in addresses]


def _local_part(identifier: str) -> str:
    return identifier.strip().removeprefix("<").partition("@")[0]
