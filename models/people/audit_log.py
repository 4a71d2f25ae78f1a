"""The audit log: which person did what to an account, by which right and when.

The log is meant for the local team of a sub-account, to which the main account has access. People of the main account
see in the log only what was done by the main account's rights. Actions of the carrier's staff on a request are logged
at the main account to which the request belongs.

An entry is inserted in the same transaction as the logged action. An entry holds no secret and is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column, query_expression, with_expression

from models.accounts.accounts import Account
from models.db.base import Base, enumeration, quoted
from models.people.invited_people import InvitedPerson
from models.people.rights import Action, Principal, may, only_as_staff, through_main
from models.people.users import User


class AuditEvent(StrEnum):
    """The kinds of logged actions: on an account, on a person's login (`OF_LOGINS`), and about access (`OF_ACCESS`)."""

    LOOKED_IN = "looked_in"
    SECRET_SEEN = "secret_seen"  # noqa: S105 - a name
    SECRET_RENEWED = "secret_renewed"  # noqa: S105
    TRUNK_SUSPENDED = "trunk_suspended"
    TRUNK_RESUMED = "trunk_resumed"
    NUMBERS_RELEASED = "numbers_released"
    ACCOUNT_CLOSED = "account_closed"
    FORWARDING_ADDED = "forwarding_added"
    FORWARDING_CHANGED = "forwarding_changed"
    FORWARDING_REMOVED = "forwarding_removed"
    DETACH_ASKED = "detach_asked"
    CHANGE_ASKED = "change_asked"
    CANCELLATION_ASKED = "cancellation_asked"
    HOLDER_CHANGED = "holder_changed"
    DIRECTORY_CHANGED = "directory_changed"
    DIRECTORY_WITHDRAWN = "directory_withdrawn"
    USER_INVITED = "user_invited"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    USER_JOINED = "user_joined"
    ROLE_CHANGED = "role_changed"
    USER_REMOVED = "user_removed"
    REQUEST_RETRIED = "request_retried"
    REQUEST_CANCELLED = "request_cancelled"
    DOCUMENT_OPENED = "document_opened"
    DOCUMENT_RELEASED = "document_released"
    DOCUMENT_REFUSED = "document_refused"
    REQUEST_URI_CHANGED = "request_uri_changed"
    DESTINATIONS_CHANGED = "destinations_changed"
    TOKEN_CREATED = "token_created"  # noqa: S105 - a name
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    FACTOR_RESET_ASKED = "factor_reset_asked"
    FACTOR_RESET_WITHDRAWN = "factor_reset_withdrawn"
    FACTORS_RESET = "factors_reset"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    RECOVERY_CODE_USED = "recovery_code_used"
    FACTOR_DEMANDED = "factor_demanded"
    FACTOR_NOT_DEMANDED = "factor_not_demanded"
    LOGIN_DISABLED = "login_disabled"
    LOGIN_ENABLED = "login_enabled"
    ACCOUNT_CREATED = "account_created"
    ADMINISTRATOR_ADDED = "administrator_added"
    INVOICE_JOINED = "invoice_joined"
    INVOICE_LEFT = "invoice_left"
    LOGIN_CREATED = "login_created"
    PRICE_SET = "price_set"
    PRODUCT_WITHDRAWN = "product_withdrawn"
    NUMBERS_STOCKED = "numbers_stocked"
    NUMBERS_WITHDRAWN = "numbers_withdrawn"
    LIMIT_CHANGED = "limit_changed"
    HIGH_RISK_ADDED = "high_risk_added"
    HIGH_RISK_REMOVED = "high_risk_removed"
    NUMBERS_ASKED = "numbers_asked"
    SWITCH_ANSWERED = "switch_answered"
    SIGNED_IN = "signed_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGNED_OUT = "signed_out"
    RIGHT_REFUSED = "right_refused"
    TOKEN_USED = "token_used"  # noqa: S105
    REQUEST_SEEN = "request_seen"
    FOUND_IN_SEARCH = "found_in_search"
    TRUNK_TAKEN_OVER = "trunk_taken_over"
    TRUNK_ADOPTED = "trunk_adopted"
    USER_ENTERED = "user_entered"
    MOVE_ASKED = "move_asked"
    APPROVAL_LIMIT_SET = "approval_limit_set"
    APPROVAL_GIVEN = "approval_given"
    APPROVAL_REFUSED = "approval_refused"
    ACCOUNT_UPDATED = "account_updated"
    TAGS_SET = "tags_set"


OF_LOGINS = (
    AuditEvent.PASSWORD_CHANGED,
    AuditEvent.FACTOR_ADDED,
    AuditEvent.FACTOR_REMOVED,
    AuditEvent.FACTOR_RESET_ASKED,
    AuditEvent.FACTOR_RESET_WITHDRAWN,
    AuditEvent.FACTORS_RESET,
    AuditEvent.RECOVERY_CODES_MADE,
    AuditEvent.RECOVERY_CODE_USED,
    AuditEvent.LOGIN_DISABLED,
    AuditEvent.LOGIN_ENABLED,
)
"""The kinds of changes of a person's login. Each is logged in every account of the person.

For a person without an account, one entry is logged that belongs to no account.
"""
REFUSALS = (AuditEvent.SIGN_IN_REFUSED, AuditEvent.RIGHT_REFUSED)
"""The kinds of entries about refusals. Their number for each person within a day is limited."""
OF_ACCESS = (AuditEvent.SIGNED_IN, AuditEvent.SIGNED_OUT, AuditEvent.TOKEN_USED, *REFUSALS)
"""The kinds of entries about access: sign-ins, what was refused, and uses of API tokens (`models.people.sign_in_log`).

They are logged like changes of a login, except for uses of a token, which are logged in the token's account.
"""
OF_CARRIER = (
    AuditEvent.LOGIN_CREATED,
    AuditEvent.PRICE_SET,
    AuditEvent.PRODUCT_WITHDRAWN,
    AuditEvent.NUMBERS_STOCKED,
    AuditEvent.NUMBERS_WITHDRAWN,
    AuditEvent.HIGH_RISK_ADDED,
    AuditEvent.HIGH_RISK_REMOVED,
)
"""The kinds of the carrier's actions on the command line that concern no account, such as new prices."""

_NO_ACCESS = f"deed NOT IN ({quoted(*OF_ACCESS)})"
# Not with parameters: a statement that is prepared once would not use the index of that condition.
_IS_NO_ACCESS = sa.literal_column(f"(audit_entries.{_NO_ACCESS})", sa.Boolean)
_ALONE = tuple(deed for deed in OF_ACCESS if deed is not AuditEvent.TOKEN_USED)
_OF_STAFF = quoted(
    AuditEvent.REQUEST_RETRIED,
    AuditEvent.REQUEST_CANCELLED,
    AuditEvent.DOCUMENT_OPENED,
    AuditEvent.DOCUMENT_RELEASED,
    AuditEvent.DOCUMENT_REFUSED,
    AuditEvent.REQUEST_SEEN,
    AuditEvent.FOUND_IN_SEARCH,
)


class LogPart(StrEnum):
    """A part of an account's audit log: `ACCESS` has the entries about access (`OF_ACCESS`), `DEEDS` all others."""

    ACCESS = "access"
    DEEDS = "deeds"


class AuditEntry(Base):
    """One logged action on an account: `deed` is the kind of action, `facts` the details that the entry's text needs.

    `user_id` is the person who acted; of a refused sign-in, the person whose login it was about. `through_id` is the
    main account if the person had the right only by a role there, and null otherwise. `by_staff` is true if the person
    had the right only as one of the carrier's staff. If `user_id` is null as well, the carrier acted on the command
    line.

    `account_id` is null in two cases: for the login and the access of a person without an account, such as one of the
    carrier's staff, and for actions of the carrier that concern no account, such as new prices (`OF_CARRIER`).
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)
    through_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    by_staff: Mapped[bool] = mapped_column(default=False)
    deed: Mapped[AuditEvent] = mapped_column(enumeration(AuditEvent, "deed"))
    facts: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    about_name: Mapped[str | None] = query_expression()
    """The name of the user whom `user_id` in `facts` names, or of the person whom the invitation `invitation` invites.

    It is the present name; None if that is not stored any more. Only functions that return lists of entries load it.
    """

    __table_args__ = (
        sa.CheckConstraint("by_staff OR user_id IS NOT NULL", name="somebody_did_it"),
        sa.CheckConstraint("deed <> 'looked_in' OR by_staff OR through_id IS NOT NULL", name="looked_in_through"),
        sa.CheckConstraint("NOT by_staff OR through_id IS NULL", name="staff_through_nobody"),
        sa.CheckConstraint(f"by_staff OR NOT (deed IN ({_OF_STAFF}))", name="staff_deeds"),
        sa.CheckConstraint(
            f"account_id IS NOT NULL OR deed IN ({quoted(*OF_LOGINS, *OF_CARRIER, *_ALONE)})", name="about_an_account"
        ),
        sa.Index("ix_audit_entries_account_id_id", "account_id", "id"),
        # The latest of these are on dashboards, and there may be thousands of sign-ins after them.
        sa.Index("ix_audit_entries_without_access", "account_id", "id", postgresql_where=sa.text(_NO_ACCESS)),
        # What was done to an account of one kind, also if its log is long.
        sa.Index("ix_audit_entries_account_id_deed_at", "account_id", "deed", "at"),
        # What staff have done to a request, under whichever main account it was then.
        sa.Index(
            "ix_audit_entries_request", sa.text("(facts ->> 'request'::text)"), postgresql_where=sa.text("by_staff")
        ),
        # For row-level security: people who see an entry may see the user whom its facts name by id.
        sa.Index(
            "ix_audit_entries_told_of",
            sa.text("((facts ->> 'user_id'::text)::bigint)"),
            postgresql_where=sa.text("facts ? 'user_id'::text"),
        ),
        # The limit of refusals within a day counts these.
        sa.Index(
            "ix_audit_entries_refusals", "user_id", "at", postgresql_where=sa.text(f"deed IN ({quoted(*REFUSALS)})")
        ),
        # One entry for each token, network and day is enough.
        sa.Index(
            "uq_audit_entries_token_used",
            sa.text("(facts ->> 'token'::text)"),
            sa.text("(facts ->> 'network'::text)"),
            sa.text("date_trunc('day'::text, (at AT TIME ZONE 'UTC'::text))"),
            unique=True,
            postgresql_where=sa.text("deed = 'token_used'"),
        ),
        # One entry for each person, account and hour is enough.
        sa.Index(
            "uq_audit_entries_looked_in",
            "account_id",
            "user_id",
            sa.text("date_trunc('hour'::text, (at AT TIME ZONE 'UTC'::text))"),
            unique=True,
            postgresql_where=sa.text("deed = 'looked_in'"),
        ),
        # The same for each request, and for each account that a search has found.
        sa.Index(
            "uq_audit_entries_seen",
            "account_id",
            "user_id",
            "deed",
            sa.text("COALESCE(facts ->> 'request'::text, ''::text)"),
            sa.text("date_trunc('hour'::text, (at AT TIME ZONE 'UTC'::text))"),
            unique=True,
            postgresql_where=sa.text("deed IN ('request_seen', 'found_in_search')"),
        ),
    )


@dataclass(frozen=True, slots=True)
class AttributedEntry:
    """An audit entry, the user who acted, and the main account whose rights that user had.

    `user` is None for an action on the command line. `through` is None unless the user had the right only by a role in
    the main account.
    """

    entry: AuditEntry
    user: User | None
    through: Account | None


def record(
    session: Session,
    person: Principal,
    account: Account,
    deed: AuditEvent,
    right: Action,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Record in the audit log that the person did `deed` to the account, an action that needs the right `right`.

    `facts` are the details for the entry's text, by name. The entry also stores whether the person had the right only
    by a role in the account's main account, or only as one of the carrier's staff.
    """
    session.add(
        AuditEntry(
            account_id=account.id,
            user_id=person.user_id,
            through_id=through_main(person, right, account),
            by_staff=only_as_staff(person, right, account),
            deed=deed,
            facts=dict(facts or {}),
            at=now,
        )
    )


def record_of_carrier(
    session: Session, account: Account | None, deed: AuditEvent, now: datetime, facts: Mapping[str, Any] | None = None
) -> None:
    """Record in the audit log that the carrier did `deed` to the account on the command line, without naming a person.

    `account` is None for an action that concerns no account, such as new prices (`OF_CARRIER`). `facts` are the details
    for the entry's text, by name.
    """
    about = account.id if account is not None else None
    session.add(AuditEntry(account_id=about, by_staff=True, deed=deed, facts=dict(facts or {}), at=now))


def entries_of(
    session: Session,
    account: Account,
    *,
    before: int | None = None,
    limit: int = 50,
    through: int | None = None,
    part: LogPart | None = None,
) -> Sequence[AttributedEntry]:
    """Return up to `limit` audit entries of the account, the newest first. Runs one statement.

    `before` is the id of an audit entry: only older entries are returned; None starts with the newest entry. `through`
    is the id of a main account: only actions by people who had the right by a role there are returned; None returns
    all. `part` is the part of the log to return; None returns all of it.
    """
    query = sa.select(AuditEntry).where(AuditEntry.account_id == account.id).limit(limit)
    if part is not None:
        query = query.where(AuditEntry.deed.in_(OF_ACCESS) if part is LogPart.ACCESS else _IS_NO_ACCESS)
    if through is not None:
        query = query.where(AuditEntry.through_id == through)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return _told(session, query)


def sees_log(person: Principal, account: Account) -> bool:
    """Return whether the person may see at least a part of the account's audit log."""
    return may(person, Action.SEE_LOG, account) or through_main(person, Action.VIEW, account) is not None


def visible_entries(
    session: Session,
    person: Principal,
    account: Account,
    *,
    before: int | None = None,
    limit: int = 50,
    part: LogPart | None = None,
) -> Sequence[AttributedEntry]:
    """Return up to `limit` audit entries of the account that the person may see, the newest first.

    A person with the right to see the log gets all entries. A person who may view the account only by a role in its
    main account gets those of actions that were done by a role in the main account. Anybody else gets none. `before` is
    the id of an audit entry: only older entries are returned; None starts with the newest entry. `part` is the part of
    the log to return; None returns all of it.
    """
    if may(person, Action.SEE_LOG, account):
        return entries_of(session, account, before=before, limit=limit, part=part)
    main_id = through_main(person, Action.VIEW, account)
    if main_id is None:
        return []
    return entries_of(session, account, before=before, limit=limit, through=main_id, part=part)


def last_done(
    session: Session, account: Account, deeds: Sequence[AuditEvent], *, first_of: int
) -> AttributedEntry | None:
    """Return the newest entry of one of the kinds `deeds` in the account's audit log; None if there is none.

    If the user with the id `first_of` has such entries, the newest of these is returned, even if another user has a
    newer one.
    """
    query = (
        sa.select(AuditEntry)
        .where(AuditEntry.account_id == account.id, AuditEntry.deed.in_(deeds))
        .order_by(AuditEntry.user_id.is_not_distinct_from(first_of).desc())
    )
    return next(iter(_told(session, query.limit(1))), None)


def done_since(
    session: Session,
    account: Account,
    deeds: Sequence[AuditEvent],
    since: datetime | None = None,
    *,
    by: int | None = None,
) -> bool:
    """Return whether the account's audit log has an entry of one of the kinds `deeds`.

    Only entries after `since` (None: of any time) by the user with the id `by` (None: by anybody) count.
    """
    query = sa.select(AuditEntry.id).where(AuditEntry.account_id == account.id, AuditEntry.deed.in_(deeds))
    if since is not None:
        query = query.where(AuditEntry.at > since)
    if by is not None:
        query = query.where(AuditEntry.user_id == by)
    return session.scalar(query.limit(1)) is not None


def _about_name() -> sa.ColumnElement[str | None]:
    about = aliased(User)
    named = sa.cast(AuditEntry.facts["user_id"].astext, sa.BigInteger)
    user = sa.select(about.name).where(about.id == named).correlate(AuditEntry).scalar_subquery()
    invitation = sa.cast(AuditEntry.facts["invitation"].astext, sa.BigInteger)
    invited = sa.select(InvitedPerson.name).where(InvitedPerson.invitation_id == invitation)
    return sa.func.coalesce(user, invited.correlate(AuditEntry).scalar_subquery())


def _told(session: Session, entries: sa.Select[AuditEntry]) -> Sequence[AttributedEntry]:
    through = aliased(Account)
    query = (
        entries.add_columns(User, through)
        .outerjoin(User, User.id == AuditEntry.user_id)
        .outerjoin(through, through.id == AuditEntry.through_id)
        .order_by(AuditEntry.id.desc())
        .options(with_expression(AuditEntry.about_name, _about_name()))
    )
    return [AttributedEntry(entry, user, main) for entry, user, main in session.execute(query)]
