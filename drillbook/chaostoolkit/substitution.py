"""``${name}`` in an experiment: the value of the configuration or of a secret. What is not known stays as written."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any


@dataclass(frozen=True)
class Variables:
    """The configuration and the secrets of a run, loaded."""

    configuration: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)

    def fill(self, data: Any) -> Any:
        """A copy with every ``${name}`` replaced. A text that is nothing but one variable takes on its type."""
        scopes = [scope for scope in self.secrets.values() if isinstance(scope, Mapping)]
        return _fill(data, ChainMap(self.configuration, *map(dict, scopes)))

    def of_scopes(self, scopes: Any) -> dict[str, Any]:
        """The secrets that a provider asks for by the names of their scopes, joined."""
        found: dict[str, Any] = {}
        for scope in scopes if isinstance(scopes, list) else ():
            values = self.secrets.get(scope)
            found |= values if isinstance(values, dict) else {}
        return found


def _fill(data: Any, variables: Mapping[str, Any]) -> Any:
    match data:
        case str():
            return _fill_text(data, variables)
        case dict():
            return {key: _fill(value, variables) for key, value in data.items()}
        case list() | tuple():
            return [_fill(value, variables) for value in data]
    return data


def _fill_text(text: str, variables: Mapping[str, Any]) -> Any:
    whole = Template.pattern.fullmatch(text)
    name = (whole["named"] or whole["braced"]) if whole else None
    if name is not None and name in variables:
        return variables[name]
    return Template(text).safe_substitute(variables)
