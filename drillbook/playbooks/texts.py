"""The texts of a playbook as templates: each value is quoted for the language that it is put into.

A name that comes from a cluster must not become shell or PromQL. So commands quote values for the shell, queries escape
them for a PromQL string, and prose takes them as they are (whoever renders the prose escapes it there).
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Mapping
from functools import cache

from jinja2 import Environment, StrictUndefined, TemplateError, nodes
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
    """What is wrong with a text as a template; empty where nothing is.

    Only placeholders are filled in: a playbook says what to do, and does nothing itself.
    """
    try:
        tree = _environment(Language.PROSE).parse(text)
    except TemplateError as error:
        return f"this is no template: {error.message}"
    except RecursionError:
        return "this is no template: it is nested too deep"
    parts = [part for node in tree.body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]
    if any(not isinstance(part, nodes.TemplateData | nodes.Name) for part in parts):
        return "a text only names what is filled in, as in {{ pod }}: no statements, filters or calls"
    unknown = sorted({part.name for part in parts if isinstance(part, nodes.Name)} - PLACEHOLDERS.keys())
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
