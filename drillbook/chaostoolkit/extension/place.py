"""Which target the activities act on: what the environment or the ``configuration`` says, else a sandbox that is up.

Never the current context of a kubeconfig by mere default: a fault must not hit a cluster because nobody said otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drillbook.errors import PreflightError
from drillbook.model.experiment import LoadSpec, SloSpec, TargetSpec
from drillbook.targets.target import Target, open_target

CONFIGURATION = "drillbook_"
ENVIRONMENT = "DRILLBOOK_TARGET_"
TARGET = ("sandbox", "context", "kubeconfig", "namespace", "stack", "endpoint")
LOAD = ("rate", "prompts", "output_tokens", "stall_timeout", "timeout", "sessions", "session_header")
SLO = ("ttft", "itl", "e2e")
KEYS = (*TARGET, *LOAD, *SLO)


@dataclass(frozen=True)
class Place:
    """What was said: equal places share one session."""

    said: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, configuration: Mapping[str, Any] | None, environ: Mapping[str, str] = os.environ) -> Place:
        """``drillbook_context`` of the configuration, or ``DRILLBOOK_TARGET_CONTEXT``; an empty value says nothing."""
        found = {}
        for key in KEYS:
            value = environ.get(ENVIRONMENT + key.upper()) or (configuration or {}).get(CONFIGURATION + key)
            if value:
                found[key] = str(value)
        return cls(tuple(sorted(found.items())))

    @property
    def load(self) -> LoadSpec:
        """The traffic that probes measure by."""
        said = {key: value for key, value in self.said if key in LOAD}
        tokens = {"output_tokens": int(said.pop("output_tokens", "16"))}
        return LoadSpec.model_validate({"rate": "4/s", **said, **tokens}, by_name=True)

    @property
    def slo(self) -> SloSpec:
        """What a good answer is."""
        return SloSpec.model_validate({key: value for key, value in self.said if key in SLO})

    async def open(self) -> Target:
        """The target, connected to.

        Raises:
            PreflightError: nobody said where, or it is not there.

        """
        from drillbook.sandbox import lifecycle

        said = dict(self.said)
        spec = TargetSpec(
            stack=said.get("stack", "auto"), namespace=said.get("namespace"), endpoint=said.get("endpoint")
        )
        if "context" in said or "kubeconfig" in said:
            kubeconfig = Path(said["kubeconfig"]) if "kubeconfig" in said else None
            return await open_target(spec, kubeconfig=kubeconfig, context=said.get("context"))
        sandbox = lifecycle.find(said.get("sandbox", "default"))
        if sandbox is None:
            raise PreflightError(
                "no target: neither the configuration nor the environment says where",
                f"configuration: {{{CONFIGURATION}context: NAME}}, or `drillbook sandbox up` for the embedded one",
            )
        return await open_target(spec, sandbox=sandbox)
