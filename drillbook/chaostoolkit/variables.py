"""The configuration and the secrets of an experiment: literal, from the environment, or measured by a probe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.performer import act
from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.threads import Threads
from drillbook.errors import PreflightError


async def load(data: Json, threads: Threads, environ: Mapping[str, str] = os.environ) -> Variables:
    """Everything that ``${name}`` may stand for. Probes are asked last; they may use all the rest.

    Raises:
        PreflightError: a variable of the environment is missing, or a probe gave nothing. chaoslib goes on without.

    """
    secrets = {name: _secret(name, entry, environ) for name, entry in (data.get("secrets") or {}).items()}
    entries = data.get("configuration") or {}
    measured = {name: entry for name, entry in entries.items() if _is(entry, "probe")}
    plain = {name: _configured(name, entry, environ) for name, entry in entries.items() if name not in measured}
    variables = Variables(plain, secrets)
    for name, probe in measured.items():
        variables.configuration[name] = await _measured(name, probe, variables, threads)
    return variables


def _is(entry: Any, kind: str) -> bool:
    return isinstance(entry, dict) and entry.get("type") == kind


def _configured(name: str, entry: Any, environ: Mapping[str, str]) -> Any:
    if not _is(entry, "env"):
        return entry
    key = str(entry["key"])
    if key not in environ and "default" not in entry:
        raise PreflightError(
            f"the configuration {name!r} comes from the environment variable {key}, which is not set",
            f"export {key}=…, or give it a default in the experiment",
        )
    text, kind = environ.get(key, entry.get("default")), entry.get("env_var_type")
    try:
        return _converted(text, kind)
    except ValueError as error:
        raise PreflightError(f"the environment variable {key} is no {kind}", "set it to another value") from error


def _converted(value: Any, kind: str | None) -> Any:
    if kind is None or not isinstance(value, str):
        return value
    match kind:
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "bytes":
            return value.encode()
        case "json":
            return json.loads(value)
        case "bool":
            if value.lower() not in ("true", "false", "1", "0"):
                raise ValueError(value)
            return value.lower() in ("true", "1")
    return value


def _secret(name: str, entry: Any, environ: Mapping[str, str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    if not _is(entry, "env"):
        return {key: _secret(f"{name}.{key}", inner, environ) for key, inner in entry.items()}
    key = str(entry["key"])
    if key not in environ:
        raise PreflightError(
            f"the secret {name!r} comes from the environment variable {key}, which is not set", f"export {key}=…"
        )
    return environ[key]


async def _measured(name: str, probe: Json, variables: Variables, threads: Threads) -> Any:
    asked = {**probe, "provider": {**probe["provider"], "secrets": list(variables.secrets)}}
    try:
        output = await act(asked, variables, threads)
    except ActivityError as error:
        raise PreflightError(f"the configuration {name!r} could not be measured: {error}") from error
    match probe["provider"]["type"]:
        case "process":
            if output["status"] != 0:
                raise PreflightError(f"the configuration {name!r} could not be measured: exit code {output['status']}")
            return output["stdout"].strip()
        case "http":
            return output["body"]
    return output
