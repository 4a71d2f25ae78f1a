"""The sentences that say why a request waits or has ended without success, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.states import Reason
from models.values import Locale
from tasks.wording.translate import N_, translate

REASONS: Mapping[Reason, str] = {
    Reason.OWNERSHIP_NOT_PROVEN: N_(
        "Ownership of this customer number is not proved. Please check the customer number and the credentials "
        "and make a new request."
    ),
    Reason.CONSENT_AWAITED: N_(
        "An administrator of this customer number has to agree to the link. They find a link and a code in their "
        "e-mail. A link code or credentials are faster."
    ),
    Reason.DECLINED_BY_OWNER: N_("An administrator of the account has declined the link."),
    Reason.EMAIL_NOT_CONFIRMED: N_(
        "The contact has to confirm the e-mail address, with the code from the mail that we have sent."
    ),
    Reason.CONTACT_REFUSED: N_(
        "The contact's e-mail address does not accept our e-mail. Please correct the address; then we ask again at "
        "once."
    ),
    Reason.ADDRESS_NOT_PROVED: N_(
        "The connection address has to be proved: with the code from the letter that we have sent there, or with a "
        "document (commercial register extract, business registration)."
    ),
    Reason.DOCUMENT_IN_REVIEW: N_("We are looking at the document that is to prove the connection address."),
    Reason.NEED_NOT_PROVED: N_(
        "With these phone numbers the SIP trunk has more than 100. That takes a certificate of need: please hand in a "
        "document that shows what all of them are needed for, such as a list of extensions or a plan of the workplaces."
    ),
    Reason.CERTIFICATE_IN_REVIEW: N_("We are looking at the certificate of need for the phone numbers."),
    Reason.APPROVAL_AWAITED: N_(
        "Your company has set that a second person approves what somebody asks for within 24 hours, from a sum a month "
        "on. Another administrator or location manager has to approve it or refuse it; we have asked them by e-mail."
    ),
    Reason.APPROVER_MISSING: N_(
        "Your company has set that a second person approves what somebody asks for within 24 hours, from a sum a month "
        "on, but nobody else is administrator or location manager any more. Please invite somebody; as soon as they "
        "have accepted, they can approve it. Or cancel it, have the sum changed under “Users”, and order anew."
    ),
    Reason.APPROVAL_REFUSED: N_("A second person of your company has refused it."),
    Reason.APPROVAL_EXPIRED: N_("No second person of your company has approved it in time. It can be ordered anew."),
    Reason.NOT_ATTACHED: N_("The account does not belong to this main account."),
    Reason.BILLED_TOGETHER: N_(
        "The account is billed by the main account's collective invoice and therefore belongs to it. It is detached "
        "once it leaves the collective invoice."
    ),
    Reason.NO_ADMINISTRATOR: N_(
        "Nobody can sign in to this account and administer it yet; detached, it would be left to nobody. Invite an "
        "administrator first. The account can be detached once the invitation is accepted."
    ),
    Reason.INVITATION_OPEN: N_(
        "Nobody can sign in to this account and administer it yet: the invitation is still open. Ask the invited "
        "person to accept it, or invite somebody else. The account can be detached once an invitation is accepted."
    ),
    Reason.ALREADY_ATTACHED: N_(
        "The account already belongs to a main account. It can be detached there and then be linked anew, or come over "
        "in one step by a switch, with the consent of that main account."
    ),
    Reason.MAIN_CONSENT_AWAITED: N_(
        "The account belongs to another main account. An administrator of that one has to agree, too; we have asked "
        "them by e-mail."
    ),
    Reason.DECLINED_BY_MAIN: N_(
        "The account's present main account has declined. The account can be detached there, on its dashboard, by its "
        "own administrators, and be linked anew after that."
    ),
    Reason.IS_MAIN_ACCOUNT: N_("The account is a main account itself and cannot become a sub-account."),
    Reason.IS_SUB_ACCOUNT: N_("Your account has become a sub-account. Only a main account can have sub-accounts."),
    Reason.SAME_ACCOUNT: N_("An account cannot be attached to itself."),
    Reason.ACCOUNT_CLOSED: N_("The account is closed."),
    Reason.TRUNK_CLOSED: N_("The SIP trunk was closed before; its contract has ended."),
    Reason.ACCOUNT_IN_USE: N_(
        "The account cannot be closed as long as it is a main account: it has sub-accounts or running orders, or pays "
        "a collective invoice for others. Detach or cancel the sub-accounts, and wait for running orders or cancel "
        "them."
    ),
    Reason.AREA_CODE_MISMATCH: N_(
        "The connection address lies outside the Ortsnetz of the area code. Please order again with an area code that "
        "fits the address; a move that is ordered again replaces the numbers that cannot stay."
    ),
    Reason.AREA_CODE_UNCONFIRMED: N_(
        "We are checking whether the connection address lies in the Ortsnetz of the area code. You need not do "
        "anything."
    ),
    Reason.PRODUCT_NOT_ORDERABLE: N_("The product can no longer be ordered."),
    Reason.NO_NUMBERS_AVAILABLE: N_(
        "There is no free number block of this size in the area code at the moment. We will restock and carry on "
        "by ourselves."
    ),
    Reason.GATEWAY_UNAVAILABLE: N_("One of our systems has not been answering for some time. We keep trying."),
    Reason.GATEWAY_REFUSED: N_("The telephone network refused the set-up. Our customer service is looking into it."),
    Reason.INTERNAL_ERROR: N_("Something went wrong on our side. Our customer service is looking into it."),
    Reason.CANCELLED_BY_REQUESTER: N_("as you asked."),
    Reason.CANCELLED_BY_BACK_OFFICE: N_("by our customer service."),
    Reason.PROOF_EXPIRED: N_("The time for an answer has run out."),
}


_FITTING = N_("Area codes that fit: %(area_codes)s.")


_IN_THEIR_WORDS = N_("Their reason: “%(note)s”")


def reason_text(reason: Reason, locale: Locale, area_codes: Sequence[str] = (), note: str | None = None) -> str:
    """Return sentences on why a request waits or has ended without success, and on what can be done about it.

    `area_codes` are the area codes, with names, that would fit the address, if the reason is a wrong area code; else
    empty. `note` is what the person has written who refused the request, None without.
    """
    said = translate(locale, REASONS[reason])
    if reason is Reason.APPROVAL_REFUSED and note:
        return f"{said} {translate(locale, _IN_THEIR_WORDS, note=note)}"
    return f"{said} {translate(locale, _FITTING, area_codes=', '.join(area_codes))}" if area_codes else said
