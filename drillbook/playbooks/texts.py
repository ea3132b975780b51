"""The texts of a playbook as templates: each value is quoted for the language that it is put into.

A name that comes from a cluster must not become shell or PromQL. So commands quote values for the shell, queries escape
them for a PromQL string, and prose takes them as they are (whoever renders the prose escapes it there).
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Mapping
from functools import cache

from jinja2 import Environment, StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drillbook.playbooks.playbook import PLACEHOLDERS


class Language(enum.StrEnum):
    PROSE = "prose"
    SHELL = "shell"
    PROMQL = "promql"


def fill(text: str, names: Mapping[str, str], language: Language) -> str:
    """The text with its placeholders filled in; those that the run does not know stand there as ``<name>``."""
    known = {name: names.get(name) or f"<{name}>" for name in PLACEHOLDERS}
    return _environment(language).from_string(text).render(known)


def wrong(text: str) -> str:
    """What is wrong with a text as a template; empty where nothing is."""
    try:
        found = meta.find_undeclared_variables(_environment(Language.PROSE).parse(text))
    except TemplateError as error:
        return f"this is no template: {error.message}"
    unknown = sorted(found - PLACEHOLDERS.keys())
    return f"no placeholder is called {', '.join(map(repr, unknown))}" if unknown else ""


@cache
def _environment(language: Language) -> Environment:
    quote: Mapping[Language, Callable[[object], str]] = {
        Language.PROSE: str,
        Language.SHELL: lambda value: shlex.quote(str(value)),
        Language.PROMQL: lambda value: str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " "),
    }
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, finalize=quote[language], keep_trailing_newline=False
    )
