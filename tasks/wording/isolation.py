"""Names in right-to-left letters move nothing beside them, in whatever a template shows: for pages and mails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from models.writing import isolated, isolated_facts


class Typed(str):
    """A text that stands in a field in which people type: as it is, without characters that they did not type."""


def isolate_names(environment: Environment) -> None:
    """Isolate right-to-left text wherever a template of the environment, or a sentence in it, shows a fact.

    Call after the translations are installed, and before the first template is used. `| as_typed` leaves the value of
    a field as it is; `| isolated` is for facts that a template puts together itself.
    """
    environment.finalize = _shown
    environment.filters |= {"as_typed": Typed, "isolated": isolated}
    for name in ("gettext", "ngettext"):
        environment.globals[name] = _isolating(environment.globals[name])


def _shown(value: object) -> object:
    # Not subclasses: Markup is escaped and put together already, `Typed` stays as it is.
    return isolated(value) if type(value) is str else value


def _isolating(translate: Any) -> Callable[..., Any]:
    @pass_context
    def with_isolated_facts(context: Context, *sentences: Any, **facts: Any) -> Any:
        return translate(context, *sentences, **isolated_facts(facts))

    return with_isolated_facts
