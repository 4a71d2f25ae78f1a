"""Tests of importing customers from the carrier's CSV files, both valid files and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account, account_by_number
from models.accounts.contract_holders import ContractHolder
from models.accounts.customer_import import Fate
from models.db.session import Database
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Role
from models.people.users import Membership, User
from models.states import AccountRole, AccountState
from models.values import utc_now
from tests.workbooks import as_xlsx
from tests.workers.accounts.conftest import HEADER, Take, line
from workers.accounts.customer_file import UnusableFile, open_customers
from workers.accounts.customer_import import AccountImport, Finding, Summary


def bad(findings: list[Finding]) -> list[tuple[int, str, str]]:
    return [(finding.line, finding.column, finding.reason) for finding in findings if not finding.notice]


def accounts(database: Database) -> dict[str, Account]:
    with database.transaction() as session:
        return {account.customer_number: account for account in session.scalars(sa.select(Account))}


def test_a_new_customer_becomes_an_account_with_its_administrator(take: Take, database: Database) -> None:
    summary, findings = take(line("4000001"))

    assert (summary.fates[Fate.CREATED], summary.bad, findings) == (1, 0, [])
    with database.transaction() as session:
        account = account_by_number(session, "4000001")
        assert account is not None
        assert (account.name, account.street) == ("Möbel Müller GmbH", "Große Str. 1")
        assert (account.role, account.state) == (AccountRole.STANDALONE, AccountState.ACTIVE)
        assert account.contact_phone == "+49521999980"
        user, role = session.execute(sa.select(User, Membership.role).join(Membership)).one()
        assert (user.email, user.name, role) == ("kontakt4000001@example.de", "Erika Müller", Role.ADMINISTRATOR)
        assert user.password_hash is None
        [entry] = session.scalars(sa.select(AuditEntry))
        assert (entry.account_id, entry.deed, entry.by_staff) == (account.id, AuditEvent.ACCOUNT_CREATED, True)


def test_the_administrator_may_be_somebody_else_than_the_contact(take: Take, database: Database) -> None:
    take(
        line("4000001") + ";Chefin@Example.de;Carla Chefin",
        line("4000002") + ";chefin@example.de;Carla Chefin",
        line("4000003") + ";;",
        header=HEADER + ";admin_email;admin_name",
    )

    with database.transaction() as session:
        rows = session.execute(
            sa.select(Account.customer_number, User.email)
            .join(Membership, Membership.account_id == Account.id)
            .join(User)
            .order_by(Account.customer_number)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("4000001", "chefin@example.de"),
        ("4000002", "chefin@example.de"),
        ("4000003", "kontakt4000003@example.de"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp850", "mac_roman"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_encoding_and_delimiter_are_found_out(take: Take, database: Database, encoding: str, delimiter: str) -> None:
    summary, findings = take(line().replace(";", delimiter), header=HEADER.replace(";", delimiter), encoding=encoding)

    assert (summary.fates[Fate.CREATED], findings) == (1, [])
    assert accounts(database)["4000001"].contact_name == "Erika Müller"


def test_a_broken_byte_in_a_utf8_file_spoils_its_own_row_only(database: Database, file: Path) -> None:
    good, broken = line("4000001").encode(), line("4000002", city="K\udcf6ln")
    file.write_bytes(b"\n".join([HEADER.encode(), good, broken.encode(errors="surrogateescape"), good[:-1]]))
    findings: list[Finding] = []

    with open_customers(file) as customers:
        AccountImport(database, utc_now, findings.append, lambda _: None).run(customers)

    assert customers.place.encoding == "utf-8"
    assert bad(findings)[0] == (3, "city", "unreadable_character")
    assert accounts(database)["4000001"].name == "Möbel Müller GmbH"


def test_twice_is_the_same_as_once(take: Take, database: Database) -> None:
    lines = [line(str(4_000_000 + place)) for place in range(30)]
    take(*lines)
    before = {number: account.id for number, account in accounts(database).items()}

    summary, findings = take(*lines)

    assert dict(summary.fates) == {Fate.UNCHANGED: 30}
    assert findings == []
    assert {number: account.id for number, account in accounts(database).items()} == before


def test_name_and_contact_follow_the_file_but_never_the_address(take: Take, database: Database) -> None:
    take(line("4000001"), line("4000002"))

    summary, findings = take(
        line("4000001", name="Neu GmbH", contact_email="neu@example.de", street="Woanders 3"), line("4000002")
    )

    assert dict(summary.fates) == {Fate.UPDATED: 1, Fate.UNCHANGED: 1}
    assert (summary.bad, summary.addresses_kept) == (0, 1)
    assert [(finding.line, finding.reason, finding.notice) for finding in findings] == [(2, "address_kept", True)]
    account = accounts(database)["4000001"]
    assert (account.name, account.contact_email) == ("Neu GmbH", "neu@example.de")
    assert account.street == "Große Str. 1"
    with database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Membership)) == 2


def test_what_follows_the_file_is_in_the_log(take: Take, database: Database) -> None:
    take(line("4000001"), line("4000002"), line("4000003"))
    changed = (
        line("4000001", name="Neu GmbH", contact_email="neu@example.de"),
        line("4000002", name="Neu GmbH"),
        line("4000003", contact_email="neu@example.de"),
    )
    take(*changed)
    take(*changed)
    entries = sa.select(Account.customer_number, AuditEntry.by_staff, AuditEntry.facts).join(
        Account, Account.id == AuditEntry.account_id
    )
    with database.transaction() as session:
        found = session.execute(entries.where(AuditEntry.deed == AuditEvent.ACCOUNT_UPDATED)).all()
    named = {"name": "Neu GmbH", "before": "Möbel Müller GmbH"}
    assert sorted(map(tuple, found)) == [
        ("4000001", True, {"contact": True, **named}),
        ("4000002", True, {"contact": False, **named}),
        ("4000003", True, {"contact": True}),
    ]


def test_a_closed_account_stays_closed(take: Take, database: Database) -> None:
    take(line("4000001"))
    with database.transaction() as session:
        session.execute(sa.update(Account).values(state=AccountState.CLOSED))

    summary, findings = take(line("4000001", name="Wieder da"))

    assert bad(findings) == [(2, "customer_number", "closed")]
    assert summary.bad == 1
    assert accounts(database)["4000001"].name == "Möbel Müller GmbH"


def test_a_customer_number_that_was_given_out_before_is_not_used_again(take: Take, database: Database) -> None:
    with database.transaction() as session:
        session.execute(sa.text("INSERT INTO customer_numbers VALUES ('4000001')"))

    _, findings = take(line("4000001"), line("4000002"))

    assert bad(findings) == [(2, "customer_number", "number_used_up")]
    assert set(accounts(database)) == {"4000002"}


def test_a_doubtful_address_is_taken_over_as_it_is_and_reported_once(take: Take, database: Database) -> None:
    rows = (line("4000001", postal_code="80331"), line("4000002", postal_code="99999"), line("4000003", street="Markt"))
    summary, findings = take(*rows)
    assert [(finding.line, finding.column, finding.reason) for finding in findings] == [
        (2, "postal_code", "postal_code_elsewhere"),
        (3, "postal_code", "unknown_postal_code_of"),
        (4, "street", "house_number_missing"),
    ]
    assert all(finding.notice and str(finding) for finding in findings)
    assert (summary.bad, summary.doubtful) == (0, 3) and len(accounts(database)) == 3
    summary, findings = take(*rows)
    assert (summary.doubtful, findings) == (0, [])


def test_every_bad_row_is_reported_with_line_column_and_reason_and_good_rows_are_kept(
    take: Take, database: Database
) -> None:
    summary, findings = take(
        line("4000001"),
        line("12345678"),
        "",
        line("4000003", postal_code="3360", contact_email="nobody", name=" "),
        line("4000004", contact_phone="abc"),
        line("4000005", name="a\x00b"),
        line("4000006", street="x" * 201),
        line("4000001", name="Another"),
        "4000007;zu;wenig",
        line("4000008") + ";zu;viel",
        line("4000009") + ";;",
        ";;;;;;;",
        line("4000010"),
    )

    assert bad(findings) == [
        (3, "customer_number", "not_seven_digits"),
        (5, "name", "missing"),
        (5, "postal_code", "not_five_digits"),
        (5, "contact_email", "not_an_email_address"),
        (6, "contact_phone", "not_a_phone_number"),
        (7, "name", "unreadable_character"),
        (8, "street", "too_long"),
        (9, "customer_number", "appears_twice"),
        (10, "", "too_few_columns"),
        (11, "", "too_many_columns"),
    ]
    assert summary.bad == 8
    assert set(accounts(database)) == {"4000001", "4000009", "4000010"}
    assert accounts(database)["4000001"].name == "Möbel Müller GmbH"


def test_quotes_may_hold_line_breaks_delimiters_and_quotes(take: Take, database: Database) -> None:
    summary, findings = take(
        line("4000001", name='"Müller; ""Söhne""\n& Co"'), line("12"), line("4000002", name='Gasthof 3" Rohr')
    )

    assert bad(findings) == [(4, "customer_number", "not_seven_digits")]
    assert summary.fates[Fate.CREATED] == 2
    assert accounts(database)["4000001"].name == 'Müller; "Söhne" & Co'
    assert accounts(database)["4000002"].name == 'Gasthof 3" Rohr'


def test_a_quote_that_nobody_closes_costs_its_own_row_only(take: Take, database: Database) -> None:
    lines = [line(str(4_000_000 + place)) for place in range(60)]
    lines[10] = line("4000010", name='"Offen')

    summary, findings = take(*lines)

    assert bad(findings) == [(12, "", "broken_quotes")]
    assert summary.fates[Fate.CREATED] == 59


def test_a_line_without_end_is_skipped_in_pieces(take: Take) -> None:
    summary, findings = take(line("4000001"), "x" * 300_000, line("4000002"))

    assert bad(findings) == [(3, "", "line_too_long")]
    assert summary.fates[Fate.CREATED] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"a;b;c\n1;2;3\n", "line 1 has no customer_number, name, street"),
        (HEADER.encode() + b";name\n", "line 1 is there more than once"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "neither CSV nor XLSX"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)

    with pytest.raises(UnusableFile, match=message), open_customers(file):
        pass


def test_excels_separator_line_and_unknown_columns_do_no_harm(take: Take) -> None:
    summary, findings = take(
        "Erika;" + line("4000001"), header="sep=;\nBetreuer;" + HEADER.replace("name", " Name ", 1)
    )

    assert (summary.fates[Fate.CREATED], findings) == (1, [])


HOLDERS = ";holder_name;holder_form;holder_register_number;holder_born_on;holder_street;holder_postal_code;holder_city"


def held(database: Database) -> dict[str, tuple[str, str, str | None, str | None, str]]:
    """Return the contract holder of each account by customer number: name, form, register number, birth date, address.

    The register number and the date of birth (YYYY-MM-DD) are None if there is none.
    """
    with database.transaction() as session:
        rows = session.execute(sa.select(Account.customer_number, ContractHolder).join(ContractHolder))
        return {
            number: (
                found.name,
                found.form,
                found.register_number,
                found.born_on.isoformat() if found.born_on is not None else None,
                f"{found.street}, {found.postal_code} {found.city}",
            )
            for number, found in rows
        }


def test_a_contract_holder_is_entered_where_there_is_none(
    take: Callable[..., tuple[Summary, list[Finding]]], database: Database
) -> None:
    take(line("4000001"), line("4000002"))
    company = ";Möbel Müller GmbH & Co. KG;company;HRA 17, Amtsgericht Bielefeld;;Kontor 1;33603;Bielefeld"
    person = ";Erika Müller;person;;31.12.1980;;;"
    wrong = ";Erika Müller;baroness;;1.1.2999;;33;"
    summary, findings = take(
        line("4000001") + company,
        line("4000002") + ";;;;;;;",
        line("4000003") + person,
        line("4000004") + wrong,
        header=HEADER + HOLDERS,
    )
    assert summary.fates == {Fate.UPDATED: 1, Fate.UNCHANGED: 1, Fate.CREATED: 1}
    assert {(finding.column, finding.reason) for finding in findings} == {
        ("holder_form", "unknown_form"), ("holder_street", "missing"), ("holder_postal_code", "not_a_postal_code"),
        ("holder_city", "missing"),
    }  # fmt: skip
    ours = ("Möbel Müller GmbH & Co. KG", "company", "HRA 17, Amtsgericht Bielefeld", None, "Kontor 1, 33603 Bielefeld")
    hers = ("Erika Müller", "person", None, "1980-12-31", "Große Str. 1, 33602 Bielefeld")
    assert held(database) == {"4000001": ours, "4000003": hers}
    # The customer's own change is worth more than an old file.
    other = company.replace("GmbH & Co. KG", "SE")
    summary, _ = take(line("4000001") + other, header=HEADER + HOLDERS)
    assert summary.fates == {Fate.UNCHANGED: 1} and held(database)["4000001"] == ours
    with database.transaction() as session:
        entered = sa.select(AuditEntry.facts).where(AuditEntry.deed == AuditEvent.HOLDER_CHANGED)
        facts = session.scalars(entered.order_by(AuditEntry.id)).all()
    assert facts == [{"name": name, "before": None} for name in ("Möbel Müller GmbH & Co. KG", "Erika Müller")]


def test_a_workbook_is_read_as_bulk_files_are(database: Database, file: Path) -> None:
    rows: list[list[object]] = [["Kunden 2027"], [], [*HEADER.split(";")]]
    for number, code, city, name in (
        (4000001, 1067, "Dresden", "A"), (4000002, 3360, "Bielefeld", "B"), (4000003, 33602, "Bielefeld", "#N/A"),
        (4000004, 33602, "Bielefeld\u200b", "C\u00a0D"),
    ):  # fmt: skip
        rows.append([number, name, "Große Str. 1", code, city, "Erika", f"k{number}@example.de", "0521 99998-0"])
    file.write_bytes(as_xlsx(rows))
    findings: list[Finding] = []
    with open_customers(file) as customers:
        AccountImport(database, utc_now, findings.append, lambda _: None).run(customers)
    assert (customers.place.sheet, customers.place.line) == ("Sheet1", 3)
    assert bad(findings) == [(5, "postal_code", "not_five_digits"), (6, "name", "error_value")]
    found = accounts(database)
    assert {number: (one.postal_code, one.name, one.city) for number, one in found.items()} == {
        "4000001": ("01067", "A", "Dresden"),
        "4000004": ("33602", "C D", "Bielefeld"),
    }


def test_cells_that_a_spreadsheet_has_spoiled_are_named(take: Take, database: Database) -> None:
    rows = line("4000001", contact_phone="4.93E+11"), line("4000002", street="#BEZUG!"), line("4000003", city="K?ln")
    _, findings = take(*rows)
    assert bad(findings) == [
        (2, "contact_phone", "shortened_number"),
        (3, "street", "error_value"),
        (4, "city", "unreadable_character"),
    ]
    assert all(map(str, findings)) and not accounts(database)


def test_a_day_is_one_in_germany(database: Database, file: Path) -> None:
    born = ";Erika Müller;person;;{};;;"
    days = line("4000001") + born.format("3.3.2026"), line("4000002") + born.format("4.3.2026")
    file.write_text("\n".join([HEADER + HOLDERS, *days, ""]), encoding="utf-8")
    findings: list[Finding] = []
    # In Germany it is half past midnight on 3 March.
    now = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    with open_customers(file) as customers:
        AccountImport(database, lambda: now, findings.append, lambda _: None).run(customers)
    assert bad(findings) == [(3, "holder_born_on", "not_a_birth_date")]
    assert list(held(database)) == ["4000001"]
