"""What the incident cost: GPU-seconds by what their pods did, and the price of a million tokens before and under it.

The price of a GPU-hour comes from ``reports/prices.yaml``; as it ships, a GPU-hour costs one GPU-hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import yaml

from drillbook import catalog
from drillbook.errors import InvalidFileError, Problem
from drillbook.model.events import ObjectChanged
from drillbook.probes.capacity import ENGINE_ROLES
from drillbook.probes.index import Indexed
from drillbook.reports.pods import state_of
from drillbook.reports.stretches import Stretch

SERVING = "ready"
HOUR = 3600.0


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The price table."""

    currency: str = "GPU-hours"
    per_gpu_hour: float = 1.0


class StretchCost(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of the run."""

    stretch: str
    gpu_seconds: dict[str, float]
    """By what the pods that held the GPUs did: ``ready``, ``starting``, ``terminating``, ``failed``, ``pending``."""
    tokens: int
    """Tokens that users got, in answers good or bad."""
    per_million: float | None
    """The price of a million of them; None where there were none."""


class CostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``wasted`` are the GPU-seconds that pods held which did not serve."""

    currency: str
    stretches: tuple[StretchCost, ...]
    wasted: float
    states: tuple[str, ...]


def cost(index: Indexed, stretches: Sequence[Stretch]) -> CostFacts | None:
    """None where no engine holds a GPU.

    Raises:
        InvalidFileError: the price table is wrong.

    """
    held = list(_held(index))
    if not held:
        return None
    prices = _prices()
    rows = tuple(_stretch(index, stretch, held, prices) for stretch in stretches)
    states = Counter[str]()
    for row in rows:
        states.update(row.gpu_seconds)
    return CostFacts(
        currency=prices.currency,
        stretches=rows,
        wasted=sum(seconds for state, seconds in states.items() if state != SERVING),
        states=tuple(sorted(states, key=lambda state: (state != SERVING, state))),
    )


def _held(index: Indexed) -> Iterator[tuple[float, float, str, int]]:
    """From when to when (seconds after time zero) which state of a pod held how many GPUs."""
    seen: dict[str, list[tuple[float, ObjectChanged]]] = {}
    for line, event in index.events(ObjectChanged):
        if event.kind == "Pod" and event.role in ENGINE_ROLES:
            seen.setdefault(event.uid, []).append((index.relative(line.mono), event))
    end = index.relative(index.end)
    for changes in seen.values():
        last = changes[-1][1]
        closed = changes if last.change == "deleted" else [*changes, (end, last)]
        for (start, event), (until, _) in pairwise(closed):
            gpus = int(event.summary.get("gpus") or 0)
            if gpus and event.summary.get("node") and until > start:  # a pod that no node has taken holds nothing
                yield start, until, state_of(event.summary), gpus


def _stretch(
    index: Indexed, stretch: Stretch, held: Sequence[tuple[float, float, str, int]], prices: Prices
) -> StretchCost:
    spent = Counter[str]()
    for start, end, state, gpus in held:
        overlap = min(end, stretch.end) - max(start, stretch.start)
        if overlap > 0:
            spent[state] += overlap * gpus  # type: ignore[assignment]  # Counter's stub knows only whole numbers
    seen = zip(index.moments, index.chunks, strict=True)
    tokens = sum(chunks for moment, chunks in seen if index.relative(moment) in stretch)
    price = sum(spent.values()) / HOUR * prices.per_gpu_hour
    return StretchCost(
        stretch=stretch.name,
        gpu_seconds=dict(spent),
        tokens=tokens,
        per_million=price / tokens * 1e6 if tokens else None,
    )


def _prices() -> Prices:
    path = catalog.find("reports", "prices.yaml")
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, Prices)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        hint = "allowed: currency (a word) and per-gpu-hour (a number)"
        problem = Problem(file=str(path), line=0, column=0, message=str(error), hint=hint)
        raise InvalidFileError.of(path, [problem]) from None
