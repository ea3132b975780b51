"""How the gateway and the classifier are told what to do: by flags, or by environment variables of the same names.

``--on-error`` is ``GUARDRAIL_ON_ERROR``: ``kubectl set env deployment/guardrail-gateway GUARDRAIL_ON_ERROR=block``
changes it in a running deployment. Times are seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "GUARDRAIL_"


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The gateway's switches. The unsafe values are those that real gateways were found to have."""

    upstream: str
    """Base URL of the router."""
    classifier: str
    """Base URL of the classifier."""
    host: str = "0.0.0.0"  # noqa: S104 -- a pod listens on its own address
    port: int = 8080
    on_error: str = "block"
    """What to do where the classifier gives no verdict: ``allow`` lets pass unchecked, ``block`` answers 503."""
    check_timeout: float = 1.0
    """How long one check may take, the wait for its turn included."""
    max_checks: int = 32
    """Checks under way at once."""
    when_full: str = "wait"
    """A check beyond those ``wait``s for its turn, or the request is ``shed`` with 503."""
    output_rails: str = "on"
    window: int = 64
    """Characters of a stream that are held back: what is shorter than this is never delivered by half."""
    fallback: str = ""
    """Base URL of another model, for when the upstream fails; empty: none."""
    fallback_rails: str = "on"
    """Whether the fallback's route has rails of its own, or is forgotten."""
    upstream_timeout: float = 60.0
    """How long the upstream may stay silent."""
    breaker: float = 5.0
    """How long all goes to the fallback after the upstream failed."""


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """The classifier's cost."""

    host: str = "0.0.0.0"  # noqa: S104 -- a pod listens on its own address
    port: int = 8081
    latency: float = 0.01
    """What one check takes."""
    concurrent: int = 4
    """Checks that run at once; the others queue."""
    load: float = 0.0
    """From the start until it listens, as a model takes to load."""


CHOICES = {
    "on_error": ("allow", "block"),
    "when_full": ("wait", "shed"),
    "output_rails": ("on", "off"),
    "fallback_rails": ("on", "off"),
}


def gateway(words: Sequence[str], environment: Mapping[str, str]) -> GatewaySettings:
    """Read the gateway's settings; ends the process, as argparse does, where they are wrong."""
    return GatewaySettings(**_read(GatewaySettings, "guardrail-gateway", words, environment))


def classifier(words: Sequence[str], environment: Mapping[str, str]) -> ClassifierSettings:
    """Read the classifier's settings; ends the process, as argparse does, where they are wrong."""
    return ClassifierSettings(**_read(ClassifierSettings, "guardrail-classifier", words, environment))


def _read(
    kind: type[GatewaySettings | ClassifierSettings], name: str, words: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    types = {"str": str, "int": int, "float": float}
    words = [*_from_environment(kind, environment), *words]
    for field in fields(kind):
        parser.add_argument(
            _flag(field.name),
            type=types[str(field.type)],
            choices=CHOICES.get(field.name),
            default=argparse.SUPPRESS,
            required=field.name in ("upstream", "classifier"),
        )
    return vars(parser.parse_args(words))


def _from_environment(kind: type[object], environment: Mapping[str, str]) -> list[str]:
    """As flags before the others, so that one parser reads both, and a flag wins."""
    found = ((field.name, environment.get(PREFIX + field.name.upper())) for field in fields(kind))  # type: ignore[arg-type]  # both kinds are dataclasses
    return [f"{_flag(name)}={value}" for name, value in found if value is not None]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
