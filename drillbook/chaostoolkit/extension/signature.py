"""Plain functions made of drillbook's faults and probes, with signatures that ``chaos discover`` and ``validate`` read.

Only positional parameters are told of there, and only plain functions are called, so that is what these are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from drillbook.model.experiment import Step

_LEFT_OUT = ("fault", "at", "for_", "bites")
"""When and for how long is the experiment's own business in Chaos Toolkit: its order, pauses and rollbacks say it."""
CONFIGURATION = inspect.Parameter(
    "configuration", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=dict[str, Any] | None
)


def parameter(name: str, default: Any, kind: Any) -> inspect.Parameter:
    """One that may be given by position or by name."""
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)


def of_step(step: type[Step]) -> list[inspect.Parameter]:
    """A fault's own keys; what is not given is left to the fault's default."""
    found = []
    for name, field in step.model_fields.items():
        if name in _LEFT_OUT:
            continue
        default = inspect.Parameter.empty if field.is_required() else field.default
        plain = default if default is inspect.Parameter.empty or isinstance(default, str | int | bool) else None
        kind: Any = type(plain) if isinstance(plain, str | int | bool) else int if field.annotation is int else str
        kind = list if isinstance(default, tuple) else kind
        found.append(parameter(name, plain, kind))
    return sorted(found, key=lambda each: each.default is not inspect.Parameter.empty)


def function(
    body: Callable[..., Any], name: str, module: str, doc: str, parameters: list[inspect.Parameter], returns: Any
) -> Callable[..., Any]:
    """``body`` as a function of that name; arguments reach it by name."""
    signature = inspect.Signature([*parameters, CONFIGURATION], return_annotation=returns)

    def activity(*args: Any, **kwargs: Any) -> Any:
        return body(**signature.bind(*args, **kwargs).arguments)

    activity.__name__ = activity.__qualname__ = name
    activity.__module__, activity.__doc__ = module, doc
    activity.__signature__ = signature  # type: ignore[attr-defined]  # what inspect looks for first
    return activity


def python_name(name: str) -> str:
    """``ttft.p95`` as ``ttft_p95``."""
    return name.replace("-", "_").replace(".", "_")
