"""What a generator process is told: one line of JSON at its start, and commands later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import msgspec

if TYPE_CHECKING:  # pydantic would cost the worker 0.1 s of its start
    from drillbook.model.experiment import LoadSpec

SESSION_HEADER = "X-Session-Id"
"""How vllm-router (0.1.17, observed) is told whose request it is."""


class GeneratorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One generator. Times and time-outs are seconds, ``rate`` is requests per second."""

    writer: str
    """Names the generator in the journal and its file, ``requests-<writer>.jsonl``."""
    folder: str
    """The run folder; it exists."""
    base_url: str
    model: str
    rate: float
    arrivals: Literal["poisson", "constant"] = "poisson"
    prompts: str = "chat"
    """A set's name, or a JSONL file."""
    output_tokens: int = 48
    stream: bool = True
    api: Literal["chat", "completions"] = "chat"
    stall_timeout: float = 10.0
    timeout: float = 60.0
    seed: int = 1
    sessions: int = 0
    session_header: str = SESSION_HEADER
    ignore_eos: bool = True
    headers_from: dict[str, str] = {}
    """Header names and the environment variables that hold their values; the values are never written anywhere."""
    start: float | None = None
    """When the schedule begins, on the monotonic clock; as soon as the process is ready where None or past."""
    max_in_flight: int = 4096
    """Beyond it arrivals are recorded as not sent: the loop is never closed in silence."""

    @classmethod
    def of(
        cls,
        spec: LoadSpec,
        *,
        folder: Path,
        base_url: str,
        model: str,
        writer: str = "load",
        beside: Path | None = None,
        headers_from: dict[str, str] | None = None,
        start: float | None = None,
    ) -> Self:
        """From an experiment's ``load``; ``beside`` is the folder that a prompt file is relative to."""
        file = spec.prompts.endswith(".jsonl")
        return cls(
            writer=writer,
            folder=str(folder),
            base_url=base_url,
            model=model,
            rate=spec.rate,
            arrivals=spec.arrivals,
            prompts=str((beside or Path()) / spec.prompts) if file else spec.prompts,
            output_tokens=spec.output_tokens,
            stream=spec.stream,
            api=spec.api,
            stall_timeout=spec.stall_timeout,
            timeout=spec.timeout,
            seed=spec.seed,
            sessions=spec.sessions or 0,
            session_header=spec.session_header or SESSION_HEADER,
            headers_from=headers_from or {},
            start=start,
        )

    @property
    def path(self) -> Path:
        """The file that this generator writes."""
        return Path(self.folder) / f"requests-{self.writer}.jsonl"


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="stop"):
    """No more arrivals; what is in flight may end within ``drain`` seconds, the rest becomes ``unknown``."""

    drain: float


class Pace(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="pace"):
    """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""

    at: float
    rate: float


class Flood(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="flood"):
    """A second load beside the first, from ``at`` to ``until`` (monotonic seconds), with prompts of its own."""

    at: float
    until: float
    rate: float
    """Requests a second."""
    prompts: str
    """A set's name."""
    times: int
    """How many texts of the set make one prompt."""
    output_tokens: int


Command = Stop | Pace | Flood
