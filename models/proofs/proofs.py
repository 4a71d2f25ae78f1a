"""The tables of proofs: ownership of an account, an e-mail address, a connection address.

A proof for which a person has to enter a code is a row with the time of the request and the number of codes issued so
far. Codes are not stored: the vault derives each from the row's key and the code's number (`models.vault`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from models import retention
from models.calendar_days import end_of_day
from models.db.base import Base, enumeration
from models.errors import NotAwaited, TooEarly
from models.people.users import User
from models.proofs.deadlines import (
    LEAST_LEFT,
    MOST_ISSUES,
    NEW_CONSENT_AFTER,
    NEW_LETTER_AFTER,
    NEW_MAIL_AFTER,
    REMINDED_AFTER,
    VALID_FOR,
)
from models.requests.requests import Request
from models.states import AddressMethod, ProofMethod
from models.vault import Vault, new_salt

NOBODY = 0
"""An id that no account, person or request has; queries use it if none was found, so that the same statements run."""


class Decision(StrEnum):
    """The answer of an administrator to a question for consent: accepted or declined."""

    ACCEPTED = "accepted"
    DECLINED = "declined"


class CodedProof:
    """The columns of a proof by a code that is sent to a person. `issue` is the current code's number, counted from 1.

    A new code makes the older one invalid. `asked_at` is when the current code was requested, `expires_at` when it
    expires. `sent_issue` is the number of the code that was sent last, 0 before the first. `reminders` counts the
    reminders of the current code, `resent` the further codes that a person has requested. Requesting a code only
    increases `issue`. The verify step sends the code later, in the same way and time whether or not there is a
    recipient.
    """

    reminded_after: ClassVar[tuple[timedelta, ...]] = REMINDED_AFTER
    new_after: ClassVar[timedelta] = NEW_MAIL_AFTER

    issue: Mapped[int] = mapped_column(default=1)
    sent_issue: Mapped[int] = mapped_column(default=0)
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    wrong_tries: Mapped[int] = mapped_column(default=0)
    """Not used any more: versions before this one voided a code after five wrong tries, and may still run beside it."""
    reminders: Mapped[int] = mapped_column(default=0)
    resent: Mapped[int] = mapped_column(default=0)
    salt: Mapped[str | None]
    """A random value that goes into every code, so that the vault's key alone gives none.

    None until the first code is sent, and in rows of versions before this column.
    """

    def salted(self, *words: str) -> list[str]:
        """Return `words` with the proof's random salt appended, if it has one, to derive a code from them."""
        return [*words] if self.salt is None else [*words, self.salt]

    def ask(self, now: datetime) -> None:
        """Begin the period in which the current code can be entered: 14 days from `now`, to the end of the last day.

        The code is sent later, by the request's step `verify`.
        """
        self.asked_at, self.expires_at = now, end_of_day(now + VALID_FOR)
        self.reminders = 0

    def ask_again(self, now: datetime) -> None:
        """Make the current code invalid and request a new one, because a person asked for it.

        Raises `TooEarly` until a pause since the last request is over (`new_after`: ten minutes for an e-mail address,
        a day for consent, three days for a letter), and `NotAwaited` if the person has had `MOST_ISSUES` (5) codes.
        """
        if now < self.asked_at + self.new_after:
            raise TooEarly(self.asked_at + self.new_after)
        if self.resent + 1 >= MOST_ISSUES:
            raise NotAwaited
        self.issue += 1
        self.resent += 1
        self.ask(now)

    def renew(self, now: datetime) -> None:
        """Make the current, unanswered code invalid and request a new one, because a new order needs the proof.

        The number of further codes that a person may request is counted anew.
        """
        self.issue += 1
        self.resent = 0
        self.ask(now)

    def is_stale(self, now: datetime) -> bool:
        """Return whether a new order needs a new code: the current one is valid for less than seven more days."""
        return self.expires_at - now < LEAST_LEFT

    def start_sending(self, now: datetime) -> bool:
        """Return whether the code or a reminder has to be sent now, and record it as sent; the caller sends it.

        A second call for the same code and reminder returns False. The first call of all gives the proof its random
        salt.
        """
        if self.sent_issue == 0:
            self.salt = new_salt()
        passed = sum(self.asked_at + after <= now for after in self.reminded_after)
        first, again = self.sent_issue < self.issue, passed > self.reminders
        self.sent_issue, self.reminders = self.issue, max(passed, self.reminders)
        return first or again

    def wakes_at(self) -> datetime:
        """Return the time of the next reminder, or the code's expiry if no reminder is left."""
        reminders = [self.asked_at + after for after in self.reminded_after[self.reminders :]]
        return min([*reminders, self.expires_at])

    def new_one_from(self) -> datetime | None:
        """Return the time from which a person can request a new code; None after `MOST_ISSUES` (5) codes."""
        return self.asked_at + self.new_after if self.resent + 1 < MOST_ISSUES else None

    def try_code(self, vault: Vault, typed: str, about: Sequence[str], now: datetime) -> bool:
        """Return whether the typed text is the proof's current code, and this code was sent and has not expired.

        Case, spaces and dashes do not matter. `about` is the result of the method `words` of this proof. Wrong tries
        are not recorded: the caller limits their number. No text is right before the first code is sent, because the
        proof has no salt until then, and anybody with the vault's key could compute the code.
        """
        right = self.sent_issue > 0 and vault.is_code(typed, *about)
        return right and now < self.expires_at


class OwnershipProof(Base):
    """A proof that the requester of a link or switch may attach the account: method, time, and who gave the proof.

    `proved_by` is the id of that user; None if the billing system proved it, as both accounts are on one collective
    invoice.
    """

    __tablename__ = "ownership_proofs"

    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    method: Mapped[ProofMethod] = mapped_column(enumeration(ProofMethod, "method"))
    proved_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    proved_at: Mapped[datetime]

    __table_args__ = (
        # The billing system is no person: a proof by it names nobody.
        sa.CheckConstraint("(method = 'collective_invoice') = (proved_by IS NULL)", name="somebody_proved_it"),
    )


class Consent(CodedProof, Base):
    """The question to an account's administrators whether the account may be attached, and the first answer to it.

    `decision` is the answer, None until one is given. Every link request that needs consent has a row, even if no
    account has its customer number, so that a stranger sees no difference. `unreached_since` is when it was found that
    the question reaches no administrator, so that the back office has to act. It is None if the question reaches one,
    if no account could be attached, if the back office has acted, or soon after the request has ended.
    """

    __tablename__ = "consents"
    new_after = NEW_CONSENT_AFTER

    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"), primary_key=True)
    decision: Mapped[Decision | None] = mapped_column(enumeration(Decision, "decision"))
    decided_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    unreached_since: Mapped[datetime | None]

    __table_args__ = (
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decision_has_time"),
        sa.CheckConstraint("(decision IS NULL) = (decided_by IS NULL)", name="decision_has_author"),
        # Always few, and read with each list of the back office.
        sa.Index(
            "ix_consents_unreached",
            "request_id",
            postgresql_where=sa.text("unreached_since IS NOT NULL AND decision IS NULL"),
        ),
    )

    def words(self, person: User, issue: int | None = None) -> list[str]:
        """Return the texts from which the code and the link sent to the administrator `person` are derived.

        They change when the person is disabled, which makes earlier mails invalid. `issue` is the number of the code,
        None for the current one. With an older number, the texts are those of an older mail, so that its link can be
        recognised.
        """
        void = () if person.links_void_at is None else (str(person.links_void_at.timestamp()),)
        return self.salted("consent", str(self.request_id), str(person.id), str(issue or self.issue), *void)


class MainConsent(CodedProof, Base):
    """The question to the administrators of a sub-account's main account: may the account go to another main account?

    A switch has such a row as soon as the ownership of the account is proved. `main_id` is the main account that is
    asked; an answer counts only while the account belongs to that main account. The first answer counts. `moved_at` is
    when the account left that main account by this switch. Even after the account was closed, that main account sees
    the costs of the account from the day `costs_from` until the switch. Both are None if the account has not moved.

    `unreached_since` is the time since which the back office has to act because the question reaches no administrator.
    It is None if the question reaches one, if the back office has acted, or soon after the request has ended.
    """

    __tablename__ = "main_consents"
    new_after = NEW_CONSENT_AFTER

    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"), primary_key=True)
    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    decision: Mapped[Decision | None] = mapped_column(enumeration(Decision, "decision"))
    decided_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    moved_at: Mapped[datetime | None]
    costs_from: Mapped[date | None]
    unreached_since: Mapped[datetime | None]

    __table_args__ = (
        # Always few, and read with each list of the back office.
        sa.Index(
            "ix_main_consents_unreached",
            "request_id",
            postgresql_where=sa.text("unreached_since IS NOT NULL AND decision IS NULL"),
        ),
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decision_has_time"),
        sa.CheckConstraint("(decision IS NULL) = (decided_by IS NULL)", name="decision_has_author"),
        sa.CheckConstraint("moved_at IS NULL OR decision = 'accepted'", name="moved_by_consent"),
    )

    def words(self, person: User, issue: int | None = None) -> list[str]:
        """Return the texts from which the code and the link sent to the administrator `person` are derived.

        They change when the person is disabled, which makes earlier mails invalid. `issue` is the number of the code,
        None for the current one.
        """
        void = () if person.links_void_at is None else (str(person.links_void_at.timestamp()),)
        return self.salted("main consent", str(self.request_id), str(person.id), str(issue or self.issue), *void)

    def answer(self, decision: Decision, by: int, now: datetime) -> None:
        """Record the answer of the main account's administrator with the user id `by` to the question.

        Does not check anything: callers make sure before that there is no answer yet, because the first one counts.
        """
        self.decision, self.decided_by, self.decided_at = decision, by, now


class LinkCode(Base):
    """A single-use code that an administrator of an account creates. Another customer can attach the account with it.

    `ended_at` is set when the code is used, replaced or voided; an account has at most one code without it.
    """

    __tablename__ = "link_codes"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    created_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    wrong_tries: Mapped[int] = mapped_column(default=0)
    """Not used any more: versions before this one voided a code after five wrong tries, and may still run beside it."""
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        sa.Index("uq_link_codes_open", "account_id", unique=True, postgresql_where=sa.text("ended_at IS NULL")),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the code was used, replaced or voided 30 days ago or earlier.

        The period is `retention.LINK_CODES`.
        """
        return cls.ended_at <= now - retention.LINK_CODES

    def words(self) -> list[str]:
        """Return the texts from which the vault derives the link code."""
        return ["link", str(self.id)]

    def is_good(self, now: datetime) -> bool:
        """Return whether the code can still be used: it was not used, replaced or voided, and has not expired."""
        return self.ended_at is None and now < self.expires_at


class EmailProof(CodedProof, Base):
    """The proof that a contact's e-mail address reaches a person, shared by a main account's orders with this contact.

    `proved_at` is None until the contact has confirmed the address. `refused_at` is when a mail server permanently
    refused the mail with the current code; None if none did.
    """

    __tablename__ = "email_proofs"

    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    proved_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the proof was never completed, and its code expired 400 days ago or earlier.

        The period is `retention.UNANSWERED`. False while the main account has a request that has not ended, because
        that may need the proof.
        """
        return _unanswered(cls, now)

    def ask(self, now: datetime) -> None:
        """Begin the period in which the current code can be entered: 14 days from `now`, to the end of the last day.

        The code is sent later, by the request's step `verify`. Clears `refused_at`, which concerned an earlier code.
        """
        super().ask(now)
        self.refused_at = None

    def is_stale(self, now: datetime) -> bool:
        """Return whether a new order needs a new code, because the current one is valid for less than seven more days.

        Also True if the mail server has refused the mail with the current code: nobody can have read it.
        """
        return self.refused_at is not None or super().is_stale(now)

    def wakes_at(self) -> datetime:
        """Return the time of the next reminder, or the code's expiry if no reminder is left or the mail was refused."""
        return super().wakes_at() if self.refused_at is None else self.expires_at

    def words(self, issue: int | None = None) -> list[str]:
        """Return the texts from which the vault derives the code and the link in the mail to the contact.

        `issue` is the number of the code, None for the current one. With an older number, the texts are those of an
        older mail, so that its link can be recognised.
        """
        return self.salted("email", str(self.main_id), self.address, str(issue or self.issue))


class AddressProof(CodedProof, Base):
    """The proof that a connection address is real, shared by all orders of a main account with this address.

    `address_key` is the address in a normalised form, equal for different spellings. `code_key` is the key from which
    the current code was derived, if it is another one: when the normalisation changes, letters on their way stay valid.
    `method` (letter or document) is None until the address is proved. A proved address stays proved; another address
    needs another proof.
    """

    __tablename__ = "address_proofs"
    reminded_after = ()
    new_after = NEW_LETTER_AFTER

    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    address_key: Mapped[str] = mapped_column(primary_key=True)
    code_key: Mapped[str | None]
    method: Mapped[AddressMethod | None] = mapped_column(enumeration(AddressMethod, "method"))
    proved_at: Mapped[datetime | None]
    proved_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    __table_args__ = (
        sa.CheckConstraint("(method IS NULL) = (proved_at IS NULL)", name="method_has_time"),
        sa.CheckConstraint("method <> 'document' OR proved_by IS NOT NULL", name="somebody_released_it"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the proof was never completed, and its code expired 400 days ago or earlier.

        The period is `retention.UNANSWERED`. False while the main account has a request that has not ended, because
        that may need the proof.
        """
        return _unanswered(cls, now)

    def ask(self, now: datetime) -> None:
        """Begin the period in which the current code can be entered: 14 days from `now`, to the end of the last day.

        The code is sent later, by the request's step `verify`. Clears `code_key`, because the code is derived from
        `address_key` now.
        """
        super().ask(now)
        self.code_key = None

    def words(self) -> list[str]:
        """Return the texts from which the vault derives the current code in the letter to the address."""
        return self.salted("letter", str(self.main_id), self.code_key or self.address_key, str(self.issue))

    def prove(self, method: AddressMethod, now: datetime, by: int | None = None) -> None:
        """Record the address as proved by `method`; for a document, `by` is the id of the staff member who accepted it.

        Safe to run twice: the first proof is kept.
        """
        if self.proved_at is None:
            self.method, self.proved_at, self.proved_by = method, now, by


def _unanswered(table: type[EmailProof] | type[AddressProof], now: datetime) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the proof was never completed, and its code expired 400 days ago or earlier.

    The period is `retention.UNANSWERED`. False while the main account has a request that has not ended, because that
    may need the proof.
    """
    runs = sa.exists().where(Request.main_id == table.main_id, Request.ended_at.is_(None))
    return table.proved_at.is_(None) & (table.expires_at <= now - retention.UNANSWERED) & ~runs
