"""Import SIP trunks from a file; read secrets and numbers that the file does not have from a running Kamailio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa

from models.contracts.catalogue import Product, ProductKind
from models.contracts.terms import LONGEST_NOTICE, LONGEST_TERM, OPEN_TERMS, ContractTerms
from models.db.session import Database
from models.telephony.area_codes import AreaCode
from models.telephony.login_digests import known_digests
from models.telephony.trunk_takeover import TrunkFate, TrunkRow, TrunkTakeover
from models.values import Clock
from models.vault import Vault
from tasks.files.uploaded_cells import cell_fault
from tasks.files.uploaded_tables import Row, Table
from tasks.ports import SipAddress, Subscriber
from tasks.registrar.taken_over import SIP_SECRET, numbers_of_aliases, secret_of
from workers.accounts.customer_file import open_file
from workers.accounts.customer_import import BATCH, REASONS, Finding
from workers.accounts.import_transactions import import_transaction
from workers.accounts.trunk_cells import cents_of, day_of, months_of, numbers_of
from workers.gateways.subscribers import KamailioSubscribers

REQUIRED = ("customer_number", "sip_user", "channels", "product", "monthly_price", "started_on")
TERMS = ("term_months", "notice_months", "renewal_months")
OPTIONAL = ("domain", "secret", "numbers", *TERMS)
_SIP_USER = re.compile(r"[A-Za-z0-9]{1,64}")
_CUSTOMER_NUMBER = re.compile(r"[1-9][0-9]{6}")
_MOST_CHANNELS = 10_000
_MOST_NUMBERS = 10_000
_LONGEST_MONTHS = (LONGEST_TERM, LONGEST_NOTICE, LONGEST_TERM)

COLUMN_OF = {
    TrunkFate.NO_ACCOUNT: "customer_number",
    TrunkFate.CLOSED: "customer_number",
    TrunkFate.SIP_USER_TAKEN: "sip_user",
    TrunkFate.TRUNK_CLOSED: "sip_user",
    TrunkFate.NUMBER_TAKEN: "numbers",
    TrunkFate.PART_OF_BLOCK: "numbers",
    TrunkFate.NO_AREA_CODE: "numbers",
}
"""For each fate of a refused row, the column of the file that is the cause."""
TRUNK_REASONS = {
    TrunkFate.NO_ACCOUNT: "there is no such account: `standorte accounts import` comes first",
    TrunkFate.CLOSED: "the account is closed, or still on order",
    TrunkFate.SIP_USER_TAKEN: "belongs to another account, or has another domain",
    TrunkFate.TRUNK_CLOSED: "is that of a trunk of the account that is closed for good",
    TrunkFate.NUMBER_TAKEN: "one of the numbers belongs to another trunk",
    TrunkFate.PART_OF_BLOCK: "some of the numbers are part of a block of the pool that has others, too, or is reserved",
    TrunkFate.NO_AREA_CODE: "one of the numbers is in no German Ortsnetz",
    "not_seven_digits": REASONS["not_seven_digits"],
    "not_a_sip_user": "is not a SIP user that our Kamailio lets in: letters A to Z and digits, at most 64",
    "not_a_domain": "is not SIP_DOMAIN, the only domain that our Kamailio serves",
    "not_a_secret": "is not a SIP password: 4 to 64 characters of ASCII without spaces and braces",
    "not_channels": f"is not a number from 1 to {_MOST_CHANNELS}",
    "unknown_product": "is no product for a trunk: `standorte prices list`",
    "not_a_price": "is not a price in euros, such as 19.90 or 19,90",
    "not_a_day": "is not a day in the past, such as 2019-04-01 or 01.04.2019",
    "not_a_term": f"is not a whole number of months from 0 to {LONGEST_TERM}",
    "not_a_notice": f"is not a whole number of months from 0 to {LONGEST_NOTICE}",
    "renewed_without_term": "extends a first term, and the row has no first term",
    "not_numbers": "are not phone numbers, divided by commas; +49521999980/100 are a hundred from there on",
    "appears_twice": REASONS["appears_twice"],
    "not_in_registrar": "the registrar does not know this SIP user with this domain, and the file has no secret",
    "no_login": "the registrar has neither a password nor a digest of this SIP user",
    "strange_alias": "the registrar has an alias of this SIP user that is no phone number",
}


@dataclass(slots=True)
class TrunkSummary:
    """The result of an import of trunks, as counts.

    `fates` counts the imported rows by what happened to their trunk, `bad` the rows that were not imported. `numbers`
    is the count of phone numbers of the created trunks. `digests_only` counts the created trunks for which only digests
    of the SIP password are known, not the password.
    """

    fates: Counter[TrunkFate] = field(default_factory=Counter)
    bad: int = 0
    numbers: int = 0
    digests_only: int = 0


@dataclass(frozen=True, slots=True)
class _Typed:
    """A checked row of the file. `secret` or `numbers` is None if the row has none: the registrar is then asked."""

    row: TrunkRow
    secret: str | None
    numbers: frozenset[int] | None

    @property
    def address(self) -> SipAddress:
        return self.row.sip_user, self.row.domain


@contextmanager
def open_trunks(path: Path) -> Iterator[Table]:
    """Open a CSV or XLSX file of trunks, yield its table, and close the file at the end of the block.

    Raises `UnusableFile` if the file has no table with the required columns, and `OSError` if it cannot be read.
    """
    with open_file(path, REQUIRED, OPTIONAL) as table:
        yield table


class TrunkImport:
    """An import of trunks from one file. Their accounts must be in the portal already.

    If a row has no secret or no numbers, they are read from the registrar's tables `subscriber` and `dbaliases`.
    Nothing is written there. `domain` is SIP_DOMAIN, the only domain that Kamailio serves. `report` is called with
    every `Finding`, `progress` after every batch with the number of bytes read so far. With `dry` every batch is rolled
    back. Safe to run twice, also after an interrupted run: a trunk that its account already has is left unchanged. If
    the portal does not write the trunk to the registrar yet (it is not adopted), its secret and numbers are updated.
    """

    def __init__(
        self,
        database: Database,
        subscribers: KamailioSubscribers,
        vault: Vault,
        clock: Clock,
        domain: str,
        report: Callable[[Finding], None],
        progress: Callable[[int], None],
        *,
        dry: bool = False,
    ) -> None:
        self._database = database
        self._subscribers = subscribers
        self._vault = vault
        self._clock = clock
        self._domain = domain
        self._report = report
        self._progress = progress
        self._dry = dry
        self._summary = TrunkSummary()
        self._seen = set[SipAddress]()

    def run(self, file: Table) -> TrunkSummary:
        """Import every valid row of `file`, report what is wrong with every other row, and return the counts.

        Commits a transaction for each batch of 1,000 rows (`BATCH`). Raises `OperationalError` if the portal's database
        fails, and `GatewayUnavailable` if the registrar's does; the batches saved before stay.
        """
        with self._database.transaction() as session:
            self._products = set(session.scalars(sa.select(Product.key).where(Product.kind == ProductKind.TRUNK)))
            self._area_codes = set(session.scalars(sa.select(AreaCode.code)))
        batch: list[tuple[int, _Typed]] = []
        for row in file.rows:
            typed = self._checked(row)
            if typed is not None:
                batch.append((row.line, typed))
            if len(batch) == BATCH:
                self._write(batch)
                batch.clear()
                self._progress(file.position)
        self._write(batch)
        self._progress(file.position)
        return self._summary

    def _checked(self, row: Row) -> _Typed | None:
        """Return the row's values; if any of them is wrong, report each error and return None."""
        if row.fault is not None:
            detail = "{} columns, not {}".format(*row.widths) if row.widths[0] else REASONS[row.fault]
            self._refuse(row.line, {"": (row.fault, detail)})
            return None
        cells = row.cells
        wrong = {column: (fault, REASONS[fault]) for column, cell in cells.items() if (fault := cell_fault(cell))}
        typed = {column: cells.get(column, "").strip() for column in REQUIRED + OPTIONAL}
        domain = typed["domain"] or self._domain
        channels = int(typed["channels"]) if re.fullmatch(r"[0-9]{1,5}", typed["channels"]) else 0
        cents, day, numbers = cents_of(typed["monthly_price"]), day_of(typed["started_on"], self._clock()), None
        if typed["numbers"]:
            numbers = numbers_of(typed["numbers"], _MOST_NUMBERS)
        term, notice, renewal = (
            months_of(typed[column] or str(usual), most)
            for column, usual, most in zip(TERMS, astuple(OPEN_TERMS), _LONGEST_MONTHS, strict=True)
        )
        for column, code, is_good in (
            ("customer_number", "not_seven_digits", _CUSTOMER_NUMBER.fullmatch(typed["customer_number"])),
            ("sip_user", "not_a_sip_user", _SIP_USER.fullmatch(typed["sip_user"])),
            ("domain", "not_a_domain", domain == self._domain),
            ("secret", "not_a_secret", not typed["secret"] or SIP_SECRET.fullmatch(typed["secret"])),
            ("channels", "not_channels", 1 <= channels <= _MOST_CHANNELS),
            ("product", "unknown_product", typed["product"] in self._products),
            ("monthly_price", "not_a_price", cents is not None),
            ("started_on", "not_a_day", day is not None),
            ("term_months", "not_a_term", term is not None),
            ("notice_months", "not_a_notice", notice is not None),
            ("renewal_months", "not_a_term", renewal is not None),
            ("renewal_months", "renewed_without_term", term != 0 or not renewal),
            ("numbers", "not_numbers", not typed["numbers"] or numbers),
        ):
            if not is_good:
                wrong.setdefault(column, (code, TRUNK_REASONS[code]))
        if wrong:
            self._refuse(row.line, wrong)
            return None
        if (typed["sip_user"], domain) in self._seen:
            self._refuse(row.line, {"sip_user": ("appears_twice", TRUNK_REASONS["appears_twice"])})
            return None
        self._seen.add((typed["sip_user"], domain))
        assert cents is not None and day is not None
        assert term is not None and notice is not None and renewal is not None
        found = TrunkRow(
            typed["customer_number"],
            typed["sip_user"],
            domain,
            "",
            channels,
            typed["product"],
            cents,
            day,
            frozenset(),
            ContractTerms(term, notice, renewal),
        )
        return _Typed(found, typed["secret"] or None, numbers)

    def _write(self, batch: Sequence[tuple[int, _Typed]]) -> None:
        if not batch:
            return
        open_questions = [one.address for _, one in batch if one.secret is None or one.numbers is None]
        there = self._subscribers.look_up(open_questions) if open_questions else {}
        rows = [(line, row) for line, one in batch if (row := self._completed(line, one, there)) is not None]
        for (line, row), fate in zip(rows, self._take_over([row for _, row in rows]), strict=True):
            if fate in COLUMN_OF:
                self._refuse(line, {COLUMN_OF[fate]: (fate, TRUNK_REASONS[fate])})
                continue
            self._summary.fates[fate] += 1
            if fate is TrunkFate.CREATED:
                self._summary.numbers += len(row.numbers)
                self._summary.digests_only += known_digests(row.secret) is not None

    def _completed(self, line: int, one: _Typed, there: Mapping[SipAddress, Subscriber]) -> TrunkRow | None:
        """Return the trunk of a checked row, with a missing secret or missing numbers filled in from the registrar.

        `line` is the row's line in the file, `there` what the registrar has, by SIP address. If the registrar has no
        usable secret or numbers, report the row and return None.
        """
        found = there.get(one.address)
        secret, numbers = one.secret, one.numbers
        if secret is None:
            if found is None:
                self._refuse(line, {"sip_user": ("not_in_registrar", TRUNK_REASONS["not_in_registrar"])})
                return None
            secret = secret_of(found)
            if secret is None:
                self._refuse(line, {"sip_user": ("no_login", TRUNK_REASONS["no_login"])})
                return None
        if numbers is None:
            numbers = numbers_of_aliases(found.aliases) if found is not None else frozenset()
            if numbers is None:
                self._refuse(line, {"numbers": ("strange_alias", TRUNK_REASONS["strange_alias"])})
                return None
        return replace(one.row, secret=secret, numbers=numbers)

    def _take_over(self, rows: list[TrunkRow]) -> list[TrunkFate]:
        with import_transaction(self._database, dry=self._dry) as session:
            return TrunkTakeover(session, self._vault, self._area_codes, self._clock()).take_over(rows)

    def _refuse(self, line: int, wrong: Mapping[str, tuple[str, str]]) -> None:
        self._summary.bad += 1
        for column, (code, detail) in wrong.items():
            self._report(Finding(line, column, code, detail))
