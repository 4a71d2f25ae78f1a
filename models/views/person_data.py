"""All stored data about one user, for the user (GDPR, Art. 15 and 20) and for staff.

Secrets (hashes, keys, codes) are left out, and so are data about other people. An entry of an audit log therefore says
what the user did to which account, without details; only entries about sign-ins and the like have details.

With row-level security, the web front end sees only rows of the accounts that the user has access to now. Therefore it
calls the database function `own_data`, which `standorte migrate` creates from the queries here. The function runs with
the rights of the database's owner, and answers only for the user who is signed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk
from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.caller import IS_TOLD
from models.db.session import Database
from models.messages.outbox import Message
from models.orders.drafts import Draft
from models.people.api_tokens import ApiToken
from models.people.audit_log import OF_ACCESS, AuditEntry
from models.people.erasure_requests import Erasure
from models.people.invitations import Invitation
from models.people.invited_people import InvitedPerson
from models.people.login_sessions import Login
from models.people.second_factors import RecoveryCode, SecondFactor
from models.people.users import Membership, User
from models.proofs.documents import ProofDocument
from models.proofs.proofs import AddressProof, Consent, EmailProof, LinkCode, MainConsent, OwnershipProof
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.staff.factor_resets import FactorReset
from models.telephony.place_answers import KnownPlace

Columns = Mapping[str, sa.ColumnElement[Any]]

_number = Account.customer_number


# The names stand for variables of the function.
_MINE, _EMAIL = sa.literal_column("my_id", sa.BigInteger), sa.literal_column("my_email", sa.Text)
_FUNCTION = """
CREATE OR REPLACE FUNCTION own_data() RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    my_id bigint;
    my_email text;
BEGIN
    -- Not for an API token, which reaches its account only.
    IF current_setting('standorte.caller', true) LIKE 'login %' THEN
        SELECT id, lower(email) INTO my_id, my_email FROM users WHERE id = caller_id();
    END IF;
    RETURN json_build_object({parts});
END $body$
"""


def person_data(session: Session, user: User) -> dict[str, Any]:
    """Return everything stored about the user, as a dict for JSON, by part (`queries`); times are in ISO 8601.

    If row-level security applies to the transaction, the transaction must act for this user.
    """
    parts = _parts(user.id, sa.literal(user.email.lower()))
    if session.info.get(IS_TOLD):
        found: Mapping[str, Any] = session.execute(sa.select(sa.func.own_data(type_=sa.JSON))).scalar_one()
    else:
        found = {name: session.scalar(part) for name, part in parts.items()}
    return {
        "person": {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "email_confirmed_at": user.email_confirmed_at and user.email_confirmed_at.isoformat(),
            "language": user.locale,
            "is_staff": user.is_staff,
            "created_at": user.created_at.isoformat(),
            "disabled_at": user.disabled_at and user.disabled_at.isoformat(),
        },
        **{name: _without_paths(found[name]) for name in parts},
    }


def make_own_data(database: Database) -> None:
    """Create or replace the database function `own_data` from the queries of this version. Safe to run twice.

    `database` must be connected as the owner of the tables.
    """
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    parts = {
        name: part.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        for name, part in _parts(_MINE, _EMAIL).items()
    }
    with database.engine.begin() as connection:
        take_advisory_lock(connection, AdvisoryLock.ROLES)
        listed = ", ".join(f"'{name}', ({part})" for name, part in parts.items())
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        # Without SQLAlchemy, which takes a percent sign for a parameter.
        driver.execute(_FUNCTION.format(parts=listed).encode())


def _parts(mine: int | sa.ColumnElement[int], email: sa.ColumnElement[str]) -> dict[str, sa.Select[Any]]:
    """Return the queries of `queries` by name of the part, each changed to return all its rows as one JSON array.

    The parameters are those of `queries`: the user's id, and the address in lower case.
    """
    return {
        name: sa.select(
            sa.func.coalesce(sa.func.json_agg(sa.func.row_to_json(sa.text("part"))), sa.text("'[]'"))
        ).select_from(query.subquery("part"))
        for name, query in queries(mine, email).items()
    }


def queries(mine: int | sa.ColumnElement[int], email: sa.ColumnElement[str]) -> dict[str, sa.Select[Any]]:
    """Return the queries for the parts of a user's stored data, by name of the part; each row is one stored item.

    `mine` is the user's id, `email` the user's address in lower case. A test ensures that all tables that refer to
    users are included.
    """
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
        # The facts of other entries may be about other people.
        "audit_log": sa.select(
            _number,
            AuditEntry.at,
            AuditEntry.deed.label("did"),
            sa.case((AuditEntry.deed.in_(OF_ACCESS), AuditEntry.facts)).label("details"),
        )
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
        "main_consents": sa.select(MainConsent.request_id, MainConsent.decision, MainConsent.decided_at).where(
            MainConsent.decided_by == mine
        ),
        "approvals": sa.select(
            Request.id.label("request_id"), Request.approved, Request.approval_note, Request.approval_at
        ).where(Request.approval_by == mine),
        "address_proofs_accepted": _of(AddressProof, AddressProof.main_id, proved_at=AddressProof.proved_at).where(
            AddressProof.proved_by == mine
        ),
        "documents_handed_in": sa.select(
            ProofDocument.request_id, ProofDocument.name, ProofDocument.media_type, ProofDocument.uploaded_at
        ).where(ProofDocument.uploaded_by == mine),
        "documents_decided": sa.select(
            ProofDocument.request_id, ProofDocument.released, ProofDocument.decided_at
        ).where(ProofDocument.decided_by == mine),
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
    """Return a query for the given columns of a table, by name, with the customer number of each row's account.

    `account_id` is the column of the table that has the account's id.
    """
    named = [column.label(name) for name, column in columns.items()]
    return sa.select(_number, *named).select_from(table).join(Account, Account.id == account_id)


def _without_paths(value: Any) -> Any:
    """Return a JSON value without its keys `path`: in mails these are paths of links, which can contain a secret."""
    match value:
        case Mapping():
            return {key: _without_paths(one) for key, one in value.items() if key != "path"}
        case list():
            return [_without_paths(one) for one in value]
    return value
