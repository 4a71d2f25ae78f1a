"""Text in SQL: lower case without accents, spelled-out umlauts, and a search for words in several columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from models.values import MARKED, PLAIN, SPELLINGS, fold, spell


def plain_sql(text: Any) -> sa.ColumnElement[str]:
    """Small letters without their marks, to sort and to search by: 'Äpfel' is 'apfel', as in a German dictionary.

    The collation is PostgreSQL's own, so that an index on it does not depend on the machine.
    """
    marked, plain = (sa.literal_column(f"'{letters}'", sa.Text) for letters in (MARKED, PLAIN))
    return sa.func.translate(_small_sql(text), marked, plain)


def spelled_sql(text: Any) -> sa.ColumnElement[str]:
    """Small letters, umlauts in two of them: as `models.values.spell` does."""
    spelled = _small_sql(text)
    for letter, spelling in SPELLINGS.items():
        spelled = sa.func.replace(spelled, letter, spelling)
    return spelled


def _small_sql(text: Any) -> sa.ColumnElement[str]:
    return sa.func.lower(sa.collate(text, "pg_c_utf8"))


MOST_WORDS = 5


def matching(words: Sequence[str], *columns: Any) -> list[sa.ColumnElement[bool]]:
    """That each of the words is somewhere in these columns, in either spelling of its umlauts."""
    whole = sa.func.concat_ws(" ", *columns)
    plain, spelled = plain_sql(whole), spelled_sql(whole)
    # "Munchen" finds "München" by the one, "Muenchen" by the other.
    return [
        sa.or_(sa.func.strpos(plain, fold(word)) > 0, sa.func.strpos(spelled, spell(word)) > 0)
        for word in words[:MOST_WORDS]
    ]
