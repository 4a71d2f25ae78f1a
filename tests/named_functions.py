"""Functions kept under names, so that a table or a command line can list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def named(kept: dict[str, T], name: str) -> Callable[[T], T]:
    """Return a decorator that keeps a function in `kept` under this name."""

    def keep(function: T) -> T:
        kept[name] = function
        return function

    return keep
