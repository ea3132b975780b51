"""What ``sim`` costs and how long its failures take: the environment variable ``SIM_ENGINE``.

An environment variable and not flags, so that the same manifest also starts real vLLM, which never looks at it::

    SIM_ENGINE="step=12ms prefill=0.05ms load=2s seed=7"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from drillbook.errors import UsageError
from drillbook.sandbox.engine.group import Group

VARIABLE = "SIM_ENGINE"
TIMEOUT = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0}


@dataclass(frozen=True)
class Settings:
    """Every knob, in seconds unless said otherwise. The defaults of the failure times were measured on vLLM 0.32."""

    step: float = 0.012
    """Fixed time of one scheduler step."""
    sequence: float = 0.00005
    """Time that each running sequence adds to a step."""
    prefill: float = 0.00005
    """Time that each prompt token adds to its step."""
    render: float = 0.005
    """Time to make tokens of a prompt, in the API server. Requests of a burst that come within it all pass the first
    look at the queue's limits; at the second look, those that stream have their 200 already."""
    hidden: int = 1024
    """Width of the model: what tensor parallel workers exchange grows with it."""
    layers: int = 2
    """Layers, each with two all-reduces. With 1024 wide, 10 KB a token, as measured on a tiny Llama over two nodes."""
    overhead: int = 0
    """Bytes that ranks exchange in each step whatever its tokens: coordination, and the headers of many small packets.
    Real vLLM over two nodes: 11 KB a step of one token of a model 128 wide (docs/links.md)."""
    load: float = 0.0
    """Time to load the model, before the port listens."""
    seed: int = 1
    """Seed of the answers, and of what is a race in vLLM (after SIGTERM: 1 hangs clients, 5 aborts, 2 errors)."""
    notice: float = 0.04
    """From the engine's death to the API server's knowing of it (measured 0.05-0.17 s to the first 503)."""
    watchdog: float = 5.0
    """How often the API server looks whether its engine lives; while only streams fail, nothing else ends it."""
    teardown: float = 0.35
    """From the last connection's end to the exit of the process."""
    leave: float = 3.0
    """How long a worker takes to exit after SIGTERM, or once EngineCore has closed its pipe."""
    linger: float = 2.5
    """How long EngineCore takes to exit after its workers did; /health is 200 until then."""
    worker_grace: float = 5.0
    """How long a dead worker's peers may take to leave by themselves before SIGTERM."""
    worker_term: float = 4.0
    """How long they may take after SIGTERM before SIGKILL."""

    execute_timeout: float = 300.0
    """How long EngineCore waits for its workers. Not a key of ``SIM_ENGINE``: vLLM's own variable sets it."""

    def bytes_of(self, tokens: int, group: Group) -> int:
        """What the ranks exchange in a step of so many tokens, 2 bytes an element: tensor parallel ranks two
        all-reduces a layer and the embedding's, stages the hidden state and the residual.
        """
        reduced = 2 * self.layers + 1 if group.world > group.stages else 0
        passed = 2 if group.stages > 1 else 0
        return self.overhead + tokens * (reduced + passed) * self.hidden * 2

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read ``SIM_ENGINE``: ``key=value`` pairs separated by spaces or commas; a plain number is in seconds.

        ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS`` is read too.

        :raises UsageError: an unknown key, or a value that is not a number or a duration.
        """
        kinds = {field.name: field.type for field in fields(cls) if field.name != "execute_timeout"}
        given: dict[str, float | int] = {}
        timeout = environment.get(TIMEOUT, "300")
        if not re.fullmatch(r"\d+", timeout):
            raise UsageError(f"{TIMEOUT}={timeout!r} is not a whole number of seconds")
        for pair in re.split(r"[\s,]+", environment.get(VARIABLE, "").strip()):
            if not pair:
                continue
            key, _, value = pair.partition("=")
            name = key.replace("-", "_")
            if name not in kinds:
                allowed = ", ".join(one.replace("_", "-") for one in kinds)
                raise UsageError(f"{VARIABLE}: unknown key {key!r}", hint=f"allowed are {allowed}")
            match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m)?", value)
            if match is None or (kinds[name] == "int" and not value.isdigit()):
                example = "a whole number" if kinds[name] == "int" else "a duration such as 12ms or 1.5s"
                raise UsageError(f"{VARIABLE}: {key}={value!r} is not {example}")
            given[name] = int(value) if kinds[name] == "int" else float(match[1]) * UNITS[match[2] or ""]
        return cls(**given, execute_timeout=float(timeout))  # type: ignore[arg-type]  # the kinds were just checked field by field
