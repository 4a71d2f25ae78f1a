"""Import a file of call forwardings for trunks that were imported from another registrar, a running Kamailio."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from models.errors import Forbidden, InvalidField, NotFound
from models.telephony.forwarding import LONGEST_WAIT, SHORTEST_WAIT, Condition, ForwardingDraft
from models.telephony.forwarding_changes import take_over_forwarding
from workers.accounts.row_import import Outcome, RowImport
from workers.accounts.typed_hours import typed_hours

_COLUMNS = {"trunk": "sip_user", "numbers": "first_number"}
"""The column of the file for each field of the portal's form, where the names differ."""
_REASONS = {
    "no_trunk": "there is no such trunk: `standorte trunks import` comes first",
    "account_closed": "the account of this trunk is closed, or still on order",
    "adopted": "the trunk is adopted already: its customer sets up forwardings in the portal",
    "not_a_condition": f"is not one of {', '.join(Condition)}",
    "not_in_range": f"is not a number of seconds from {SHORTEST_WAIT} to {LONGEST_WAIT}",
    "emergency_number": "is an emergency number",
    "needs_area_code": "begins neither with + nor with 0",
    "costly_number": "is a premium-rate or other service number",
    "own_number": "is a number of the account itself: calls would go round in circles",
    "outside_limit": "is outside the countries that the trunk may call",
    "administrator_confirms": "is a high-risk destination, which an administrator has to confirm in the portal",
    "overlap": "the account has another forwarding for this condition, these numbers, and some of these hours",
    "not_hours": "is not days and times, such as Mo-Fr 18:00-08:00; Sa,Su 00:00-24:00",
    "several_trunks": "is empty, and the account has several trunks: name the numbers of this one",
    "other_trunk": "the range has numbers of another trunk",
    "not_own": "not all of the numbers are the account's",
    "crosses": "the range overlaps a part of another forwarding's range",
    "backwards": "the last number of the range is before the first",
    "no_first": "is empty, and there is a last number",
}


class ForwardingImport(RowImport):
    """An import of call forwardings from a file, all week or at weekly hours, by the rules of the portal's form.

    Nothing is written to the registrar before the trunk is adopted, that is, written by the portal. Safe to run twice:
    a forwarding that the account already has, switched on or off, is left unchanged.
    """

    required = ("sip_user", "condition", "target", "after_seconds")
    optional = ("first_number", "last_number", "hours")
    reasons = _REASONS

    def _take(self, session: Session, cells: Mapping[str, str]) -> Outcome:
        try:
            return Outcome(take_over_forwarding(session, cells["sip_user"], _draft(cells), self._database.now()))
        except NotFound as error:
            raise InvalidField("sip_user", "no_trunk") from error
        except Forbidden as error:
            raise InvalidField("sip_user", "account_closed") from error
        except InvalidField as error:
            # A file may have no column with hours.
            column = "condition" if error.code == "overlap" else _COLUMNS.get(error.field, error.field)
            raise InvalidField(column, error.code) from error


def _draft(cells: Mapping[str, str]) -> ForwardingDraft:
    """Return the forwarding that a row describes; `cells` are its texts by column.

    Raises `InvalidField` for an unknown condition, for a last number without a first one, and for hours that cannot be
    read.
    """
    if cells["condition"] not in tuple(Condition):
        raise InvalidField("condition", "not_a_condition")
    if cells["last_number"] and not cells["first_number"]:
        raise InvalidField("first_number", "no_first")
    seconds = cells["after_seconds"]
    return ForwardingDraft(
        Condition(cells["condition"]),
        cells["target"],
        int(seconds) if seconds.isascii() and seconds.isdecimal() else None,
        hours=typed_hours(cells["hours"]),
        first=cells["first_number"] or None,
        last=cells["last_number"],
    )
