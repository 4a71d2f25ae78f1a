"""A decorator that keeps functions by name in a dictionary, for a table or a command line that lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def named(kept: dict[str, T], name: str) -> Callable[[T], T]:
    """Return a decorator that puts a function into `kept` under this name and returns the function unchanged."""

    def keep(function: T) -> T:
        kept[name] = function
        return function

    return keep
