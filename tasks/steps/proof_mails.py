"""Queue the mails and letters that ask for a proof or for consent. `tasks.outbox.send` sends them after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from models.accounts.accounts import Account, account_by_number
from models.accounts.contract_holders import addressee_of
from models.messages.outbox import Channel, Message, Recipient, queue_message
from models.people.users import User, administrators_of, people_to_tell
from models.proofs.certificates import certificate_until, numbers_with
from models.proofs.consent_reach import (
    CONSENT_MAIL,
    MAIN_CONSENT_MAIL,
    asked_addresses,
    note_main_reach,
    note_reach,
)
from models.proofs.contact_email import CONTACT_MAIL
from models.proofs.proofs import AddressProof, CodedProof, Consent, EmailProof, MainConsent
from models.requests.requests import Request
from models.same_address import Place
from tasks.steps.step import Work

CERTIFICATE_REMINDER = "certificate_reminder"


def ask_for_email(work: Work, request: Request, proof: EmailProof) -> None:
    """Queue a mail that asks the order's contact to confirm the e-mail address; add a timeline entry.

    The mail has the proof's link and code. It is a reminder if `proof.reminders` is not 0.
    """
    account = request.account
    assert account is not None
    queue_message(
        work.session,
        request.id,
        CONTACT_MAIL,
        Recipient(account.contact_name, proof.address, request.locale),
        {
            **_about(request),
            **_place(account),
            "path": f"/email/{request.id}/",
            "until": proof.expires_at.isoformat(),
            "reminder": proof.reminders,
        },
        work.now,
        occasion=_occasion(proof),
        proof=proof.words(),
        bulk_id=request.bulk_id,
    )
    request.note(work.now, "email_reminded" if proof.reminders else "email_asked", name=account.contact_name)


def ask_for_address(work: Work, request: Request, proof: AddressProof) -> None:
    """Queue a letter with the code to the address of the order, or the new one of the move; add a timeline entry."""
    account, place = request.account, request.place
    assert account is not None
    queue_message(
        work.session,
        request.id,
        "address_letter",
        Recipient(account.contact_name, _lines(account, place), request.locale),
        {
            **_about(request),
            "kind": request.kind,
            "location_name": account.name,
            **asdict(place),
            # A reader of the letter at the site knows the company by its legal name.
            "main_account_name": addressee_of(work.session, request.main).name,
            "path": "/brief",
            "until": proof.expires_at.isoformat(),
        },
        work.now,
        channel=Channel.LETTER,
        occasion=_occasion(proof),
        proof=proof.words(),
        bulk_id=request.bulk_id,
    )
    request.note(work.now, "letter_sent", city=place.city)


def ask_for_consent(work: Work, request: Request, consent: Consent) -> None:
    """Queue a mail to each administrator of the account to be attached, asking for consent; add a timeline entry.

    Each mail has a link and code of its own; it is a reminder if `consent.reminders` is not 0. The timeline entry is
    added even if no account has this customer number or the account has no administrators, so that it reveals neither.
    An account without administrators is noted for the back office.
    """
    account = account_by_number(work.session, request.customer_number)
    people = administrators_of(work.session, account.id) if account is not None else []
    _ask(work, request, consent, account, people)
    note_reach(consent, account, work.now, reaches=bool(people), kind=request.kind)
    request.note(work.now, "consent_reminded" if consent.reminders else "consent_asked")


def ask_main_for_consent(work: Work, request: Request, account: Account, consent: MainConsent) -> None:
    """Queue a mail to each administrator of the account's present main account, asking for consent to a switch.

    The question is whether the account may go over to the main account that made the request. The mail is a reminder if
    `consent.reminders` is not 0. Adds a timeline entry, which does not name the present main account, nor say whether
    anybody is asked. A main account without administrators is noted for the back office.
    """
    people = administrators_of(work.session, consent.main_id)
    _ask_main(work, request, account, consent, people)
    note_main_reach(consent, work.now, reaches=bool(people))
    request.note(work.now, "main_consent_reminded" if consent.reminders else "main_consent_asked")


def ask_main_newcomers(work: Work, request: Request, account: Account, consent: MainConsent) -> None:
    """Queue a mail to every administrator of the present main account who has joined it since the question was sent.

    Adds no timeline entry: the requester must not learn that the main account has a new administrator.
    """
    asked = asked_addresses(work.session, request, MAIN_CONSENT_MAIL)
    fresh = [person for person in administrators_of(work.session, consent.main_id) if person.email not in asked]
    if fresh:
        _ask_main(work, request, account, consent, fresh)
        note_main_reach(consent, work.now, reaches=True)


def _ask_main(work: Work, request: Request, account: Account, consent: MainConsent, people: Sequence[User]) -> None:
    main = work.session.get_one(Account, consent.main_id)
    for person in people:
        queue_message(
            work.session,
            request.id,
            MAIN_CONSENT_MAIL,
            Recipient(person.name, person.email, person.locale),
            {
                **_about(request),
                "account_name": account.name,
                "own_customer_number": main.customer_number,
                "own_account_name": main.name,
                "requester_name": request.requester.name if request.requester is not None else "",
                "path": f"/zustimmung/{request.id}/{person.id}/",
                "until": consent.expires_at.isoformat(),
                "reminder": consent.reminders,
            },
            work.now,
            occasion=_occasion(consent),
            proof=consent.words(person),
        )


def ask_newcomers(work: Work, request: Request, consent: Consent) -> None:
    """Queue the mail that asks for consent to those administrators of the account who did not get it yet.

    They became administrators after the question was sent. Adds no timeline entry: the requester must not learn that
    the account has a new administrator.
    """
    account = account_by_number(work.session, request.customer_number)
    if account is None:
        return
    asked = asked_addresses(work.session, request, CONSENT_MAIL)
    fresh = [person for person in administrators_of(work.session, account.id) if person.email not in asked]
    if fresh:
        _ask(work, request, consent, account, fresh)
        note_reach(consent, account, work.now, reaches=True, kind=request.kind)


def _ask(work: Work, request: Request, consent: Consent, account: Account | None, people: Sequence[User]) -> None:
    for person in people:
        queue_message(
            work.session,
            request.id,
            CONSENT_MAIL,
            Recipient(person.name, person.email, person.locale),
            {
                **_about(request),
                "kind": request.kind,
                "account_name": account.name if account is not None else "",
                "requester_name": request.requester.name if request.requester is not None else "",
                "path": f"/zustimmung/{request.id}/{person.id}/",
                "until": consent.expires_at.isoformat(),
                "reminder": consent.reminders,
            },
            work.now,
            occasion=_occasion(consent),
            proof=consent.words(person),
            bulk_id=request.bulk_id,
        )


def _occasion(proof: CodedProof) -> str:
    return f"{proof.issue}, reminder {proof.reminders}" if proof.reminders else f"{proof.issue}"


def remind_of_certificate(work: Work, request: Request, left: int) -> None:
    """Queue a reminder to hand in a certificate of need to the person who asked for the numbers, once for each `left`.

    `left` is how many reminders are still ahead. If that person has left the company or is disabled, the administrators
    of the main account are reminded. The mail says until when the certificate can be handed in.
    """
    for person in people_to_tell(work.session, request.requested_by, request.main_id, request.account_id):
        to, occasion = Recipient(person.name, person.email, person.locale), f"{certificate_until(request)}/{left}"
        same = Message.occasion == occasion, Message.recipient_address == to.address
        template = Message.template == CERTIFICATE_REMINDER
        if not work.session.scalar(sa.select(sa.exists().where(Message.request_id == request.id, template, *same))):
            facts = {
                "customer_number": request.customer_number,
                "numbers": numbers_with(work.session, request),
                "until": certificate_until(request).isoformat(),
                "path": f"/anfragen/{request.id}",
            }
            queue_message(work.session, request.id, CERTIFICATE_REMINDER, to, facts, work.now, occasion=occasion)


def _about(request: Request) -> dict[str, Any]:
    return {
        "customer_number": request.customer_number,
        "main_customer_number": request.main.customer_number,
        "main_account_name": request.main.name,
    }


def _place(account: Account) -> dict[str, Any]:
    return {
        "location_name": account.name,
        "street": account.street,
        "postal_code": account.postal_code,
        "city": account.city,
    }


def _lines(account: Account, place: Place) -> str:
    return "\n".join((account.name, account.contact_name, place.street, f"{place.postal_code} {place.city}"))
