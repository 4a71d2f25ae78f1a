"""Keep right-to-left text in templates of pages and mails from reordering the text beside it.

Right-to-left text is put between the invisible Unicode characters FSI and PDI, which isolate its direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from models.text_direction import isolated, isolated_facts


class Typed(str):
    """A text for an input field, which a template shows without the invisible characters FSI and PDI.

    Other right-to-left text gets these characters. In an input field, they would be sent back as if the user had typed
    them.
    """


def isolate_names(environment: Environment, count: Callable[[int], str]) -> None:
    """Make a Jinja environment put right-to-left values between the invisible characters FSI and PDI.

    This holds for values that a template shows and for placeholders of translated sentences. `count` formats the number
    in a sentence with a plural. Call this after the translations are installed, and before the first template of the
    environment is used. Adds the filters `as_typed`, for the value of an input field, which stays unchanged;
    `isolated`, for values that a template puts together itself; and `counted`, which is `count`.
    """
    environment.finalize = _shown
    environment.filters |= {"as_typed": Typed, "isolated": isolated, "counted": count}
    for name in ("gettext", "ngettext"):
        environment.globals[name] = _isolating(environment.globals[name], count)


def _shown(value: object) -> object:
    # Not subclasses: Markup is escaped and put together already, `Typed` stays as it is.
    return isolated(value) if type(value) is str else value


def _isolating(translate: Any, count: Callable[[int], str]) -> Callable[..., Any]:
    @pass_context
    def with_isolated_facts(context: Context, *sentences: Any, **facts: Any) -> Any:
        # A sentence with a plural comes as singular, plural and number.
        if len(sentences) == 3:
            facts.setdefault("num", count(sentences[2]))
        return translate(context, *sentences, **isolated_facts(facts))

    return with_isolated_facts
