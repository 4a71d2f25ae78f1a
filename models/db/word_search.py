"""SQL expressions for text: lower case without accents, umlauts spelled out, and a word search in several columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from models.spelling import MARKED, PLAIN, SPELLINGS, fold, spell


def plain_sql(text: Any) -> sa.ColumnElement[str]:
    """Return SQL for the text in lower case without accents, to sort and search by: 'Äpfel' becomes 'apfel'.

    The order is that of a German dictionary. The collation is PostgreSQL's built-in one, so that an index on the
    expression does not depend on the machine.
    """
    marked, plain = (sa.literal_column(f"'{letters}'", sa.Text) for letters in (MARKED, PLAIN))
    return sa.func.translate(_small_sql(text), marked, plain)


def spelled_sql(text: Any) -> sa.ColumnElement[str]:
    """Return SQL for the text in lower case with umlauts and ß spelled out in two letters: 'Äpfel' becomes 'aepfel'."""
    spelled = _small_sql(text)
    for letter, spelling in SPELLINGS.items():
        literals = (sa.literal_column(f"'{word}'", sa.Text) for word in (letter, spelling))
        spelled = sa.func.replace(spelled, *literals)
    return spelled


def _small_sql(text: Any) -> sa.ColumnElement[str]:
    return sa.func.lower(sa.collate(text, "pg_c_utf8"))


def searchable_sql(*columns: Any) -> sa.ColumnElement[str]:
    """Return SQL for a text to search with `has_word`: the joined columns in two spellings, both in lower case.

    The first is without accents, the second has umlauts spelled out. A column that is null counts as empty. A trigram
    index on the text makes the search fast.
    """
    parts = [sa.func.coalesce(column, sa.literal_column("''", sa.Text)) for column in columns]
    whole: sa.ColumnElement[Any] = parts[0]
    for part in parts[1:]:
        whole = whole.op("||")(_SPACE).op("||")(part)
    return plain_sql(whole).op("||")(_SPACE).op("||")(spelled_sql(whole))


def has_word(searchable: sa.ColumnElement[str], word: str) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the text `searchable` contains the word in either of its two spellings.

    The spellings are the word without accents, and the word with umlauts spelled out. `searchable` is an expression or
    column made by `searchable_sql`.
    """
    return sa.or_(
        *(
            sa.type_coerce(searchable, sa.Text).contains(way, autoescape=True)
            for way in sorted({fold(word), spell(word)})
        )
    )


_SPACE = sa.literal_column("' '", sa.Text)

MOST_WORDS = 5


def matching(words: Sequence[str], *columns: Any) -> list[sa.ColumnElement[bool]]:
    """Return one SQL condition for each word: the columns' joined text contains the word, in either umlaut spelling.

    Only the first `MOST_WORDS` (5) words count; case and accents do not matter. No words give no conditions.
    """
    if not words:
        return []
    whole = sa.func.concat_ws(" ", *columns)
    plain, spelled = plain_sql(whole), spelled_sql(whole)
    # "Munchen" finds "München" in the text without accents, "Muenchen" finds it in the spelled-out text.
    return [
        sa.or_(sa.func.strpos(plain, fold(word)) > 0, sa.func.strpos(spelled, spell(word)) > 0)
        for word in words[:MOST_WORDS]
    ]
