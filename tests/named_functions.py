"""A decorator that registers functions by name in a dictionary, for example for a table or a command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def named(kept: dict[str, T], name: str) -> Callable[[T], T]:
    """Return a decorator that stores the decorated function in `kept` under this name, and returns it unchanged."""

    def keep(function: T) -> T:
        kept[name] = function
        return function

    return keep
