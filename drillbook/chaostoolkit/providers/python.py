"""Python activities: a function of a module that is installed beside drillbook. Sync and async functions alike."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.threads import Threads, Unfinished

SECONDS = 600.0
"""How long a function may take whose activity does not say. chaoslib waits for ever."""


async def run(provider: dict[str, Any], variables: Variables, threads: Threads, *, kind: str) -> Any:
    """Call the function, in a thread of its own.

    Raises:
        ActivityError: it raised, is not there, or took too long.

    """
    function = find(provider)
    arguments = variables.fill(dict(provider.get("arguments") or {}))
    accepted = parameters(function)
    if "secrets" in accepted and "secrets" in provider:
        arguments["secrets"] = variables.of_scopes(provider["secrets"])
    if "configuration" in accepted:
        arguments["configuration"] = dict(variables.configuration)
    said = variables.fill(provider.get("timeout"))
    seconds = SECONDS if said is None else float(said)
    name = f"{provider['module']}.{provider['func']}"
    try:
        return await threads.call(f"{kind} {name}", lambda: function(**arguments), seconds)
    except Unfinished as error:
        still = ", and is still at work" if error.running else ""
        raise ActivityError(f"{name} took longer than {seconds:g} s{still}", unfinished=error.running) from error
    except Exception as error:  # a user's function may raise anything; it is told as the activity's failure
        raise ActivityError(f"{type(error).__name__}: {error}") from error
    except (SystemExit, KeyboardInterrupt) as error:
        # In its thread it ended nothing but itself: for the run it is a failure like any other.
        raise ActivityError(f"{name} wanted to end the program: {type(error).__name__}") from error


def find(provider: dict[str, Any]) -> Callable[..., Any]:
    """The function.

    Raises:
        ActivityError: no such module or function.

    """
    try:
        module = importlib.import_module(str(provider["module"]))
    except (Exception, SystemExit) as error:  # importing executes a user's module
        raise ActivityError(f"the Python module {provider['module']} cannot be imported: {error}") from error
    function = getattr(module, str(provider["func"]), None)
    if not callable(function):
        raise ActivityError(f"the Python module {provider['module']} has no function {provider['func']!r}")
    found: Callable[..., Any] = function
    return found


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What it takes; nothing where Python cannot tell."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}


def misfit(provider: dict[str, Any]) -> str:
    """Why the arguments do not fit the function; empty if they do.

    Raises:
        ActivityError: no such module or function.

    """
    function = find(provider)
    given = set(provider.get("arguments") or {})
    accepted = parameters(function)
    if not accepted and given:
        return ""
    given |= {"secrets", "configuration", "value"} & set(accepted)
    free = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted.values())
    if hidden := [name for name, each in accepted.items() if each.kind is each.POSITIONAL_ONLY and name in given]:
        return f"{provider['func']} takes {', '.join(hidden)} by position only, and arguments are given by name"
    needed = {
        name
        for name, each in accepted.items()
        if each.default is inspect.Parameter.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    if missing := sorted(needed - given):
        return f"{provider['func']} also needs {', '.join(missing)}"
    if not free and (unknown := sorted(given - set(accepted))):
        return f"{provider['func']} takes no {', '.join(unknown)}; it takes {', '.join(accepted)}"
    return ""
