"""Serving stacks as data: which labels mark which role, in which container the model runs, on which port."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from drillbook.errors import PreflightError, UsageError

ANY = "other"
"""The stack of a deployment that none of the files describes: found by its GPUs or by ``vllm`` in its containers."""


class Role(BaseModel):
    """What the pods of one role look like. A pod that matches any of ``selectors`` is one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    selectors: tuple[str, ...]
    containers: tuple[str, ...] = ()
    """Names of the container in which the role's own program runs, the usual first."""
    port: int = 8000
    metrics: int | None = None
    """Where its metrics are, if not on ``port``."""


class Stack(BaseModel):
    """One way of serving vLLM on Kubernetes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    source: str
    namespace: str
    """Where its guides install it."""
    detect: str
    """A label selector that its pods, and no other stack's, match."""
    roles: dict[str, Role]
    prometheus: tuple[str, ...] = ("app.kubernetes.io/name=prometheus", "operated-prometheus=true", "app=prometheus")
    """Label selectors of the Service in front of its Prometheus: the usual charts', where a stack has no own."""

    def role(self, name: str) -> Role:
        """The role's labels.

        :raises PreflightError: this stack has no such role.
        """
        if name in self.roles:
            return self.roles[name]
        raise PreflightError(
            f"the stack {self.name} has no default selector for the role {name!r}",
            hint=f"it knows {', '.join(self.roles)}; give your own: target.selectors: {{{name}: 'app=…'}}",
        )


@cache
def stacks() -> dict[str, Stack]:
    """All stacks that are described, by name; the more particular before those that they are built on."""
    folder = resources.files("drillbook.targets") / "stacks"
    found = {}
    for name in _ORDER:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        found[name] = Stack.model_validate({"name": name, **yaml.safe_load(text)})
    return found


_ORDER = (
    "guardrailed",
    "production-stack", "dynamo", "kserve-llm", "llm-d", "kserve", "aibrix", "kuberay", "leaderworkerset",
)  # fmt: skip
"""KServe's LLMInferenceService carries llm-d's labels, and all of them may run on LeaderWorkerSets."""


def stack_named(name: str) -> Stack:
    """The stack of that name.

    :raises UsageError: there is none.
    """
    known = stacks()
    if name in known:
        return known[name]
    if name == ANY:
        return Stack(name=ANY, title="vLLM by other means", source="", namespace="default", detect="", roles={})
    raise UsageError(f"there is no stack {name!r}", hint=f"the stacks are auto, {', '.join(known)}, {ANY}")


def serves(pod: dict[str, Any]) -> bool:
    """Whether a container's image, command or arguments say that it runs vLLM."""
    for container in pod["spec"].get("containers", []):
        words = [container.get("image", ""), *container.get("command", []), *container.get("args", [])]
        if any("vllm" in str(word).lower() and "router" not in str(word).lower() for word in words):
            return True
    return False
