"""Everything that is stored about one person who can sign in, for the person (GDPR, Art. 15 and 20) and for staff.

Secrets (hashes, keys, codes) are left out, and so is what is about others: an entry of an audit log says what the
person did to which account, without the names in its details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk
from models.messages.outbox import Message
from models.orders.drafts import Draft
from models.people.api_tokens import ApiToken
from models.people.audit_log import AuditEntry
from models.people.erasures import Erasure
from models.people.invitations import Invitation
from models.people.invited_people import InvitedPerson
from models.people.logins import Login
from models.people.second_factors import RecoveryCode, SecondFactor
from models.people.users import Membership, User
from models.proofs.documents import AddressDocument
from models.proofs.proofs import AddressProof, Consent, EmailProof, LinkCode, OwnershipProof
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.staff.factor_resets import FactorReset
from models.telephony.place_answers import KnownPlace

Columns = Mapping[str, sa.ColumnElement[Any]]

_number = Account.customer_number


def person_data(session: Session, user: User) -> dict[str, Any]:
    """Return what is stored about the person, as a JSON object: times are ISO 8601 in UTC."""
    return {
        "person": {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "email_confirmed_at": _plain(user.email_confirmed_at),
            "language": user.locale,
            "is_staff": user.is_staff,
            "created_at": _plain(user.created_at),
            "disabled_at": _plain(user.disabled_at),
        },
        **{name: _read(session, query) for name, query in _queries(user).items()},
    }


def _queries(user: User) -> dict[str, sa.Select[Any]]:
    """Return the queries for all parts of the person's data, by name.

    A test compares them with the tables that refer to people.
    """
    mine, email = user.id, user.email.lower()
    return {
        "roles": _of(Membership, Membership.account_id, role=Membership.role).where(Membership.user_id == mine),
        "sign_ins": sa.select(Login.created_at, Login.seen_at, Login.address, Login.user_agent)
        .where(Login.user_id == mine)
        .order_by(Login.id),
        "second_factors": sa.select(
            SecondFactor.kind, SecondFactor.name, SecondFactor.created_at, SecondFactor.last_used_at
        ).where(SecondFactor.user_id == mine),
        "recovery_codes": sa.select(RecoveryCode.created_at, RecoveryCode.used_at).where(RecoveryCode.user_id == mine),
        "api_tokens": _of(
            ApiToken,
            ApiToken.account_id,
            name=ApiToken.name,
            scopes=ApiToken.scopes,
            created_at=ApiToken.created_at,
            expires_at=ApiToken.expires_at,
            revoked_at=ApiToken.revoked_at,
            last_used_at=ApiToken.last_used_at,
            last_used_address=ApiToken.last_used_address,
        ).where(ApiToken.user_id == mine),
        # Changes of a login stand in no account's log if the person has none.
        "audit_log": sa.select(_number, AuditEntry.at, AuditEntry.deed.label("did"))
        .join_from(AuditEntry, Account, Account.id == AuditEntry.account_id, isouter=True)
        .where(AuditEntry.user_id == mine)
        .order_by(AuditEntry.id),
        "requests": sa.select(
            Request.id, Request.kind, Request.status, Request.reason, Request.customer_number, Request.created_at
        )
        .where(Request.requested_by == mine)
        .order_by(Request.id),
        "order_drafts": _of(Draft, Draft.account_id, typed=Draft.data).where(Draft.user_id == mine),
        "files": _of(
            Bulk,
            Bulk.main_id,
            kind=Bulk.kind,
            file_name=Bulk.file_name,
            created_at=Bulk.created_at,
            sent_at=Bulk.sent_at,
        ).where(Bulk.user_id == mine),
        "contact_of": sa.select(
            _number, Account.name, Account.contact_name, Account.contact_email, Account.contact_phone
        )
        .where(Account.contact_email == email)
        .order_by(Account.id),
        "contact_email_asked": _of(
            EmailProof, EmailProof.main_id, asked_at=EmailProof.asked_at, confirmed_at=EmailProof.proved_at
        ).where(EmailProof.address == email),
        "invited_by_order": sa.select(Request.customer_number, Request.local_user_name, Request.created_at)
        .where(Request.local_user_email == email)
        .order_by(Request.id),
        "invitations_to_me": _of(
            Invitation,
            Invitation.account_id,
            name=Invitation.name,
            role=Invitation.role,
            invited_at=Invitation.invited_at,
            expires_at=Invitation.expires_at,
        ).where(Invitation.email == email),
        "invited_as": _of(
            InvitedPerson, InvitedPerson.account_id, name=InvitedPerson.name, invited_at=InvitedPerson.invited_at
        ).where(InvitedPerson.email == email),
        "invitations_by_me": _of(
            Invitation, Invitation.account_id, role=Invitation.role, invited_at=Invitation.invited_at
        ).where(Invitation.invited_by == mine),
        "link_codes": _of(
            LinkCode, LinkCode.account_id, created_at=LinkCode.created_at, ended_at=LinkCode.ended_at
        ).where(LinkCode.created_by == mine),
        "ownership_proofs": _of(
            OwnershipProof,
            OwnershipProof.account_id,
            method=OwnershipProof.method,
            proved_at=OwnershipProof.proved_at,
        ).where(OwnershipProof.proved_by == mine),
        "consents": sa.select(Consent.request_id, Consent.decision, Consent.decided_at).where(
            Consent.decided_by == mine
        ),
        "address_proofs_accepted": _of(AddressProof, AddressProof.main_id, proved_at=AddressProof.proved_at).where(
            AddressProof.proved_by == mine
        ),
        "documents_handed_in": sa.select(
            AddressDocument.request_id, AddressDocument.name, AddressDocument.media_type, AddressDocument.uploaded_at
        ).where(AddressDocument.uploaded_by == mine),
        "documents_decided": sa.select(
            AddressDocument.request_id, AddressDocument.released, AddressDocument.decided_at
        ).where(AddressDocument.decided_by == mine),
        "places_decided": sa.select(KnownPlace.postal_code, KnownPlace.decided_at).where(KnownPlace.decided_by == mine),
        "api_calls": _of(IdempotencyKey, IdempotencyKey.account_id, at=IdempotencyKey.created_at).where(
            IdempotencyKey.user_id == mine
        ),
        "factor_reset": sa.select(FactorReset.asked_at).where(FactorReset.user_id == mine),
        "factor_resets_asked": sa.select(FactorReset.asked_at).where(FactorReset.asked_by == mine),
        "erasure": sa.select(Erasure.asked_at, Erasure.done_at).where(Erasure.user_id == mine),
        "mails": sa.select(Message.template, Message.facts, Message.queued_at, Message.sent_at, Message.refused_at)
        .where(Message.recipient_address == email)
        .order_by(Message.id),
    }


def _of(table: Any, account_id: sa.ColumnElement[int] | Any, **columns: Any) -> sa.Select[Any]:
    """Return a query for these columns of the rows of a table, each with the customer number of its account."""
    named = [column.label(name) for name, column in columns.items()]
    return sa.select(_number, *named).select_from(table).join(Account, Account.id == account_id)


def _read(session: Session, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row._mapping.items()} for row in session.execute(query)]


def _plain(value: Any) -> Any:
    """Return a value of a column as JSON has it. The path of a mail's link is left out: it can hold a secret."""
    match value:
        case None | bool() | int() | float():
            return value
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items() if key != "path"}
        case str():
            return str(value)
        case Sequence():
            return [_plain(one) for one in value]
    return str(value)
