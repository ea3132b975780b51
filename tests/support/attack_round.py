"""One round of the attack on the undo: a run, the way of its end, and what may then be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from outside import ENGINES, ROUTER

ENGINE_REPLICAS, ROUTER_REPLICAS = 2, 1
FINISHED = frozenset({0, 1, 3})
HANG = {"fault": "process-hang", "role": "engine", "count": 1, "for": "2500ms"}
ROUTERS = {"fault": "scale", "role": "router", "replicas": ROUTER_REPLICAS + 1, "for": "2500ms"}
MORE = {"fault": "scale", "role": "engine", "replicas": ENGINE_REPLICAS + 1, "for": "2500ms"}
FEWER = {"fault": "scale", "role": "engine", "replicas": ENGINE_REPLICAS - 1, "for": "2500ms"}
KILL = {"fault": "pod-kill", "role": "engine", "count": 1, "grace": "0s"}
METHODS: tuple[tuple[dict[str, Any], ...], ...] = (
    (HANG,), (HANG | {"count": "all"},), (ROUTERS, HANG), (MORE,), (HANG, MORE, KILL), (KILL, HANG), (FEWER,),
)  # fmt: skip


@dataclass
class Round:
    """One run and its end."""

    number: int
    way: str
    method: tuple[dict[str, Any], ...]
    moment: float | None
    """Seconds after the start; None: a moment after the fault was seen."""
    meddle: bool
    size: int
    """Of the file system that holds the run folder, in KiB; 0: the machine's own."""
    lane: str = ""
    code: int | None = None
    status: str = "no run folder"
    undo: str = ""
    """What the run's own end said of its undo; empty where it wrote none."""
    undone: float | None = None
    """Seconds from ``kill -9`` until nothing was broken any more, where something was."""
    seconds: float = 0.0
    """How long all of it took, with what was looked at before and after."""
    meddled: bool = False
    superseded: bool = False
    refusal: str = ""
    """Why the preflight let nothing be touched, in its words."""
    problems: list[str] = field(default_factory=list)

    @property
    def scaled(self) -> tuple[str, int, int] | None:
        """Which workload this scales, to how many, and to how many somebody else then does."""
        for step in self.method:
            if step["fault"] == "scale":
                return (ROUTER if step["role"] == "router" else ENGINES), step["replicas"], step["replicas"] + 2
        return None


def experiment(round_: Round) -> dict[str, Any]:
    steps = [step | {"at": f"{200 * number}ms"} for number, step in enumerate(round_.method)]
    return {
        "title": "An attacked run",
        "target": {"stack": "production-stack", "namespace": "llm"},
        "load": {"rate": "15/s", "arrivals": "constant", "output-tokens": 2, "stall-timeout": "2s", "timeout": "5s"},
        "warm-up": "0s", "baseline": "1s", "observe": "3s", "settle": "0s",
        "steady-state": ["goodput >= 10%"],
        "method": steps,
        "limits": {"capacity-left": "0%"},
        "expect": ["goodput >= 1%"],
    }  # fmt: skip


def was_starting(round_: Round, text: str) -> bool:
    """Whether Python itself was starting, and knew nothing of drillbook: its own traceback then, and its own code."""
    at_once = round_.moment is not None and round_.moment < 1.0
    pythons = "Traceback" not in text or "KeyboardInterrupt" in text or "Fatal Python error" in text
    return at_once and pythons and round_.status == "no run folder" and round_.code in (-1, -2, -15, 1)


def wrong_code(round_: Round, text: str) -> str:
    """Whether the exit code is not one that the documentation gives for what happened."""
    finished = round_.code in FINISHED and round_.status == "completed"
    nothing = round_.status == "no run folder"
    unwritten = round_.code == 70 and "No space left" in text
    match round_.way:
        case "left alone":
            fine = finished
        case "SIGINT" | "SIGTERM" | "terminal closed":
            # Python leaves by SIGINT itself where Ctrl-C met an import that runs text; a shell shows 130 for that too.
            fine = finished or round_.code == 130 or was_starting(round_, text) or (round_.code == -2 and nothing)
        case "disk full":
            fine = finished or (unwritten and not nothing) or (round_.code == 4 and nothing)
        case "control plane away for seconds":
            fine = finished or (round_.code == 4 and nothing) or (round_.code == 130 and round_.status == "interrupted")
        case "control plane away until after the run":
            fine = finished or (round_.code == 4 and nothing) or round_.code == 5
            # Its Lease ran out before any fault, or after the last was undone.
            fine = fine or (round_.code == 130 and round_.status == "interrupted" and round_.undo != "remains")
        case "asleep for 8 s":
            fine = finished or (round_.code == 130 and round_.status == "interrupted") or (round_.code == 4 and nothing)
        case _:
            fine = finished or (
                round_.code == -9 and (nothing or round_.status in ("crashed", "completed", "interrupted"))
            )
    if round_.code == 4 and nothing and "preflight failed" in text:
        return ""  # the target was not well enough to begin; how often is counted in the end
    return "" if fine else f"exit code {round_.code} of a run that was {round_.status}"
