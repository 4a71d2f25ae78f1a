"""The phrases for what a main account's people may and may not do with a linked account, derived from their rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.people.rights import RIGHTS, THROUGH_MAIN, THROUGH_MAIN_ADMINISTRATOR, Action, Role
from models.values import Locale
from tasks.wording.translate import N_, translate

GIVEN: Mapping[Action, str] = {
    Action.VIEW: N_(
        "see the whole dashboard: address, contact, users, contract holder, contract with its costs, phone numbers, "
        "SIP trunks and call forwardings"
    ),
    Action.SEE_CALLS: N_("see which phones are registered, and the calls of the last seven days"),
    Action.SEE_SECRET: N_("see the SIP passwords and renew them; phones with the old password then stop working"),
    Action.FORWARD_CALLS: N_("set up, change and remove call forwardings"),
    Action.MANAGE_TRUNK: N_(
        "suspend SIP trunks and resume them, change their settings and the directory entry, and give phone numbers "
        "back for good"
    ),
    Action.ALLOW_DESTINATIONS: N_("allow calls to more countries and to high-risk destinations, at the account's cost"),
    Action.INVITE_USERS: N_("invite users; an administrator only while the account has none"),
    Action.TAG: N_("give the account tags, by which they sort their locations"),
    Action.DETACH: N_("detach the account from the main account"),
}
"""The phrase for each right that a link gives to the main account's people, in the order in which it is shown."""

KEPT: Mapping[Action, str] = {
    Action.MANAGE_USERS: N_("change the roles of its users or remove them"),
    Action.MANAGE_HOLDER: N_("change its contract holder"),
    Action.CHANGE_CONTRACT: N_("change its contracts"),
    Action.ORDER: N_("order locations in its name"),
    Action.LINK: N_("link other accounts to it"),
    Action.PROVE_OWNERSHIP: N_("create its link codes, or consent for it"),
    Action.MANAGE_TOKENS: N_("create or revoke its API tokens"),
    Action.SEE_LOG: N_("read in its log what its own users do"),
}
"""The phrase for each right of an account's administrators that a link does not give to the main account's people."""

_ONLY_ADMINISTRATORS = N_("%(what)s (only administrators of the main account)")


@dataclass(frozen=True, slots=True)
class LinkRights:
    """What administrators and location managers of a main account may and may not do with a linked account.

    `may` and `may_not` are lists of translated phrases, which complete the sentences "they can …" and "nobody of the
    main account can, by the link, …".
    """

    may: list[str]
    may_not: list[str]


def link_rights(locale: Locale) -> LinkRights:
    """Return what people of a main account may and may not do with a linked account, in the language `locale`."""
    given = THROUGH_MAIN | THROUGH_MAIN_ADMINISTRATOR
    kept = RIGHTS[Role.ADMINISTRATOR] - given
    return LinkRights(
        [_given(action, locale) for action in sorted(given, key=list(GIVEN).index)],
        [translate(locale, KEPT[action]) for action in sorted(kept, key=list(KEPT).index)],
    )


def _given(action: Action, locale: Locale) -> str:
    what = translate(locale, GIVEN[action])
    return translate(locale, _ONLY_ADMINISTRATORS, what=what) if action in THROUGH_MAIN_ADMINISTRATOR else what
