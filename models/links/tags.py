"""Tags of sub-accounts: short words by which a company sorts its locations, such as "Region Nord".

They belong to the company: who leads the main account sets them, and they are deleted when the account leaves it
(`models.accounts.hierarchy`). Within a company two spellings that differ only in capitals are one tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.db.advisory_locks import take_advisory_lock
from models.errors import Forbidden, InvalidField
from models.people.audit_log import AuditEvent, record
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import Action, Principal, may

MOST = 10
"""The greatest number of tags of one account."""
LONGEST = 40
"""The greatest length of a tag, in characters."""
CHANGES_A_DAY = 50
"""How often a person may change the tags of one account within 24 hours: the log of it is kept for ever."""
MOST_LISTED = 200
"""The greatest number of different tags of a company that are listed."""


def typed_tags(typed: Iterable[str]) -> list[str]:
    """Return tags as they are saved: without spaces at the ends, each once, in alphabetical order.

    `typed` are tags as people write them; empty ones are left out. Raises `InvalidField` for the field `tags` if a tag
    is too long or contains a comma, which separates tags on the page, or if there are too many.
    """
    tags: dict[str, str] = {}
    for text in typed:
        tag = " ".join(text.split())
        if len(tag) > LONGEST:
            raise InvalidField("tags", "tag_too_long", LONGEST)
        if "," in tag:
            raise InvalidField("tags", "tag_with_comma")
        if tag:
            tags.setdefault(tag.casefold(), tag)
    if len(tags) > MOST:
        raise InvalidField("tags", "too_many_tags", MOST)
    return [tags[key] for key in sorted(tags)]


def set_tags(session: Session, person: Principal, account: Account, typed: Iterable[str], now: datetime) -> None:
    """Give a sub-account these tags instead of those that it has, and record the change in its audit log.

    A tag that the company has already keeps the spelling that it has there. Nothing changes if the account has these
    tags. Locks the company's tags and the account. Raises `Forbidden` unless the person leads the account's main
    account, `InvalidField` as `typed_tags` does, and `TooEarly` if the person has changed the tags of the account
    `CHANGES_A_DAY` (50) times within 24 hours, as the log of it is kept for ever.
    """
    tags = typed_tags(typed)
    if account.main_id is None or not may(person, Action.TAG, account):
        raise Forbidden
    take_advisory_lock(session, f"tags {account.main_id}")
    known = {tag.casefold(): tag for tag in tags_of(session, account.main_id)}
    lock_account(session, account)
    if not may(person, Action.TAG, account):
        raise Forbidden
    before = account.tags or []
    after = [known.get(tag.casefold(), tag) for tag in tags]
    if after == before:
        return
    ensure_not_repeated(session, person, account, AuditEvent.TAGS_SET, now, CHANGES_A_DAY)
    account.tags = after or None
    facts = {"tags": after, "before": before}
    record(session, person, account, AuditEvent.TAGS_SET, Action.TAG, now, facts)


def tags_of(session: Session, main_id: int) -> Sequence[str]:
    """Return the tags that the main account's sub-accounts have, each once, in alphabetical order.

    At most `MOST_LISTED`.
    """
    every = sa.select(sa.func.unnest(Account.tags).label("tag")).where(Account.main_id == main_id).distinct().subquery()
    return session.scalars(sa.select(every.c.tag).order_by(sa.func.lower(every.c.tag)).limit(MOST_LISTED)).all()
